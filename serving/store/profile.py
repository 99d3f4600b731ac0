"""What is known of a shopper beside events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple


class Query(NamedTuple):
    """A search.

    Attributes:
      text: as it was asked.
      timestamp: seconds since 1970-01-01 UTC, of the last time.
    """

    text: str
    timestamp: int


@dataclass(frozen=True)
class Profile:
    """What a request may say of a shopper beside the history.

    Attributes:
      free_text: of the users table.
      context: value of each declared context column that is known.
      queries: the last distinct ones, newest first; of one moment the last by alphabet first.
    """

    free_text: str = ""
    context: Mapping[str, str] = field(default_factory=dict)
    queries: tuple[Query, ...] = ()
