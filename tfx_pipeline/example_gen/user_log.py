"""One user's past: events, reviews, and what the users table says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from tfx_pipeline.example_gen.item_table import ItemTable
from tfx_pipeline.raw_tables.adapter import since


@dataclass(frozen=True)
class UserLog:
    """Everything known of one user, in the order of time.

    Attributes:
      user_id: of the user.
      times: int64 [E], seconds, ascending.
      items: int64 [E], codes of `ItemTable`, -1 for events without an item (a search).
      types: int64 [E], places in `type_names`.
      type_names: object array of event types.
      sessions: int64 [E], equal within a session, -1 for events without one.
      queries: object [E], "" for none.
      free_text: of the users table.
      context: declared context column -> value, only those with a value.
      context_since: context column -> since when it is known, only those that come from events.
      review_times: int64 [R], ascending.
      review_texts: object [R].
    """

    user_id: str
    times: np.ndarray
    items: np.ndarray
    types: np.ndarray
    type_names: np.ndarray
    sessions: np.ndarray
    queries: np.ndarray
    free_text: str = ""
    context: dict[str, str] = field(default_factory=dict)
    context_since: dict[str, int] = field(default_factory=dict)
    review_times: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    review_texts: np.ndarray = field(default_factory=lambda: np.empty(0, object))


def user_logs(
    events: pd.DataFrame, users: pd.DataFrame, reviews: pd.DataFrame, table: ItemTable, context: tuple[str, ...]
) -> Iterator[UserLog]:
    """Splits cleaned and merged tables into one log per user who has an event, sorted by user id.

    Args:
      events: `EVENT_COLUMNS`; rows of the same user and moment keep their order.
      users: as `Adapter.users` gives them, at most one row a user.
      reviews: `REVIEW_COLUMNS`.
      table: the items.
      context: the declared context columns.
    """
    events = events.sort_values(["user_id", "timestamp"], kind="stable")
    reviews = reviews.sort_values(["user_id", "timestamp"], kind="stable")
    names = events["user_id"].to_numpy(object)
    times = events["timestamp"].to_numpy(np.int64)
    items = table.codes(events["item_id"])
    types, type_names = pd.factorize(events["event_type"].to_numpy(object))
    session_ids = events["session_id"].to_numpy(object)
    sessions = np.where(session_ids == "", -1, pd.factorize(session_ids)[0]).astype(np.int64)
    queries = events["query"].to_numpy(object)
    reviewers = reviews["user_id"].to_numpy(object)
    review_times, review_texts = reviews["timestamp"].to_numpy(np.int64), reviews["text"].to_numpy(object)
    rows = {row["user_id"]: row for row in users.to_dict("records")}
    starts = np.flatnonzero(np.r_[True, names[1:] != names[:-1]]) if len(names) else np.empty(0, np.int64)
    for start, end in zip(starts, np.r_[starts[1:], len(names)], strict=False):
        user, part = names[start], slice(start, end)
        about = slice(np.searchsorted(reviewers, user, "left"), np.searchsorted(reviewers, user, "right"))
        row = rows.get(user, {})
        yield UserLog(
            user_id=user,
            times=times[part],
            items=items[part],
            types=types[part],
            type_names=type_names,
            sessions=sessions[part],
            queries=queries[part],
            free_text=row.get("free_text", ""),
            context={column: row[column] for column in context if row.get(column)},
            context_since={column: row[since(column)] for column in context if since(column) in row},
            review_times=review_times[about],
            review_texts=review_texts[about],
        )
