"""What may be stored: the same rules for every store."""

from __future__ import annotations

import numbers
from collections.abc import Iterable, Mapping, Sequence

from serving.requests import Event
from serving.store.options import StoreOptions
from serving.store.profile import Profile, Query

#: Times from here on are milliseconds, or nonsense that would stay the newest for ever.
_SECONDS_BELOW = 10**10


def shopper(user_id: str) -> str:
    """The id, if something can be stored under it; else a ValueError."""
    if not _text(user_id, "`user_id`"):
        raise ValueError("`user_id` is empty; expected the id of a shopper, as nothing is kept of visitors.")
    return user_id


def history(events: Mapping[str, Sequence[Event]], options: StoreOptions) -> dict[str, list[Event]]:
    """By user id, what of the events is history: neither impressions nor events without an item.

    Args:
      events: by user id.
      options: which event types are impressions.

    Raises:
      ValueError: naming the first event that cannot be stored.
    """
    kept = {shopper(user_id): list(_history(each, options)) for user_id, each in events.items()}
    return {user_id: each for user_id, each in kept.items() if each}


def _history(events: Iterable[Event], options: StoreOptions) -> Iterable[Event]:
    for place, event in enumerate(events):
        try:
            item_id, event_type, timestamp = event
        except (TypeError, ValueError):
            raise ValueError(
                f"`events[{place}]` is {event!r}; expected a triple of item_id, event_type and timestamp."
            ) from None
        for value, name in ((item_id, "item_id"), (event_type, "event_type")):
            if "\0" in _text(value, f"`events[{place}].{name}`"):
                raise ValueError(f"`events[{place}].{name}` is {value!r}; expected a text without a NUL.")
        if not event_type:
            raise ValueError(f"`events[{place}].event_type` is empty; expected a type, such as view.")
        time = _time(timestamp, f"`events[{place}].timestamp`")
        if item_id and event_type not in options.impression_event_types:
            yield Event(item_id, event_type, time)


def searches(queries: Mapping[str, Sequence[Query]]) -> dict[str, dict[str, int]]:
    """By user id, the newest time of each query; empty ones are left out.

    Raises:
      ValueError: naming the first query that cannot be stored.
    """
    found = {shopper(user_id): _searches(each) for user_id, each in queries.items()}
    return {user_id: each for user_id, each in found.items() if each}


def _searches(queries: Iterable[Query]) -> dict[str, int]:
    newest: dict[str, int] = {}
    for place, (text, timestamp) in enumerate(queries):
        time = _time(timestamp, f"`queries[{place}].timestamp`")
        if _text(text, f"`queries[{place}].text`"):
            newest[text] = max(time, newest.get(text, 0))
    return newest


def profile(profile: Profile) -> dict[str, int]:
    """The newest time of each of the profile's queries, if it can be stored; else a ValueError."""
    _text(profile.free_text, "`free_text`")
    for column, value in profile.context.items():
        _text(column, "a context column")
        _text(value, f"context column `{column}`")
    return _searches(profile.queries)


def limit(limit: int | None, options: StoreOptions) -> int:
    """How many events may be read; a ValueError below 1."""
    if limit is None:
        return options.max_events
    if limit < 1:
        raise ValueError(f"`limit` is {limit}; expected at least 1, or None for all events.")
    return min(limit, options.max_events)


def _text(value: str, name: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{name} is of type {type(value).__name__}; expected a text.")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:  # the text may name a person, so it is not said
        raise ValueError(f"{name} has half a surrogate pair; expected a text that UTF-8 can write.") from None
    return value


def _time(value: int, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or not 0 <= value < _SECONDS_BELOW:
        raise ValueError(f"{name} is {value!r}; expected whole seconds since 1970-01-01 UTC.")
    return int(value)
