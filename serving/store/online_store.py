"""The interface of every store of shoppers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from serving.requests import Event
from serving.store.profile import Profile, Query


class OnlineStore(Protocol):
    """Recent events and profiles of shoppers at serving time; safe to share between threads.

    What is written is seen by the next read. Ids are those that requests have: pseudonyms where privacy is on, since a
    store protects nothing itself. Nobody is known by "": reading gives nothing, writing is an error.

    Raises:
      StoreError: from every call, if the store cannot be reached or written.
      ValueError: for ids, texts or times that cannot be stored.
    """

    def append(self, user_id: str, events: Sequence[Event]) -> None:
        """Adds events, in any order.

        Events that agree in item, type and time are one. Impressions and events without an item (searches) are no
        history, as in training, and are left out.
        """

    def add_queries(self, user_id: str, queries: Sequence[Query]) -> None:
        """Adds searches, in any order; a query that was there moves to its newest time."""

    def append_many(
        self, events: Mapping[str, Sequence[Event]], queries: Mapping[str, Sequence[Query]] | None = None
    ) -> None:
        """`append` and `add_queries` for many shoppers at once, by user id."""

    def recent(self, user_id: str, limit: int | None = None) -> list[Event]:
        """The newest events that are kept, oldest first; of one moment in the order of item and type, as in training.

        Args:
          user_id: of the shopper.
          limit: most of them, at least 1; None for all.
        """

    def profile(self, user_id: str) -> Profile | None:
        """What is known beside events; None for nothing."""

    def set_profile(self, user_id: str, profile: Profile) -> None:
        """Puts a profile, its queries included, in place of what was there."""

    def forget(self, user_id: str) -> bool:
        """Erases everything of a shopper; returns whether there was anything."""

    def health(self) -> None:
        """Returns if the store can be used, else raises."""

    def close(self) -> None:
        """Lets go of files and connections."""
