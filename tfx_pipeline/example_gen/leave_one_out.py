"""The clock of `split: leave_one_out`: a day for each label event, counted back from the user's last one.

Leave one out asks of each user: what comes last, given what came before? When that was is another moment for each
user, so no moment parts what the models know from what is asked of them, and times of two users cannot be compared.
Here every user's events are put on one clock on which they can: the last label event of everybody falls on `TEST`,
the one before it on the day before, and so on; other events and reviews share the moment of the label event before
them. On this clock leave one out *is* a split by time, and all that holds for such a split holds for it:

- A decision about the k-th last label event of a user lies k days before `TEST`. It sees the user's own events before
  that one, and of everybody (sales per day, negatives by popularity) only label events that are further than k from
  their users' last: a test item reaches no decision, an `eval` item none of `train`.
- The catalogue is what the data set holds: every item is known from the start, one that is only a test item too. That
  an item exists is all that is told of it.
- The number of a user's later events, though none of their items, shows in the decision's time.
- Gaps, decayed counts and windows of popularity, which are counted in days, count label events. Real times only give
  the order; label events of the same moment are in that of their item ids.

A request to a model that was trained so has to be on the clock: `request_time` 0 (or `TEST`), the newest event a day
before it, the next a day before that.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd

from tfx_pipeline.example_gen.boundaries import DAY, TEST
from tfx_pipeline.raw_tables.adapter import since

#: Label events further back than this lie a second apart: few users have more, and a table of sales has a row a day.
_MOST_DAYS = 1_000


def moment(later: np.ndarray) -> np.ndarray:
    """Seconds since 1970-01-01 UTC of events after which so many label events of their user come.

    Args:
      later: int [n]; itself a label event does not count.
    """
    later = np.asarray(later, np.int64)
    return TEST - np.minimum(later, _MOST_DAYS) * DAY - np.maximum(later - _MOST_DAYS, 0)


def on_the_clock(
    events: pd.DataFrame, users: pd.DataFrame, reviews: pd.DataFrame, label_event_types: Iterable[str]
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """(events, users, reviews) with their times on the clock.

    Args:
      events: `EVENT_COLUMNS`, sorted by time; all events of each user who has one here.
      users: as `Adapter.users` gives them.
      reviews: `REVIEW_COLUMNS`.
      label_event_types: event types that make an item a positive.

    Returns:
      events and reviews sorted by user and time, users in their order.
    """
    events = events.sort_values(["user_id", "timestamp"], kind="stable", ignore_index=True)
    label = events["event_type"].isin(tuple(label_event_types)) & (events["item_id"] != "")
    number = label.groupby(events["user_id"]).transform("sum") - label.groupby(events["user_id"]).cumsum()
    # Strictly before holds by real times too: what happened in the moment of a label event comes after it.
    number = number.where(label, number.groupby([events["user_id"], events["timestamp"]]).transform("min"))
    labels = events.loc[label, ["user_id", "timestamp"]]

    def later_than(names: pd.Series, times: pd.Series) -> np.ndarray:
        """How many label events of the user named come after each time."""
        of = {user: group.to_numpy(np.int64) for user, group in labels.groupby("user_id")["timestamp"]}
        none = np.empty(0, np.int64)
        counts = [
            len(own) - np.searchsorted(own, time, side="right")
            for own, time in zip((of.get(user, none) for user in names), times, strict=True)
        ]
        return np.array(counts, np.int64)

    reviews = reviews.sort_values(["user_id", "timestamp"], kind="stable")
    columns = [since(column) for column in users.columns if since(column) in users]
    known = {column: moment(later_than(users["user_id"], users[column])) for column in columns}
    times = moment(later_than(reviews["user_id"], reviews["timestamp"]))
    events = events.assign(timestamp=moment(number.to_numpy(np.int64)))
    events = events.sort_values(["user_id", "timestamp"], kind="stable", ignore_index=True)
    return events, users.assign(**known), reviews.assign(timestamp=times)
