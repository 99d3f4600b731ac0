"""The store of shoppers in Redis for asyncio."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import redis.asyncio

from serving.requests import Event
from serving.store.options import StoreOptions
from serving.store.profile import Profile, Query
from serving.store.redis_commands import RedisCommands
from serving.store.redis_store import errors


class AsyncRedisStore:
    """An `AsyncOnlineStore` in Redis 6.2 or newer; every call is one round trip, and all it writes one transaction.

    Args:
      client: of redis.asyncio, which answers with bytes (`decode_responses=False`); closed with the store.
      options: how much is kept, and how long.
    """

    def __init__(self, client: redis.asyncio.Redis, options: StoreOptions | None = None) -> None:
        self.client = client
        self.options = options or StoreOptions()
        self._commands = RedisCommands(self.options)

    async def append(self, user_id: str, events: Sequence[Event]) -> None:
        """See `OnlineStore`, as for the other methods."""
        await self.append_many({user_id: events})

    async def add_queries(self, user_id: str, queries: Sequence[Query]) -> None:
        await self.append_many({}, {user_id: queries})

    async def append_many(
        self, events: Mapping[str, Sequence[Event]], queries: Mapping[str, Sequence[Query]] | None = None
    ) -> None:
        async with self._pipeline() as pipeline:
            if self._commands.append_many(pipeline, events, queries or {}):
                await pipeline.execute()

    async def recent(self, user_id: str, limit: int | None = None) -> list[Event]:
        async with self._pipeline() as pipeline:
            self._commands.recent(pipeline, user_id, limit)
            return self._commands.events(await pipeline.execute())

    async def profile(self, user_id: str) -> Profile | None:
        async with self._pipeline() as pipeline:
            self._commands.profile(pipeline, user_id)
            return self._commands.read_profile(await pipeline.execute())

    async def set_profile(self, user_id: str, profile: Profile) -> None:
        async with self._pipeline() as pipeline:
            self._commands.set_profile(pipeline, user_id, profile)
            await pipeline.execute()

    async def forget(self, user_id: str) -> bool:
        async with self._pipeline() as pipeline:
            self._commands.forget(pipeline, user_id)
            return bool((await pipeline.execute())[0])

    async def health(self) -> None:
        with errors(self.client):
            await self.client.ping()

    async def close(self) -> None:
        await self.client.aclose()

    @contextlib.asynccontextmanager
    async def _pipeline(self, transaction: bool = True) -> AsyncIterator[Any]:
        with errors(self.client):
            async with self.client.pipeline(transaction) as pipeline:
                yield pipeline
