"""Reading all raw tables of a configuration at once, checked against each other."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import pandas as pd

from tfx_pipeline.raw_tables import make_adapter
from tfx_pipeline.raw_tables.adapter import EVENT_COLUMNS
from tfx_pipeline.raw_tables.files import count_rows
from tfx_pipeline.raw_tables.paths import Path
from tfx_pipeline.raw_tables.rejects import DataError, Rejects
from tfx_pipeline.settings import DataSettings

#: Events are identical when they agree in these.
IDENTITY = ["user_id", "item_id", "event_type", "timestamp", "session_id"]
_ORDER = ["timestamp", "user_id", "item_id", "event_type", "session_id", "query"]


@dataclass(frozen=True)
class RawTables:
    """The cleaned tables of a data set, in contract columns, and what was left out.

    Attributes:
      events: sorted by (timestamp, user_id, item_id, event_type), identical ones merged.
      items, users: sorted by id.
      reviews, relations: in file order; may be empty, as may be users.
      rejects: counts and rows of all that was rejected, dropped, merged or noted.
    """

    events: pd.DataFrame
    items: pd.DataFrame
    users: pd.DataFrame
    reviews: pd.DataFrame
    relations: pd.DataFrame
    rejects: Rejects


def read(settings: DataSettings, directory: str | Path) -> RawTables:
    """Reads, checks and cleans all raw tables.

    Raises:
      DataError: if a file cannot be used, no event is left, or more than `max_reject_share` of the events is rejected.
    """
    rejects = Rejects()
    adapter = make_adapter(settings, directory)
    adapter.files()
    items = adapter.items(rejects)
    chunks = [chunk for file in adapter.event_files() for chunk in adapter.read_events(file, rejects)]
    events = pd.concat(chunks, ignore_index=True) if chunks else pd.DataFrame(columns=list(EVENT_COLUMNS))
    read_rows = len(events) + rejects.rejected("events")
    events, unknown = split_unknown(events, items["item_id"])
    _reject_unknown(rejects, "events", unknown)
    check_reject_share(rejects, read_rows, settings.max_reject_share)
    if events.empty:
        raise DataError(f"{directory}: no event is left; expected at least one event of a known item.")
    events, merged = merge_identical(events)
    if merged:
        rejects.count("events", "merged", "identical events", [], merged)
    users = adapter.users(rejects)
    reviews, unknown = split_unknown(adapter.reviews(rejects), items["item_id"])
    _reject_unknown(rejects, "reviews", unknown)
    relations = known_relations(adapter.relations(rejects), items["item_id"], rejects)
    return RawTables(events, items, users, reviews, relations, rejects)


def split_unknown(
    rows: pd.DataFrame, known_ids: Collection[str] | pd.Series, column: str = "item_id"
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Parts rows of known items from those of unknown ones; a row that names no item (a search) is with the known.

    Args:
      rows: events, reviews or relations.
      known_ids: ids of the items table.
      column: which column holds the item's id.

    Returns:
      (known, unknown), each in the given order.
    """
    known = rows[column].isin(known_ids) | (rows[column] == "")
    return rows[known].reset_index(drop=True), rows[~known].reset_index(drop=True)


def known_relations(relations: pd.DataFrame, known_ids: Collection[str] | pd.Series, rejects: Rejects) -> pd.DataFrame:
    """The relations between known items, in the given order; others are rejected, as is an item's to itself.

    Args:
      relations: `RELATION_COLUMNS`.
      known_ids: ids of the items table.
      rejects: where the others go to.
    """
    relations, unknown = split_unknown(relations, known_ids)
    _reject_unknown(rejects, "relations", unknown)
    relations, unknown = split_unknown(relations, known_ids, "related_item_id")
    _reject_unknown(rejects, "relations", unknown, "unknown related_item_id")
    itself = relations["item_id"] == relations["related_item_id"]
    _reject_unknown(rejects, "relations", relations[itself], "an item related to itself")
    return relations[~itself].reset_index(drop=True)


def merge_identical(events: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """Merges events that agree in user, item, type, time and session, and sorts.

    Events that name no item (searches) are identical only if their queries are. Quantities are added (missing ones add
    nothing, all missing stay missing); the price becomes the mean weighted by quantity, so that quantity times price
    stays the sum; of several queries the last by alphabet stays. The result does not depend on the order of the rows.

    Args:
      events: `EVENT_COLUMNS`, in any order.

    Returns:
      (events, merged): sorted by (timestamp, user_id, item_id, event_type, session_id), and how many rows went.
    """
    events = events.assign(searched=events["query"].where(events["item_id"] == "", ""))
    identity = [*IDENTITY, "searched"]
    several = events.duplicated(identity, keep=False)
    merged = 0
    if several.any():
        rows = events[several].sort_values([*identity, "query", "quantity", "price"])
        rows["weight"] = rows["quantity"].where(rows["quantity"] > 0, 1.0).where(rows["price"].notna())
        rows["value"] = rows["weight"] * rows["price"]
        groups = rows.groupby(identity, sort=False, as_index=False)
        one = groups.agg(
            quantity=("quantity", "sum"),
            quantities=("quantity", "count"),
            value=("value", "sum"),
            weight=("weight", "sum"),
            query=("query", "last"),
        )
        one["quantity"] = one["quantity"].where(one["quantities"] > 0)
        one["price"] = (one["value"] / one["weight"]).where(one["weight"] > 0)
        merged = len(rows) - len(one)
        events = pd.concat([events[~several], one[list(events.columns)]])
    return events.drop(columns="searched").sort_values(_ORDER, ignore_index=True), merged


def check_reject_share(rejects: Rejects, read_rows: int, max_share: float) -> None:
    """Stops when too many events were rejected.

    Args:
      rejects: what was rejected.
      read_rows: events read, the rejected included, the dropped not.
      max_share: of 1.

    Raises:
      DataError: naming the share, the counts and the most frequent reason.
    """
    rejected = rejects.rejected("events")
    if rejected <= max_share * read_rows:
        return
    reasons = {why: n for (table, kind, why), n in rejects.counts.items() if (table, kind) == ("events", "rejected")}
    most = max(reasons, key=lambda why: reasons[why])
    raise DataError(
        f"events: {rejected:,} of {read_rows:,} rows ({rejected / read_rows:.1%}) are rejected, most for {most!r} "
        f"({reasons[most]:,}); expected at most {max_share:.1%} (data.max_reject_share)."
    )


def _reject_unknown(rejects: Rejects, table: str, rows: pd.DataFrame, reason: str = "unknown item_id") -> None:
    count_rows(rejects, table, "rejected", reason, rows)
