"""Every store behind one blocking interface, and a clock that tests move."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import time
import types
from unittest import mock

import fakeredis
import pytest

from serving.store.async_embedded import AsyncEmbeddedStore
from serving.store.async_redis_store import AsyncRedisStore
from serving.store.embedded import EmbeddedStore
from serving.store.redis_store import RedisStore

KINDS = ("memory", "sqlite", "redis", "async memory", "async sqlite", "async redis")


class Blocking:
    """Runs the coroutines of a store on a loop of its own."""

    def __init__(self, store, loop) -> None:
        self.store, self.loop = store, loop

    def __getattr__(self, name):
        call = getattr(self.store, name)
        if not inspect.iscoroutinefunction(call):
            return call
        return lambda *arguments, **named: self.loop.run_until_complete(call(*arguments, **named))


class Clock:
    """What `time.time` says, from 2023-11-14 on."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@contextlib.contextmanager
def moved_clock():
    """Puts a clock that tests move in the place of `time.time`."""
    clock = Clock()
    with mock.patch.object(time, "time", clock):
        yield clock


@contextlib.contextmanager
def opened(kind, options, folder):
    """A store of one of `KINDS`, whatever it is."""
    with contextlib.ExitStack() as stack:
        loop = None
        if kind.startswith("async"):
            loop = stack.enter_context(contextlib.closing(asyncio.new_event_loop()))
        if kind.endswith("redis"):
            server = fakeredis.FakeServer()
            store = (
                AsyncRedisStore(fakeredis.FakeAsyncRedis(server=server), options)
                if loop
                else RedisStore(fakeredis.FakeRedis(server=server), options)
            )
        else:
            store = EmbeddedStore(f"{folder}/store.db" if kind.endswith("sqlite") else ":memory:", options)
            store = AsyncEmbeddedStore(store) if loop else store
        store = Blocking(store, loop) if loop else store
        stack.callback(store.close)
        yield store


@pytest.fixture
def clock():
    with moved_clock() as clock:
        yield clock


@pytest.fixture(scope="session")
def stores():
    """`open(kind, options, folder)` and `clock()`, for tests that open many stores."""
    return types.SimpleNamespace(open=opened, clock=moved_clock)


@pytest.fixture(params=KINDS)
def make_store(request, tmp_path):
    """Opens an empty store with the given options; of every kind, one after the other."""
    with contextlib.ExitStack() as stack:
        yield lambda options=None: stack.enter_context(opened(request.param, options, tmp_path))
