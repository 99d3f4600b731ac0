"""The interface of every store of shoppers for asyncio."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from serving.requests import Event
from serving.store.profile import Profile, Query


class AsyncOnlineStore(Protocol):
    """`OnlineStore` as coroutines, for one event loop; arguments, results and errors are the same."""

    async def append(self, user_id: str, events: Sequence[Event]) -> None:
        """Adds events, in any order."""

    async def add_queries(self, user_id: str, queries: Sequence[Query]) -> None:
        """Adds searches, in any order."""

    async def append_many(
        self, events: Mapping[str, Sequence[Event]], queries: Mapping[str, Sequence[Query]] | None = None
    ) -> None:
        """`append` and `add_queries` for many shoppers at once."""

    async def recent(self, user_id: str, limit: int | None = None) -> list[Event]:
        """The newest events that are kept, oldest first."""

    async def profile(self, user_id: str) -> Profile | None:
        """What is known beside events; None for nothing."""

    async def set_profile(self, user_id: str, profile: Profile) -> None:
        """Puts a profile in place of what was there."""

    async def forget(self, user_id: str) -> bool:
        """Erases everything of a shopper; returns whether there was anything."""

    async def health(self) -> None:
        """Returns if the store can be used, else raises."""

    async def close(self) -> None:
        """Lets go of files and connections."""
