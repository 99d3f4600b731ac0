"""URLs of stores, and what importing the package brings in."""

import ast
import asyncio
import pathlib
import subprocess
import sys

import pytest

from serving.requests import Event
from serving.store import open_async_store, open_store
from serving.store.async_embedded import AsyncEmbeddedStore
from serving.store.embedded import EmbeddedStore
from serving.store.errors import StoreError
from serving.store.options import StoreOptions

ROOT = pathlib.Path(__file__).parents[3]


def test_embedded_stores_by_url(tmp_path):
    options = StoreOptions(max_events=2)
    for url in ("memory://", f"sqlite:///{tmp_path}/store.db"):
        store = open_store(url, options)
        store.append("u", [Event("a", "view", time) for time in range(4)])
        assert isinstance(store, EmbeddedStore) and len(store.recent("u")) == 2
        store.close()
    assert (tmp_path / "store.db").is_file()
    shared = open_async_store(f"sqlite:///{tmp_path}/store.db", options)
    assert isinstance(shared, AsyncEmbeddedStore)
    assert [event.timestamp for event in asyncio.run(shared.recent("u"))] == [2, 3]
    assert open_store("memory://").recent("u") == []


def test_redis_by_url_is_not_connected_before_it_is_asked():
    store = open_store("rediss://me:pw@redis.example:7000/3?socket_timeout=3", StoreOptions(key_prefix="x:"))
    where = store.client.connection_pool.connection_kwargs
    assert (where["host"], where["port"], where["db"], where["password"]) == ("redis.example", 7000, 3, "pw")
    assert where["socket_timeout"] == 3 and where["socket_connect_timeout"] == 1
    assert store.options.key_prefix == "x:"
    assert type(open_async_store("redis://redis.example").client).__module__ == "redis.asyncio.client"


@pytest.mark.parametrize("opening", [open_store, open_async_store])
@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("", r"is ''; expected memory://, sqlite:///PATH, redis://"),
        ("memory", "is 'memory'; expected memory://"),
        ("memory://x", "is 'memory://x'; expected memory://"),
        ("sqlite://store.db", "is 'sqlite://store.db'; expected memory://, sqlite:///PATH"),
        ("sqlite:///", "is 'sqlite:///'"),
        ("postgres://me:secret@host/db", r"is 'postgres://\.\.\.'; expected"),
        ("postgres://host/db?password=secret", r"is 'postgres://\.\.\.'; expected"),
        ("me:secret@host", r"is '://\.\.\.'; expected"),
        ("redis://host:many/0", r"URL of Redis cannot be read \(bad host, port or option; "),
        ("redis://me:secret/etc@host/0", r"URL of Redis cannot be read \(bad host, port or option; .*%2F for /"),
        ("redis://me:secret\u2100@host/0", r"URL of Redis cannot be read \(bad host, port or option; "),
        ("redis://host:1/0?bogus=1", r"URL of Redis cannot be read \(.*bogus"),
    ],
)
def test_a_url_that_names_no_store_is_one_sentence(opening, url, message):
    with pytest.raises(StoreError, match=message) as caught:
        opening(url)
    assert "secret" not in str(caught.value)


def test_an_embedded_store_needs_neither_redis_nor_tensorflow():
    code = (
        "import sys; from serving import store; s = store.open_store('memory://'); s.append('u', [('a', 'view', 1)]); "
        "assert len(s.recent('u')) == 1; print(sorted({m.split('.')[0] for m in sys.modules}))"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, cwd=ROOT).stdout
    loaded = set(ast.literal_eval(said.decode()))
    assert "sqlite3" in loaded and not loaded & {"redis", "tensorflow", "pandas", "numpy", "pyarrow", "tfx_pipeline"}
    code = "import sys, serving.store.async_redis_store, serving.store.loading; assert 'tensorflow' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
