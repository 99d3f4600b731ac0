"""Decisions of raw tables that fit into memory, without Beam: for a look at the data, and for tests."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

from tfx_pipeline import settings as settings_lib
from tfx_pipeline.example_gen.boundaries import Boundaries
from tfx_pipeline.example_gen.decisions import DecisionBuilder
from tfx_pipeline.example_gen.item_table import ItemStats, ItemTable
from tfx_pipeline.example_gen.leave_one_out import on_the_clock
from tfx_pipeline.example_gen.review_events import with_reviews
from tfx_pipeline.example_gen.user_log import UserLog, user_logs
from tfx_pipeline.raw_tables.read import RawTables


@dataclass(frozen=True)
class Prepared:
    """Raw tables made ready to build decisions from; with `leave_one_out`, `tables` has the times of its clock."""

    tables: RawTables
    settings: settings_lib.Settings
    builder: DecisionBuilder

    def logs(self) -> Iterator[UserLog]:
        """One log per user who has an event, sorted by user id."""
        tables, context = self.tables, self.settings.data.context
        reviewed = self.settings.decisions.review_events
        events = with_reviews(tables.events, tables.reviews) if reviewed else tables.events
        return user_logs(events, tables.users, tables.reviews, self.builder.table, context)


def prepare(tables: RawTables, settings: settings_lib.Settings) -> Prepared:
    """Resolves the boundaries and counts what the builder needs.

    Args:
      tables: cleaned and merged.
      settings: `data` and `decisions` are read.

    Raises:
      SettingsError: if the boundaries are not in order.
    """
    times, labels = tables.events["timestamp"], settings.decisions.label_event_types
    boundaries = Boundaries.resolve(settings.decisions, int(times.min()), int(times.max()))
    leave_one_out = settings.decisions.split == settings_lib.LEAVE_ONE_OUT
    if leave_one_out:
        events, users, reviews = on_the_clock(tables.events, tables.users, tables.reviews, labels)
        tables = dataclasses.replace(tables, events=events, users=users, reviews=reviews)
    table = ItemTable(tables.items, tables.relations if settings.data.item_relations else None)
    partial = ItemStats.partial(tables.events, table, labels, boundaries)
    stats = ItemStats.combine([partial], len(table), always_known=leave_one_out)
    return Prepared(tables, settings, DecisionBuilder(settings.decisions, boundaries, table, stats))
