"""Small hand-made shops for the tests of ExampleGen."""

from __future__ import annotations

import types

import pandas as pd
import pytest

from tfx_pipeline.example_gen.boundaries import Boundaries
from tfx_pipeline.example_gen.decisions import DecisionBuilder
from tfx_pipeline.example_gen.item_table import ItemStats, ItemTable
from tfx_pipeline.example_gen.review_events import with_reviews
from tfx_pipeline.example_gen.user_log import user_logs
from tfx_pipeline.raw_tables.adapter import ITEM_COLUMNS, REVIEW_COLUMNS, USER_COLUMNS
from tfx_pipeline.raw_tables.read import merge_identical
from tfx_pipeline.settings import DecisionSettings


def events_frame(rows: list[tuple]) -> pd.DataFrame:
    """Rows of (user, item, type, time, session[, query])."""
    full = [(*row, "")[:6] for row in rows]
    frame = pd.DataFrame(full, columns=["user_id", "item_id", "event_type", "timestamp", "session_id", "query"])
    return frame.astype({"timestamp": "int64"}).assign(quantity=1.0, price=float("nan"))


def items_frame(ids: str | list[str], **columns: list) -> pd.DataFrame:
    """Items titled "title of ID", with further columns as given."""
    ids = list(ids)
    frame = pd.DataFrame({"item_id": ids, "title": [f"title of {item}" for item in ids]})
    frame = frame.assign(description="", category="", brand="", price=float("nan"), item_type="product", first_seen=0)
    return frame.assign(**columns)[list(ITEM_COLUMNS)]


def build(settings: DecisionSettings, boundaries: Boundaries, events: list[tuple], items: pd.DataFrame, **tables):
    """The builder and the logs of a shop; `users`, `reviews` (frames) and `context` are optional."""
    frame, _ = merge_identical(events_frame(events))
    table = ItemTable(items)
    partial = ItemStats.partial(frame, table, settings.label_event_types, boundaries)
    builder = DecisionBuilder(settings, boundaries, table, ItemStats.combine([partial], len(table)))
    users = tables.get("users", pd.DataFrame(columns=list(USER_COLUMNS)))
    reviews = tables.get("reviews", pd.DataFrame(columns=list(REVIEW_COLUMNS)))
    frame = with_reviews(frame, reviews) if settings.review_events else frame
    return builder, {log.user_id: log for log in user_logs(frame, users, reviews, table, tables.get("context", ()))}


@pytest.fixture(scope="session")
def shop() -> types.SimpleNamespace:
    return types.SimpleNamespace(events=events_frame, items=items_frame, build=build)
