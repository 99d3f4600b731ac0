"""The store of shoppers, asked within limits of time."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from serving.gateway import metrics as named
from serving.gateway.json_logs import log
from serving.gateway.metrics import Metrics
from serving.gateway.settings import StoreSettings
from serving.requests import Event
from serving.store.async_online_store import AsyncOnlineStore
from serving.store.errors import StoreError
from serving.store.profile import Profile, Query

Result = TypeVar("Result")
_READ, _WRITE, _HEALTH = "read", "write", "health"
#: The most that a look at the store may take, in seconds.
_PATIENCE = 2.0


class Known(NamedTuple):
    """What the store has of a shopper.

    Attributes:
      history: events, oldest first.
      profile: empty for nothing.
    """

    history: Sequence[Event] = ()
    profile: Profile = Profile()


class Shoppers:
    """Reads and writes what is known of shoppers.

    Args:
      store: where that is.
      settings: how long it may take.
      metrics: of the gateway.

    Attributes:
      store: as given.
      up: whether it answered when last asked.
    """

    def __init__(self, store: AsyncOnlineStore, settings: StoreSettings, metrics: Metrics) -> None:
        self.store = store
        self._settings = settings
        self._metrics = metrics
        self.up = False

    async def known(self, user_id: str) -> Known | None:
        """History and profile; None if the store does not give them in time.

        Args:
          user_id: as it is stored, not "".
        """
        try:
            history, profile = await self._within(_READ, self._settings.timeout_ms / 1000, self._read(user_id))
        except StoreError:
            return None
        return Known(history, profile or Profile())

    async def add(self, events: Mapping[str, Sequence[Event]], queries: Mapping[str, Sequence[Query]]) -> None:
        """Adds events and searches by user id, all or none; the next `known` has them.

        Raises:
          StoreError: if the store does not say in time that it has them. Adding them again does no harm.
        """
        if events or queries:
            seconds = self._settings.write_timeout_ms / 1000
            await self._within(_WRITE, seconds, self.store.append_many(events, queries))

    async def look(self) -> bool:
        """Whether the store can be used."""
        try:
            await self._within(_HEALTH, _PATIENCE, self.store.health())
        except StoreError:
            return False
        return True

    async def close(self) -> None:
        """Lets go of it."""
        await self.store.close()

    async def _read(self, user_id: str) -> tuple[list[Event], Profile | None]:
        history, profile = await asyncio.gather(self.store.recent(user_id), self.store.profile(user_id))
        return history, profile

    async def _within(self, operation: str, seconds: float, call: Coroutine[Any, Any, Result]) -> Result:
        began = time.perf_counter()
        try:
            result = await asyncio.wait_for(call, seconds)
        except (StoreError, asyncio.TimeoutError) as error:
            self._metrics.add(named.STORE_ERRORS, operation)
            self._set_up(False, str(error) or f"no answer within {seconds:g} s")
            raise StoreError(f"the store of shoppers does not answer ({operation}).") from None
        finally:
            self._metrics.observe(named.STORE_DURATION, time.perf_counter() - began, operation)
        self._set_up(True)
        return result

    def _set_up(self, up: bool, reason: str = "") -> None:
        if up != self.up:
            log("the store is there" if up else "the store is gone", logging.WARNING, reason=reason)
        self.up = up
        self._metrics.set(named.DEPENDENCY_UP, up, "store")
