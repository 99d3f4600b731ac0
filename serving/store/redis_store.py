"""A store of shoppers in Redis."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import redis

from serving.requests import Event
from serving.store.errors import StoreError
from serving.store.options import StoreOptions
from serving.store.profile import Profile, Query
from serving.store.redis_commands import RedisCommands


@contextlib.contextmanager
def errors(client: Any) -> Iterator[None]:
    """Within it, what Redis or the way to it refuses becomes a `StoreError`.

    It names the server, neither the password nor the command, which holds what is known of the shopper.
    """
    try:
        yield
    except (redis.RedisError, OSError) as error:
        where = client.connection_pool.connection_kwargs
        server = where.get("path") or f"{where.get('host', 'localhost')}:{where.get('port', 6379)}"
        why = str(error).rpartition("of pipeline caused error: ")[2].strip("(',)\".")
        raise StoreError(f"Redis on {server} cannot be used ({why}).") from None


class RedisStore:
    """An `OnlineStore` in Redis 6.2 or newer; every call is one round trip, and all it writes one transaction.

    Args:
      client: of redis-py, which answers with bytes (`decode_responses=False`); closed with the store.
      options: how much is kept, and how long.
    """

    def __init__(self, client: redis.Redis, options: StoreOptions | None = None) -> None:
        self.client = client
        self.options = options or StoreOptions()
        self._commands = RedisCommands(self.options)

    def append(self, user_id: str, events: Sequence[Event]) -> None:
        """See `OnlineStore`, as for the other methods."""
        self.append_many({user_id: events})

    def add_queries(self, user_id: str, queries: Sequence[Query]) -> None:
        self.append_many({}, {user_id: queries})

    def append_many(
        self, events: Mapping[str, Sequence[Event]], queries: Mapping[str, Sequence[Query]] | None = None
    ) -> None:
        with self._pipeline() as pipeline:
            if self._commands.append_many(pipeline, events, queries or {}):
                pipeline.execute()

    def recent(self, user_id: str, limit: int | None = None) -> list[Event]:
        with self._pipeline(transaction=False) as pipeline:
            self._commands.recent(pipeline, user_id, limit)
            return self._commands.events(pipeline.execute())

    def profile(self, user_id: str) -> Profile | None:
        with self._pipeline() as pipeline:
            self._commands.profile(pipeline, user_id)
            return self._commands.read_profile(pipeline.execute())

    def set_profile(self, user_id: str, profile: Profile) -> None:
        with self._pipeline() as pipeline:
            self._commands.set_profile(pipeline, user_id, profile)
            pipeline.execute()

    def forget(self, user_id: str) -> bool:
        with self._pipeline() as pipeline:
            self._commands.forget(pipeline, user_id)
            return bool(pipeline.execute()[0])

    def health(self) -> None:
        with errors(self.client):
            self.client.ping()

    def close(self) -> None:
        self.client.close()

    @contextlib.contextmanager
    def _pipeline(self, transaction: bool = True) -> Iterator[Any]:
        with errors(self.client), self.client.pipeline(transaction) as pipeline:
            yield pipeline
