"""One line of a review journal, or of a list of forbidden items: a JSON object of texts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

#: Of an item, in whatever file of a shop it stands.
ITEM_ID = "item_id"
REASON, BY, TIME, ACTION = "reason", "by", "time", "action"
KEYS = (ITEM_ID, REASON, BY, TIME, ACTION)
#: Values of `action`.
FLAG, APPROVE, BAN, UNBAN = "flag", "approve", "ban", "unban"
ACTIONS = (FLAG, APPROVE, BAN, UNBAN)


@dataclass(frozen=True)
class Entry:
    """One line of the journal.

    Attributes:
      time: when, ISO 8601, UTC.
      action: `flag`, `approve`, `ban` or `unban`.
      item_id: of the item.
      reason: why, "" if nobody said.
      by: a person, or the source that flagged.
    """

    time: str
    action: str
    item_id: str
    reason: str
    by: str


def parse_line(text: str) -> dict[str, str]:
    """The values of one JSON line; all but `item_id` may be missing.

    Raises:
      ValueError: saying what is wrong with it.
    """
    try:
        values = json.loads(text)
    except (json.JSONDecodeError, RecursionError):
        raise ValueError("is not JSON; expected one object a line") from None
    if not isinstance(values, dict):
        raise ValueError(f"holds {type(values).__name__}; expected one object a line")
    return checked(values)


def checked(values: Mapping[str, Any]) -> dict[str, str]:
    """Values of one line, its `item_id` without space around it.

    Raises:
      ValueError: saying what is wrong with them.
    """
    for key, value in values.items():
        if key not in KEYS:
            raise ValueError(f"has the unknown key `{key}`; expected {', '.join(KEYS)}")
        if not isinstance(value, str):
            raise ValueError(f"has {value!r} as `{key}`; expected a text")
    if not values.get(ITEM_ID, "").strip():
        raise ValueError(f"has no `{ITEM_ID}`; expected the id of an item")
    return {**values, ITEM_ID: values[ITEM_ID].strip()}
