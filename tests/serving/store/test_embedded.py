"""What only the embedded store has: a bound on shoppers, files, threads, erasure on disk."""

import contextlib
import pathlib
import sqlite3
import subprocess
import sys
import threading

import pytest

from serving.requests import Event
from serving.store import embedded
from serving.store.embedded import EmbeddedStore
from serving.store.errors import StoreError
from serving.store.options import StoreOptions
from serving.store.profile import Profile, Query

ROOT = pathlib.Path(__file__).parents[3]
VIEW = Event("a", "view", 1)


def known(store, users):
    """Asked of the database, as reading is use."""
    rows = store._database.execute("SELECT user_id FROM users").fetchall()
    return {user for (user,) in rows} & set(users)


def test_those_go_first_that_were_used_longest_ago(clock):
    store = EmbeddedStore(options=StoreOptions(max_users=3))
    for user in "abc":
        store.append(user, [VIEW])
        clock.now += 100
    store.recent("a")  # reading is use
    store.append("d", [VIEW])
    assert known(store, "abcd") == {"a", "c", "d"}
    clock.now += 100
    store.profile("c")
    clock.now += 100
    store.append_many({user: [VIEW] for user in "ef"})
    assert known(store, "abcdef") == {"c", "e", "f"}
    assert store.recent("a") == [] and store.recent("e") == [VIEW]


def test_the_bound_holds_with_files_that_were_larger(tmp_path):
    path = str(tmp_path / "store.db")
    large = EmbeddedStore(path, StoreOptions(max_events=50))
    large.append_many({f"u{place}": [Event("i", "view", time) for time in range(50)] for place in range(30)})
    large.close()
    small = EmbeddedStore(path, StoreOptions(max_users=10, max_events=5))
    assert [event.timestamp for event in small.recent("u7")] == [45, 46, 47, 48, 49]
    small.append("u7", [Event("i", "view", 99)])
    assert small._database.execute("SELECT count(*) FROM users").fetchone() == (10,)
    assert small._database.execute("SELECT count(*) FROM events WHERE user_id = 'u7'").fetchone() == (5,)


def test_what_is_over_is_swept_by_the_writing_of_others(clock):
    store = EmbeddedStore(options=StoreOptions(ttl_days=1))
    store.append_many({f"u{place}": [VIEW] for place in range(30)})
    clock.now += 86_401
    for _ in range(2):
        store.append("v", [VIEW])
    for table in ("users", "events"):
        assert store._database.execute(f"SELECT count(*) FROM {table}").fetchone() == (1,)
    assert store._database.execute("SELECT users FROM size").fetchone() == (1,)


def test_threads_lose_nothing():
    store = EmbeddedStore()
    failures = []

    def work(number):
        try:
            for place in range(50):
                store.append("shared", [Event(f"i{number}", "view", place)])
                store.append(f"own{number}", [Event("i", "view", place)])
                assert len(store.recent(f"own{number}")) == place + 1
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures and len(store.recent("shared")) == 300


def test_a_file_outlives_the_process_and_is_shared(tmp_path):
    path = str(tmp_path / "store.db")
    first, second = EmbeddedStore(path), EmbeddedStore(path)
    first.append("u", [VIEW])
    first.set_profile("u", Profile("tea", {"country": "Peru"}, (Query("q", 1),)))
    assert second.recent("u") == [VIEW]
    die = "import os, sys; from serving.store.embedded import EmbeddedStore as Store; store = Store(sys.argv[1]); "
    die += "store.append('u', [('b', 'view', 2)]); os._exit(0)"  # without closing anything
    subprocess.run([sys.executable, "-c", die, path], check=True, cwd=ROOT)
    assert first.recent("u") == [VIEW, Event("b", "view", 2)]
    assert second.forget("u") and first.recent("u") == [] and first.profile("u") is None
    first.append("v", [VIEW])
    first.close()
    second.close()
    assert EmbeddedStore(path).recent("v") == [VIEW]


def test_what_is_erased_is_in_no_file(tmp_path):
    store = EmbeddedStore(str(tmp_path / "store.db"))
    events = {
        f"user-{place}-": [Event(f"item-{place}-{time}", "view", time) for time in range(9)] for place in range(300)
    }
    store.append_many(events, {user: [Query(f"lamp for {user}", 1)] for user in events})
    store.set_profile("user-7-", Profile("I am person seven", queries=(Query("lamp for user-7-", 1),)))

    def bytes_on_disk():
        return b"".join(file.read_bytes() for file in tmp_path.iterdir())

    assert b"person seven" in bytes_on_disk()
    assert store.forget("user-7-")
    for secret in (b"user-7-", b"item-7-", b"person seven"):
        assert secret not in bytes_on_disk()
    assert b"user-8-" in bytes_on_disk() and b"item-8-" in bytes_on_disk()


def test_what_another_process_keeps_in_use_is_not_said_to_be_erased(tmp_path, monkeypatch):
    monkeypatch.setattr(embedded, "_PATIENCE", 0.01)
    store = EmbeddedStore(str(tmp_path / "store.db"))
    store.append("somebody", [VIEW])
    with contextlib.closing(sqlite3.connect(tmp_path / "store.db", isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM users").fetchall()
        with pytest.raises(
            StoreError, match=r"is erased, but not from .*store\.db-wal, .* expected `forget` again"
        ) as said:
            store.forget("somebody")
        assert "somebody" not in str(said.value) and store.recent("somebody") == []
    assert not store.forget("somebody")
    assert not any(b"somebody" in file.read_bytes() for file in tmp_path.iterdir())


def test_a_call_that_fails_leaves_nothing_behind():
    store = EmbeddedStore()
    store.append("u", [VIEW])
    with pytest.raises(ValueError, match="timestamp"):
        store.append_many({"u": [Event("b", "view", 2)], "v": [Event("b", "view", -2)]})
    assert store.recent("u") == [VIEW]
    store.close()
    with pytest.raises(
        StoreError, match=r":memory:: the store of shoppers cannot be used \(Cannot operate on a closed"
    ):
        store.recent("u")


def test_a_file_that_cannot_be_used_is_one_sentence(tmp_path):
    with pytest.raises(StoreError, match=r"gone/store\.db: .* cannot be used \(unable to open database file\)\.$"):
        EmbeddedStore(str(tmp_path / "gone" / "store.db"))
    (tmp_path / "text").write_text("this is no database, but a text that is long enough to be told from one" * 20)
    with pytest.raises(StoreError, match=r"text: .* cannot be used \(file is not a database\)\.$"):
        EmbeddedStore(str(tmp_path / "text"))
    with sqlite3.connect(tmp_path / "newer") as database:
        database.execute("PRAGMA user_version = 9")
    with pytest.raises(StoreError, match=r"newer: is a store of version 9; expected version 1\.$"):
        EmbeddedStore(str(tmp_path / "newer"))
