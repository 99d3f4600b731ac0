"""What Redis is asked for shoppers: the same commands whether the answer is waited for or awaited."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from serving.requests import Event
from serving.store import checks
from serving.store.options import StoreOptions
from serving.store.profile import Profile, Query


class RedisCommands:
    """Puts the commands of one call on a pipeline, and reads what comes back.

    A shopper has three keys: `{id}:events`, a sorted set of "item NUL type NUL time" by time, so that Redis itself
    merges, orders and cuts them; `{id}:queries`, a sorted set of texts by time; and `{id}:profile`, JSON. All go
    together, `ttl_days` after the last write.

    Args:
      options: how much is kept, and how long.
    """

    def __init__(self, options: StoreOptions) -> None:
        self.options = options

    def append_many(
        self, pipeline: Any, events: Mapping[str, Sequence[Event]], queries: Mapping[str, Sequence[Query]]
    ) -> bool:
        """Commands of `append_many`; returns whether there are any."""
        kept, asked = checks.history(events, self.options), checks.searches(queries)
        for user_id, each in kept.items():
            key, *_ = self._keys(user_id)
            pipeline.zadd(key, {_member(event): event.timestamp for event in each})
            pipeline.zremrangebyrank(key, 0, -self.options.max_events - 1)
        for user_id, times in asked.items():
            self._add_queries(pipeline, user_id, times)
        for user_id in {**kept, **asked}:
            self._expire(pipeline, user_id)
        return bool(kept or asked)

    def recent(self, pipeline: Any, user_id: str, limit: int | None) -> None:
        """Commands of `recent`; `events` reads the answer."""
        key, *_ = self._keys(user_id)
        pipeline.zrange(key, -checks.limit(limit, self.options), -1)

    @staticmethod
    def events(answers: list[Any]) -> list[Event]:
        """What `recent` found."""
        return [_event(member) for member in answers[0]]

    def profile(self, pipeline: Any, user_id: str) -> None:
        """Commands of `profile`; `read_profile` reads the answer."""
        _, queries, profile = self._keys(user_id)
        pipeline.get(profile)
        pipeline.zrevrange(queries, 0, self.options.max_queries - 1, withscores=True)

    @staticmethod
    def read_profile(answers: list[Any]) -> Profile | None:
        """What `profile` found."""
        stored, queries = answers
        if stored is None and not queries:
            return None
        content = json.loads(stored or "{}")
        asked = tuple(Query(text.decode("utf-8"), int(time)) for text, time in queries)
        return Profile(content.get("free_text", ""), content.get("context", {}), asked)

    def set_profile(self, pipeline: Any, user_id: str, profile: Profile) -> None:
        """Commands of `set_profile`."""
        times = checks.profile(profile)
        _, queries, key = self._keys(checks.shopper(user_id))
        content = {"free_text": profile.free_text, "context": dict(profile.context)}
        pipeline.set(key, json.dumps(content, ensure_ascii=False).encode("utf-8"))
        pipeline.delete(queries)
        if times:
            self._add_queries(pipeline, user_id, times)
        self._expire(pipeline, user_id)

    def forget(self, pipeline: Any, user_id: str) -> None:
        """Commands of `forget`; the answer is the number of keys that were there."""
        pipeline.delete(*self._keys(user_id))

    def _keys(self, user_id: str) -> tuple[bytes, ...]:
        tag = f"{self.options.key_prefix}{{{user_id}}}"
        return tuple(f"{tag}:{part}".encode() for part in ("events", "queries", "profile"))

    def _add_queries(self, pipeline: Any, user_id: str, times: Mapping[str, int]) -> None:
        _, key, _ = self._keys(user_id)
        pipeline.zadd(key, {text.encode("utf-8"): time for text, time in times.items()}, gt=True)
        pipeline.zremrangebyrank(key, 0, -self.options.max_queries - 1)

    def _expire(self, pipeline: Any, user_id: str) -> None:
        for key in self._keys(user_id):
            pipeline.pexpire(key, round(self.options.ttl_seconds * 1000))


def _member(event: Event) -> bytes:
    # NUL sorts before everything else, so members of one moment stand in the order of item and type.
    return f"{event.item_id}\0{event.event_type}\0{event.timestamp}".encode()


def _event(member: bytes) -> Event:
    item_id, event_type, timestamp = member.decode("utf-8").split("\0")
    return Event(item_id, event_type, int(timestamp))
