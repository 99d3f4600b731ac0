"""Texts of a shop with their weak labels: what is written, when, and what was chosen next."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import tensorflow as tf

from models import features, text_words
from tfx_pipeline.example_gen.boundaries import Boundaries
from tfx_pipeline.example_gen.item_table import ItemStats, ItemTable
from tfx_pipeline.tagging.lexicon_learning import Catalogue, learn
from tfx_pipeline.tagging.settings import DESCRIPTION, FREE_TEXT, QUERY, REVIEW, TITLE, TaggingSettings
from tfx_pipeline.tagging.weak_labels import Labeller, Labels, sentiment_of

#: Where events have no session, what is chosen within so many seconds of a query counts as chosen after it.
SESSION_SECONDS = 3600


@dataclass(frozen=True)
class Text:
    """One text and what is held to be true of it.

    Attributes:
      split: `train`, `eval` or `recent`.
      user_id: who wrote it, "" for the catalogue.
      time: when, seconds since 1970-01-01 UTC; of the catalogue, since when the item is known.
      source: of `settings.SOURCES`.
      text: as written.
      labels: weak ones; for `train` from what lies before `train_until`, else from before `eval_until`.
      sentiment: `positive`, `negative` or "".
    """

    split: str
    user_id: str
    time: int
    source: str
    text: str
    labels: Labels
    sentiment: str = ""


@dataclass(frozen=True)
class Written:
    """A text before it is labelled: what was chosen after it by code, and when."""

    user_id: str
    time: int
    source: str
    text: str
    chosen: tuple[int, ...] = ()
    chosen_at: tuple[int, ...] = ()
    sentiment: str = ""

    def chosen_before(self, moment: int) -> list[int]:
        """Different items chosen before a moment, in order."""
        pairs = zip(self.chosen, self.chosen_at, strict=True)
        return list(dict.fromkeys(code for code, time in pairs if time < moment))


def make_labeller(table: ItemTable, stats: ItemStats, boundaries: Boundaries, settings: TaggingSettings) -> Labeller:
    """Learns what the catalogue calls things from the items known before `train_until`."""
    known = stats.known_from(table) < boundaries.train_until
    rows = np.flatnonzero(known).tolist()
    parts = (table.titles, table.brands, table.categories, table.descriptions)
    lexicon = learn(Catalogue(*([str(part[row]) for row in rows] for part in parts)), settings.min_count)
    # An item that is not known yet is chosen by nobody in `train`; in `eval` it has the labels that its title gives.
    return Labeller(lexicon, *(list(map(str, part)) for part in parts[:3]))


def of_users(
    events: pd.DataFrame,
    users: pd.DataFrame,
    reviews: pd.DataFrame,
    table: ItemTable,
    label_event_types: tuple[str, ...],
    sources: tuple[str, ...],
) -> Iterator[Written]:
    """Queries, free texts and reviews of a part of the users.

    Args:
      events: `EVENT_COLUMNS`, identical ones merged.
      users, reviews: of the same users.
      table: the items.
      label_event_types: of an event by which a user chooses an item.
      sources: which texts are wanted.
    """
    events = events.sort_values(["user_id", "timestamp"], kind="stable")
    codes = np.where(events["event_type"].isin(label_event_types), table.codes(events["item_id"]), -1)
    columns = (events[name].to_numpy() for name in ("user_id", "timestamp", "session_id", "query"))
    names, times, sessions, queries = columns
    if QUERY in sources:
        yield from _queries(names, times.astype(np.int64), sessions, queries, codes)
    if FREE_TEXT in sources:
        texts = dict(zip(users["user_id"], users["free_text"], strict=True))
        starts = np.flatnonzero(np.r_[True, names[1:] != names[:-1]]).tolist() if len(names) else []
        for start, end in zip(starts, [*starts[1:], len(names)], strict=False):
            if text := texts.get(names[start]):
                chosen = [row for row in range(start, end) if codes[row] >= 0]
                yield Written(
                    names[start],
                    int(times[start]),
                    FREE_TEXT,
                    text,
                    tuple(int(codes[row]) for row in chosen),
                    tuple(int(times[row]) for row in chosen),
                )
    if REVIEW in sources:
        items = table.codes(reviews["item_id"])
        rows = zip(reviews["user_id"], reviews["timestamp"], reviews["text"], items, reviews["rating"], strict=True)
        for name, time, text, code, rating in rows:
            if text:
                yield Written(name, int(time), REVIEW, text, (int(code),), (int(time),), sentiment_of(rating))


def _queries(
    names: np.ndarray, times: np.ndarray, sessions: np.ndarray, queries: np.ndarray, codes: np.ndarray
) -> Iterator[Written]:
    """A query lasts to the user's next one, to the end of its session, or for an hour where there are no sessions."""
    start = -1
    chosen: list[int] = []

    def written() -> Iterator[Written]:
        if start >= 0:
            items, moments = (tuple(int(part[row]) for row in chosen) for part in (codes, times))
            yield Written(names[start], int(times[start]), QUERY, queries[start], items, moments)

    for row in range(len(names)):
        if start >= 0:
            lasts = names[row] == names[start] and (
                sessions[row] == sessions[start] if sessions[start] else times[row] < times[start] + SESSION_SECONDS
            )
            if not lasts or queries[row] not in ("", queries[start]):
                yield from written()
                start, chosen = -1, []
        if start < 0 and queries[row]:
            start = row
        if start >= 0 and codes[row] >= 0:
            chosen.append(row)
    yield from written()


def label(written: Written, labeller: Labeller, boundaries: Boundaries) -> Iterator[Text]:
    """A text in each split that it belongs to, with labels; none where nothing is known of it, or it lies outside."""
    if not boundaries.train_start <= written.time < boundaries.eval_until:
        return
    early = written.time < boundaries.train_until
    for split in (features.TRAIN_SPLIT,) if early else (features.EVAL_SPLIT, features.RECENT_SPLIT):
        labels = labeller.label(written.text, written.chosen_before(boundaries.labels_until(split)))
        if labels.tags or written.sentiment:
            yield Text(split, written.user_id, written.time, written.source, written.text, labels, written.sentiment)


def of_items(
    table: ItemTable, stats: ItemStats, boundaries: Boundaries, labeller: Labeller, sources: tuple[str, ...]
) -> Iterator[Text]:
    """Titles and descriptions, and in the split `catalogue` every title known before `eval_until`."""
    known_from = stats.known_from(table)
    for code in np.flatnonzero(known_from < boundaries.eval_until).tolist():
        time = int(known_from[code])
        splits = (
            (features.TRAIN_SPLIT,) if time < boundaries.train_until else (features.EVAL_SPLIT, features.RECENT_SPLIT)
        )
        title = str(table.titles[code])
        yield Text(features.CATALOGUE_SPLIT, "", time, TITLE, title, labeller.label_item(title, code))
        for source, text in ((TITLE, title), (DESCRIPTION, str(table.descriptions[code]))):
            if source in sources and text:
                for split in splits:
                    yield Text(split, "", time, source, text, labeller.label_item(text, code))


def to_example(text: Text) -> tf.train.Example:
    """A text as an Example with the features of `features.TEXT_FEATURES`."""
    tags = sorted(text.labels.tags)
    example = tf.train.Example()

    def strings(name: str, values: list[str]) -> None:
        field = example.features.feature[name].bytes_list
        field.SetInParent()
        field.value.extend(value.encode() for value in values)

    strings(features.USER_ID, [text.user_id])
    strings(features.TEXT, [text.text])
    strings(features.TEXT_TAGS, tags)
    strings(features.TEXT_WORD_LABELS, text.labels.word_labels)
    strings(features.TEXT_SENTIMENT, [text.sentiment])
    strings(features.SLICE_SOURCE, [text.source])
    strings(features.SLICE_LANGUAGE, ["Chinese" if text_words.is_chinese(text.text) else "other"])
    example.features.feature[features.REQUEST_TIME].int64_list.value.append(text.time)
    weights = example.features.feature[features.TEXT_TAG_WEIGHTS].float_list
    weights.SetInParent()
    weights.value.extend(text.labels.tags[tag] for tag in tags)
    return example
