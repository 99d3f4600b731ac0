"""What only Redis has: round trips, keys with an end, sockets, errors without passwords."""

import asyncio
import contextlib
import socket
import threading

import fakeredis
import pytest

from serving.requests import Event
from serving.store import open_async_store, open_store
from serving.store.async_redis_store import AsyncRedisStore
from serving.store.errors import StoreError
from serving.store.options import StoreOptions
from serving.store.profile import Profile, Query
from serving.store.redis_store import RedisStore

EVENTS = [Event(f"i{place}", "view", place) for place in range(100)]
CALLS = {
    "append": ("u", EVENTS),
    "add_queries": ("u", [Query("a", 1), Query("b", 2)]),
    "recent": ("u",),
    "profile": ("u",),
    "set_profile": ("u", Profile("tea", {}, (Query("c", 3),))),
    "append_many": ({f"u{place}": EVENTS for place in range(20)},),
    "forget": ("u",),
    "health": (),
}


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_call_is_one_round_trip(asynchronous, monkeypatch):
    client = fakeredis.FakeAsyncRedis() if asynchronous else fakeredis.FakeRedis()
    store = AsyncRedisStore(client) if asynchronous else RedisStore(client)
    kind, sent = client.connection_pool.connection_class, []
    original = kind.send_packed_command

    def counting(connection, *arguments, **named):
        sent.append(arguments)
        return original(connection, *arguments, **named)

    async def all_calls():
        for name, arguments in CALLS.items():
            before = len(sent)
            answer = getattr(store, name)(*arguments)
            if asynchronous:
                await answer
            assert len(sent) == before + 1, name
        answer = store.append("u", [Event("i", "impression", 1)])  # nothing to write
        if asynchronous:
            await answer
        assert len(sent) == len(CALLS)

    client_ready = client.ping()
    if asynchronous:
        loop = asyncio.new_event_loop()
        loop.run_until_complete(client_ready)
        monkeypatch.setattr(kind, "send_packed_command", counting)
        loop.run_until_complete(all_calls())
        loop.run_until_complete(store.close())
        loop.close()
    else:
        monkeypatch.setattr(kind, "send_packed_command", counting)
        asyncio.run(all_calls())


def test_over_a_socket_by_url():
    server = fakeredis.TcpFakeServer(("127.0.0.1", 0), server_type="redis")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"redis://127.0.0.1:{server.server_address[1]}/0"
    with contextlib.closing(open_store(url)) as store:
        store.health()
        store.append("u", EVENTS)
        assert store.recent("u") == EVENTS

        async def ask():
            other = open_async_store(url)
            await other.health()
            await other.append("u", [Event("茶", "buy", 200)])
            assert (await other.recent("u", 2)) == [EVENTS[-1], Event("茶", "buy", 200)]
            await asyncio.gather(*(other.append(f"v{place}", EVENTS) for place in range(20)))
            assert await asyncio.gather(*(other.recent(f"v{place}", 1) for place in range(20))) == [EVENTS[-1:]] * 20
            await other.close()

        asyncio.run(ask())
        assert store.recent("u", 1) == [Event("茶", "buy", 200)]
    server.shutdown()
    server.server_close()


def test_every_key_has_the_prefix_and_an_end():
    client = fakeredis.FakeRedis()
    store = RedisStore(client, StoreOptions(ttl_days=2, key_prefix="shop:"))
    store.append("u", EVENTS)
    store.set_profile("u", CALLS["set_profile"][1])
    assert sorted(client.keys()) == [b"shop:{u}:events", b"shop:{u}:profile", b"shop:{u}:queries"]
    assert all(0 < client.ttl(key) <= 2 * 86_400 for key in client.scan_iter())
    client.set("other", "1")
    store.forget("u")
    assert client.keys() == [b"other"]


def test_a_server_that_is_not_there_is_one_sentence_without_the_password():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, but nobody listens
        url = f"redis://me:secret@127.0.0.1:{taken.getsockname()[1]}/0"
        with pytest.raises(StoreError, match=r"^Redis on 127\.0\.0\.1:\d+ cannot be used \(.*refused.*\)\.$") as caught:
            open_store(url).append("u", EVENTS)
        assert "secret" not in str(caught.value)

        async def ask():
            store = open_async_store(url)
            for call in (store.recent("u"), store.health()):
                with pytest.raises(StoreError, match=r"^Redis on 127\.0\.0\.1:\d+ cannot be used"):
                    await call
            await store.close()

        asyncio.run(ask())


def test_what_the_server_refuses_is_said_without_what_was_to_be_stored():
    server = fakeredis.FakeServer()
    for part in ("events", "queries"):
        fakeredis.FakeRedis(server=server).set(f"shopper:{{secret}}:{part}", "not a sorted set")
    said = r"cannot be used \(WRONGTYPE Operation against a key holding the wrong kind of value\)\.$"
    calls = {
        "recent": ("secret",),
        "append": ("secret", EVENTS),
        "add_queries": ("secret", [Query("secret wish", 1)]),
    }
    for name, arguments in calls.items():
        with pytest.raises(StoreError, match=said) as caught:
            getattr(RedisStore(fakeredis.FakeRedis(server=server)), name)(*arguments)
        assert "secret" not in str(caught.value)
        with pytest.raises(StoreError, match=said) as caught:
            asyncio.run(getattr(AsyncRedisStore(fakeredis.FakeAsyncRedis(server=server)), name)(*arguments))
        assert "secret" not in str(caught.value)
