"""What a configuration says of the store of shoppers."""

from __future__ import annotations

from dataclasses import dataclass

from models.options import number

_SECONDS_PER_DAY = 86_400


@dataclass(frozen=True)
class StoreOptions:
    """How much is kept, and how long; every process that uses one store must have the same.

    Attributes:
      max_events: newest events kept of a shopper.
      max_queries: newest distinct queries kept of a shopper.
      ttl_days: days after the last write until everything of a shopper is gone.
      max_users: shoppers in an embedded store; those go first that were not read or written for longest. Redis has its
        own setting for that (maxmemory with maxmemory-policy volatile-lru).
      impression_event_types: event types that only show an item and are no history, those of the pipeline
        (`decisions.impression_event_types`).
      key_prefix: of all keys in Redis.
    """

    max_events: int = number(1000, 1, 1e6)
    max_queries: int = number(20, 1, 1000)
    ttl_days: float = number(90.0, 1e-4, 36500)
    max_users: int = number(1_000_000, 1, 1e9)
    impression_event_types: tuple[str, ...] = ("impression",)
    key_prefix: str = "shopper:"

    @property
    def ttl_seconds(self) -> float:
        """`ttl_days` in seconds."""
        return self.ttl_days * _SECONDS_PER_DAY
