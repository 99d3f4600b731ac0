"""The embedded store for asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from serving.requests import Event
from serving.store.embedded import IN_MEMORY, EmbeddedStore
from serving.store.profile import Profile, Query

Result = TypeVar("Result")


class AsyncEmbeddedStore:
    """An `AsyncOnlineStore` of an embedded one: in memory it answers at once, a file is waited for in a thread.

    Args:
      store: what is asked; it may be shared.
    """

    def __init__(self, store: EmbeddedStore) -> None:
        self.store = store

    async def append(self, user_id: str, events: Sequence[Event]) -> None:
        """See `OnlineStore`, as for the other methods."""
        await self._run(lambda: self.store.append(user_id, events))

    async def add_queries(self, user_id: str, queries: Sequence[Query]) -> None:
        await self._run(lambda: self.store.add_queries(user_id, queries))

    async def append_many(
        self, events: Mapping[str, Sequence[Event]], queries: Mapping[str, Sequence[Query]] | None = None
    ) -> None:
        await self._run(lambda: self.store.append_many(events, queries))

    async def recent(self, user_id: str, limit: int | None = None) -> list[Event]:
        return await self._run(lambda: self.store.recent(user_id, limit))

    async def profile(self, user_id: str) -> Profile | None:
        return await self._run(lambda: self.store.profile(user_id))

    async def set_profile(self, user_id: str, profile: Profile) -> None:
        await self._run(lambda: self.store.set_profile(user_id, profile))

    async def forget(self, user_id: str) -> bool:
        return await self._run(lambda: self.store.forget(user_id))

    async def health(self) -> None:
        await self._run(self.store.health)

    async def close(self) -> None:
        await self._run(self.store.close)

    async def _run(self, call: Callable[[], Result]) -> Result:
        return call() if self.store.path == IN_MEMORY else await asyncio.to_thread(call)
