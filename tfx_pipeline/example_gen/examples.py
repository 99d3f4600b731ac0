"""Decisions and catalogue rows as `tf.train.Example`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from models import features
from tfx_pipeline.example_gen.boundaries import Boundaries
from tfx_pipeline.example_gen.decision import Decision
from tfx_pipeline.example_gen.item_table import ItemStats, ItemTable

_NO_TEXTS: tuple[str, ...] = ()


def to_example(decision: Decision, context_columns: tuple[str, ...]) -> tf.train.Example:
    """One decision as an Example with the features of `features.raw_features`; none of the catalogue's.

    `label_event_types` is written where the decision has them.

    Args:
      decision: to be written.
      context_columns: the declared context columns; one without a value is left out.
    """
    values: dict[str, Any] = {
        features.USER_ID: [decision.user_id],
        features.REQUEST_TIME: [decision.time],
        features.PROFILE_TEXT: [decision.profile_text],
        features.QUERY: [decision.query],
        features.HISTORY_ITEM_IDS: decision.history_item_ids,
        features.HISTORY_EVENT_TYPES: decision.history_event_types,
        features.HISTORY_TIMESTAMPS: decision.history_timestamps,
        features.CANDIDATE_ITEM_IDS: decision.candidate_item_ids,
        features.CANDIDATE_TEXT: decision.candidate_text,
        features.LABEL: decision.labels,
    }
    if decision.label_event_types is not None:
        values[features.LABEL_EVENT_TYPES] = decision.label_event_types
    values |= {column: [decision.context[column]] for column in context_columns if column in decision.context}
    values |= {name: [value] for name, value in decision.slices.items()}
    return _example(values, context_columns)


def catalogue(table: ItemTable, stats: ItemStats, boundaries: Boundaries) -> Iterator[tf.train.Example]:
    """One Example per item known before eval_until, sorted by id.

    The user part is neutral (no user, no time, no history); the one candidate is the item, with its text and no label
    (-1). Sales are counted up to eval_until; who needs an earlier boundary cuts `item_sales_days`. Images and relations
    are there where the table has them; an item that is not known before eval_until is in no relation.

    Args:
      table, stats: the items and what the events say of them.
      boundaries: of the splits.
    """
    known_from = stats.known_from(table)
    by_item = np.argsort(stats.sales_items, kind="stable")
    starts = np.searchsorted(stats.sales_items[by_item], np.arange(len(table) + 1))
    known = known_from < boundaries.eval_until
    for code in np.flatnonzero(known):
        sales = by_item[starts[code] : starts[code + 1]]
        values: dict[str, Any] = {
            features.USER_ID: [""],
            features.REQUEST_TIME: [0],
            features.PROFILE_TEXT: [""],
            features.QUERY: [""],
            features.HISTORY_ITEM_IDS: _NO_TEXTS,
            features.HISTORY_EVENT_TYPES: _NO_TEXTS,
            features.HISTORY_TIMESTAMPS: (),
            features.CANDIDATE_ITEM_IDS: [table.ids[code]],
            features.CANDIDATE_TEXT: [table.texts[code]],
            features.LABEL: [-1.0],
            features.ITEM_TITLE: [table.titles[code]],
            features.ITEM_CATEGORY: [table.categories[code]],
            features.ITEM_BRAND: [table.brands[code]],
            features.ITEM_FIRST_SEEN: [known_from[code]],
            features.ITEM_SALES_DAYS: stats.sales_days[sales],
            features.ITEM_SALES_COUNTS: stats.sales_counts[sales],
        }
        if not np.isnan(table.prices[code]):
            values[features.ITEM_PRICE] = [table.prices[code]]
        if table.images is not None:
            values[features.ITEM_IMAGE] = () if table.images[code] is None else table.images[code]
        if table.relations is not None:
            items, kinds, others = table.relations
            first, last = np.searchsorted(items, [code, code + 1])
            kept = known[others[first:last]]
            values[features.ITEM_RELATION_KINDS] = kinds[first:last][kept]
            values[features.ITEM_RELATED_ITEMS] = table.ids[others[first:last][kept]]
        yield _example(values, ())


def serialize(example: tf.train.Example) -> bytes:
    """The same bytes for the same content."""
    return example.SerializeToString(deterministic=True)


def _example(values: dict[str, Any], context_columns: Iterable[str]) -> tf.train.Example:
    kinds = features.raw_features(tuple(context_columns), tuple(features.DECLARED_FEATURES))
    example = tf.train.Example()
    for name, value in values.items():
        feature = example.features.feature[name]
        dtype = kinds[name][0]
        if dtype == "string":
            feature.bytes_list.SetInParent()
            feature.bytes_list.value.extend([text.encode() for text in value])
        elif dtype == "int64":
            feature.int64_list.SetInParent()
            feature.int64_list.value.extend(np.asarray(value, np.int64).tolist())
        else:
            feature.float_list.SetInParent()
            feature.float_list.value.extend(np.asarray(value, np.float64).tolist())
    return example
