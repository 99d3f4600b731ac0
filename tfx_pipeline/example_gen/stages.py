"""The Beam stages of ExampleGen.

Events travel as DataFrames of many rows, not one by one: `ReadEvents` parts every chunk by user into shards, and a
shard, once whole, is merged, sorted and built by the same pure functions that serve without Beam. Neither the size of
chunks nor the number of shards changes the result.
"""

from __future__ import annotations

import collections
from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam
import numpy as np
import pandas as pd

from models import features
from tfx_pipeline import settings as settings_lib
from tfx_pipeline.example_gen import examples, report
from tfx_pipeline.example_gen.augmentation import Augmenter
from tfx_pipeline.example_gen.boundaries import Boundaries
from tfx_pipeline.example_gen.decisions import DecisionBuilder
from tfx_pipeline.example_gen.item_table import ItemStats, ItemTable
from tfx_pipeline.example_gen.leave_one_out import on_the_clock
from tfx_pipeline.example_gen.review_events import with_reviews
from tfx_pipeline.example_gen.user_log import user_logs
from tfx_pipeline.raw_tables import make_adapter
from tfx_pipeline.raw_tables.adapter import REVIEW_COLUMNS, USER_COLUMNS
from tfx_pipeline.raw_tables.paths import Path, path_of
from tfx_pipeline.raw_tables.read import check_reject_share, known_relations, merge_identical, split_unknown
from tfx_pipeline.raw_tables.rejects import Rejects

USERS, REVIEWS, REJECTS, COUNTS = "users", "reviews", "rejects", "counts"

UNKNOWN_ITEM = "unknown item_id"

#: Bytes of event files that make one shard of users, and how many shards there are at least and at most.
_SHARD_BYTES, _MIN_SHARDS, _MAX_SHARDS = 4 << 20, 4, 4096


def shard_count(files: Iterable[Path]) -> int:
    """How many shards of users suit event files of this size."""
    return int(np.clip(sum(file.stat().st_size for file in files) // _SHARD_BYTES, _MIN_SHARDS, _MAX_SHARDS))


def by_shard(frame: pd.DataFrame, shards: int) -> Iterator[tuple[int, pd.DataFrame]]:
    """Parts rows by user; a user is always in the same shard."""
    if len(frame):
        keys = pd.util.hash_array(frame["user_id"].to_numpy(object)) % np.uint64(shards)
        for key, part in frame.groupby(keys.astype(np.int64)):
            yield int(key), part


class ReadTables(beam.DoFn):
    """Reads what is not events: the items (main output), users and reviews by shard, rejects."""

    def __init__(self, data: settings_lib.DataSettings, path: str, shards: int) -> None:
        super().__init__()
        self._data, self._path, self._shards = data, path, shards

    def process(self, element: Any) -> Iterator[Any]:
        rejects = Rejects()
        adapter = make_adapter(self._data, self._path)
        adapter.files()
        items = adapter.items(rejects)
        reviews, unknown = split_unknown(adapter.reviews(rejects), items["item_id"])
        _reject_unknown(rejects, "reviews", unknown)
        for name, frame in ((USERS, adapter.users(rejects)), (REVIEWS, reviews)):
            for shard in by_shard(frame, self._shards):
                yield beam.pvalue.TaggedOutput(name, shard)
        relations = None
        if self._data.item_relations:
            relations = known_relations(adapter.relations(rejects), items["item_id"], rejects)
        yield beam.pvalue.TaggedOutput(REJECTS, (-1, rejects, 0))
        yield ItemTable(items, relations)


class ReadEvents(beam.DoFn):
    """Reads one file of events: rows by shard (main output), rejects with the number of rows read."""

    def __init__(self, data: settings_lib.DataSettings, path: str, shards: int) -> None:
        super().__init__()
        self._data, self._path, self._shards = data, path, shards

    def process(self, element: tuple[int, str], table: ItemTable) -> Iterator[Any]:
        place, file = element
        rejects, kept = Rejects(), 0
        adapter = make_adapter(self._data, self._path)
        for chunk in adapter.read_events(path_of(file), rejects):
            kept += len(chunk)
            known, unknown = split_unknown(chunk, np.append(table.ids, ""))  # a search has no item
            _reject_unknown(rejects, "events", unknown)
            yield from by_shard(known, self._shards)
        # A row of an unknown item was read and counted in `kept` already; other rejected rows were never in a chunk.
        unread = rejects.rejected("events") - rejects.counts.get(("events", "rejected", UNKNOWN_ITEM), 0)
        yield beam.pvalue.TaggedOutput(REJECTS, (place, rejects, kept + unread))


class MergeShard(beam.DoFn):
    """Joins the parts of a shard and merges identical events."""

    def process(self, element: tuple[int, dict[str, Iterable[pd.DataFrame]]]) -> Iterator[Any]:
        key, parts = element
        lists = {name: list(frames) for name, frames in parts.items()}
        joined = {name: pd.concat(frames, ignore_index=True) for name, frames in lists.items() if frames}
        if "events" not in joined:
            return
        joined["events"], merged = merge_identical(joined["events"])
        rejects = Rejects()
        if merged:
            rejects.count("events", "merged", "identical events", [], merged)
        yield beam.pvalue.TaggedOutput(REJECTS, (1 << 40 | key, rejects, 0))
        yield key, joined


class OnTheClock(beam.DoFn):
    """Puts a shard on the clock of `leave_one_out`."""

    def __init__(self, decisions: settings_lib.DecisionSettings, context: tuple[str, ...]) -> None:
        super().__init__()
        self._labels, self._context = decisions.label_event_types, context

    def process(self, element: tuple[int, dict[str, pd.DataFrame]]) -> Iterator[Any]:
        key, frames = element
        timed = on_the_clock(*tables_of(frames, self._context), self._labels)
        yield key, dict(zip(("events", USERS, REVIEWS), timed, strict=True))


def tables_of(
    frames: dict[str, pd.DataFrame], context: tuple[str, ...]
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """(events, users, reviews) of a shard; the last two may not be there."""
    users = frames.get(USERS, pd.DataFrame(columns=[*USER_COLUMNS, *context]))
    return frames["events"], users, frames.get(REVIEWS, pd.DataFrame(columns=list(REVIEW_COLUMNS)))


class PartialStats(beam.DoFn):
    """What a shard says of the items."""

    def __init__(self, decisions: settings_lib.DecisionSettings) -> None:
        super().__init__()
        self._decisions = decisions

    def process(self, element: Any, table: ItemTable, boundaries: Boundaries) -> Iterator[pd.DataFrame]:
        yield ItemStats.partial(element[1]["events"], table, self._decisions.label_event_types, boundaries)


class BuildExamples(beam.DoFn):
    """Builds and serializes the decisions of a shard: one tagged output per split, and counts."""

    def __init__(self, decisions: settings_lib.DecisionSettings, context: tuple[str, ...]) -> None:
        super().__init__()
        self._decisions, self._context = decisions, context
        self._augmenter: Augmenter | None = None

    def setup(self) -> None:
        if self._decisions.augmentation.active:
            self._augmenter = Augmenter(self._decisions.augmentation)

    def process(self, element: Any, table: ItemTable, boundaries: Boundaries, stats: ItemStats) -> Iterator[Any]:
        events, users, reviews = tables_of(element[1], self._context)
        builder = DecisionBuilder(self._decisions, boundaries, table, stats)
        counts: collections.Counter[str] = collections.Counter()
        lived = with_reviews(events, reviews) if self._decisions.review_events else events
        for log in user_logs(lived, users, reviews, table, self._context):
            for moment in builder.moments(log, counts):
                decision = builder.build(log, moment)
                counts[f"{decision.split}: positives beyond max_positives"] += decision.dropped_positives
                counts[f"{decision.split}: impressions beyond candidates"] += decision.dropped_impressions
                train = decision.split == features.TRAIN_SPLIT
                for one in (decision, *(self._augmenter.copies(decision) if self._augmenter and train else ())):
                    counts[report.DECISIONS + one.split] += 1
                    counts[report.POSITIVES + one.split] += int((one.labels > 0).sum())
                    example = examples.to_example(one, self._context)
                    yield beam.pvalue.TaggedOutput(one.split, examples.serialize(example))
        counts[report.USERS] += events["user_id"].nunique()
        counts[report.EVENTS] += len(events)
        counts["events from eval_until on"] += int((events["timestamp"] >= boundaries.eval_until).sum())
        yield beam.pvalue.TaggedOutput(COUNTS, counts)


def join_rejects(parts: Iterable[tuple[int, Rejects, int]], max_share: float) -> Rejects:
    """Joins the rejects of all parts in a fixed order; past `max_share` it is an error (`DataError`)."""
    rejects, read_rows = Rejects(), 0
    for _, part, rows in sorted(parts, key=lambda part: part[0]):
        rejects.merge(part)
        read_rows += rows
    check_reject_share(rejects, read_rows, max_share)
    return rejects


def _reject_unknown(rejects: Rejects, table: str, rows: pd.DataFrame) -> None:
    if len(rows):
        rejects.count(table, "rejected", UNKNOWN_ITEM, rows.head(rejects.keep_rows).to_dict("records"), len(rows))
