"""Explicit paths beside the vectors: what a user buys again, and what sells now."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf


def named_items(positions: tf.Tensor, size: tf.Tensor | int) -> tf.Tensor:
    """Float32 [B, size], 1 for items whose row is among `positions`, int [B, n]; -1 names none."""
    batch, number = tf.unstack(tf.shape(positions))
    indices = tf.stack([tf.repeat(tf.range(batch), number), tf.reshape(tf.maximum(positions, 0), [-1])], 1)
    named = tf.cast(tf.reshape(positions, [-1]) >= 0, tf.float32)
    return tf.cast(tf.scatter_nd(indices, named, [batch, size]) > 0, tf.float32)


class RepeatPath(tf.keras.layers.Layer):
    """Features of every (user, item) pair counted from the whole history.

    With n the item's (weighted) events and g their ages in days: log(1+n); whether n > 0; log(1 + 3·Σ exp(-g/τ)) for
    each time constant τ (learned); and, on items with n > 0, the length of the history and the age of its newest
    event. Each event type has a learned weight, 1 at the start.

    Args:
      items: V.
      event_types: size of the vocabulary of event types, padding and unknown included.
      decay_days: initial time constants τ, in days.

    Call arguments:
      positions: int [B, H], row of the item in the catalogue; -1 for padding and unknown items.
      types: int [B, H], ids of the event types.
      gaps: float [B, H], age of the event in days.
      items: V where `positions` count in a part of the catalogue; the whole one when None.

    Returns:
      (features [B, V, len(decay_days) + 4], repeated [B, V], 1 where n > 0, and user [B, 3]: length of the history,
      age of its newest event, number of distinct items, as logarithms scaled to about 1).

    Raises:
      ValueError: if a time constant is not positive.

    Example:
      >>> path = RepeatPath(items=2, event_types=3, decay_days=(10.0,))
      >>> _, repeated, _ = path(tf.constant([[1, 1, -1]]), tf.constant([[2, 2, 0]]), tf.constant([[3.0, 0.0, 0.0]]))
      >>> repeated.numpy().tolist()
      [[0.0, 1.0]]

    Reference: the time-decayed personal frequency of Hu et al., TIFU-KNN (2020), and the repeat mode of Ren et al.,
    RepeatNet (2019).
    """

    def __init__(self, items: int, event_types: int, decay_days: Sequence[float], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if any(days <= 0 for days in decay_days):
            raise ValueError(f"decay_days must be positive, not {tuple(decay_days)}.")
        self.items = items
        self.event_types = event_types
        self.decay_days = tuple(float(days) for days in decay_days)
        self.width = len(self.decay_days) + 4
        self.build([])

    def build(self, input_shape: Any) -> None:
        if self.built:
            return
        initial = tf.constant_initializer(np.log(self.decay_days))
        self.log_decay = self.add_weight(name="log_decay", shape=[len(self.decay_days)], initializer=initial)
        self.type_weights = self.add_weight(name="type_weights", shape=[self.event_types], initializer="ones")
        super().build(input_shape)

    def call(
        self, positions: tf.Tensor, types: tf.Tensor, gaps: tf.Tensor, items: tf.Tensor | None = None
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        real = tf.cast(positions >= 0, tf.float32)
        gaps = tf.cast(gaps, tf.float32)
        weight = real * tf.nn.relu(tf.gather(tf.cast(self.type_weights, tf.float32), types))
        decay = tf.exp(-gaps[:, :, tf.newaxis] / tf.exp(tf.cast(self.log_decay, tf.float32)))
        updates = tf.concat([real[:, :, tf.newaxis], weight[:, :, tf.newaxis], weight[:, :, tf.newaxis] * decay], -1)
        batch, length = tf.unstack(tf.shape(positions))
        rows = tf.repeat(tf.range(batch), length)
        indices = tf.stack([rows, tf.reshape(tf.maximum(tf.cast(positions, tf.int32), 0), [-1])], 1)
        width = updates.shape[-1]
        size = self.items if items is None else items
        counts = tf.scatter_nd(indices, tf.reshape(updates, [-1, width]), [batch, size, width])
        repeated = tf.cast(counts[:, :, 0] > 0, tf.float32)
        events = tf.reduce_sum(real, 1)
        newest = tf.reduce_min(tf.where(real > 0, gaps, 1e4), 1)
        distinct = tf.reduce_sum(repeated, 1)
        user = tf.stack([tf.math.log1p(events) / 5, tf.math.log1p(newest) / 4, tf.math.log1p(distinct) / 5], -1)
        features = tf.concat(
            [
                tf.math.log1p(counts[:, :, 1:2]),
                repeated[:, :, tf.newaxis],
                tf.math.log1p(3 * counts[:, :, 2:]),
                repeated[:, :, tf.newaxis] * user[:, tf.newaxis, :2],
            ],
            -1,
        )
        return features, repeated, user

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "items": self.items,
            "event_types": self.event_types,
            "decay_days": self.decay_days,
        }


class PopularityPath(tf.keras.layers.Layer):
    """What sold in the days before the decision: log(1 + 2000·share of the item in the window) for each window.

    The table holds cumulative counts per day, so that a training decision sees only the days before its own, exactly
    as a request sees the days before the model was made. A request after the table's end sees its last days.

    Args:
      items: V.
      days: D, days in the table.
      windows: lengths of the windows in days.

    Call arguments:
      request_day: int [B], days since 1970-01-01 UTC.
      rows: int [R], the items that are wanted; all when None.

    Returns:
      float [B, V or R, len(windows)].

    Raises:
      ValueError: if a window is below 1.

    Example:
      >>> path = PopularityPath(items=2, days=3, windows=(2,))
      >>> path.set_table(np.array([[4, 0], [0, 2], [1, 1]]), first_day=100)
      >>> np.expm1(path(tf.constant([102]))).round().tolist()   # days 100 and 101: 4 of 6 and 2 of 6
      [[[1333.0], [667.0]]]

    Reference: popularity with a time window, as a baseline in Ji et al., A Re-visit of the Popularity Baseline (2020).
    """

    def __init__(self, items: int, days: int, windows: Sequence[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if any(window < 1 for window in windows):
            raise ValueError(f"windows must be at least 1 day, not {tuple(windows)}.")
        self.items = items
        self.days = days
        self.windows = tuple(int(window) for window in windows)
        self.width = len(self.windows)
        self.build([])

    def build(self, input_shape: Any) -> None:
        if self.built:
            return
        self.cumulative = self.add_weight(
            name="cumulative", shape=[self.days + 1, self.items], initializer="zeros", trainable=False
        )
        # The whole catalogue's, so that a part of it has the same shares.
        self.totals = self.add_weight(name="totals", shape=[self.days + 1], initializer="zeros", trainable=False)
        self.first_day = self.add_weight(
            name="first_day", shape=[], dtype="int64", initializer="zeros", trainable=False
        )
        super().build(input_shape)

    def set_table(self, counts: np.ndarray, first_day: int) -> None:
        """Stores counts per day, [D, V], and the day of the first row."""
        cumulative = np.concatenate([np.zeros([1, self.items]), np.cumsum(counts, 0)])
        self.cumulative.assign(cumulative.astype(np.float32))
        self.totals.assign(cumulative.sum(1).astype(np.float32))
        self.first_day.assign(first_day)

    def call(self, request_day: tf.Tensor, rows: tf.Tensor | None = None) -> tf.Tensor:
        end = tf.clip_by_value(tf.cast(request_day, tf.int64) - self.first_day, 0, self.days)
        cumulative, totals = tf.cast(self.cumulative, tf.float32), tf.cast(self.totals, tf.float32)
        if rows is not None:
            cumulative = tf.gather(cumulative, rows, axis=1)
        until, until_total = tf.gather(cumulative, end), tf.gather(totals, end)
        features = []
        for window in self.windows:
            start = tf.maximum(end - window, 0)
            total = until_total - tf.gather(totals, start)
            features.append(_scaled(until - tf.gather(cumulative, start), total[:, tf.newaxis]))
        return tf.stack(features, -1)

    def of_pairs(self, request_day: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
        """The same of pairs of a day and an item, both int [P]: float [P, len(windows)]; 0 for a row of -1."""
        end = tf.clip_by_value(tf.cast(request_day, tf.int64) - self.first_day, 0, self.days)
        cumulative, totals = tf.cast(self.cumulative, tf.float32), tf.cast(self.totals, tf.float32)
        place = tf.cast(tf.maximum(rows, 0), tf.int64)
        features = []
        for window in self.windows:
            start = tf.maximum(end - window, 0)
            until, before = (tf.gather_nd(cumulative, tf.stack([day, place], 1)) for day in (end, start))
            scaled = _scaled(until - before, tf.gather(totals, end) - tf.gather(totals, start))
            features.append(tf.where(rows >= 0, scaled, 0.0))
        return tf.stack(features, -1)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "items": self.items, "days": self.days, "windows": self.windows}


def _scaled(sold: tf.Tensor, total: tf.Tensor) -> tf.Tensor:
    """The feature of a window: the logarithm of an item's share of what was sold in it."""
    return tf.math.log1p(2000 * sold / tf.maximum(total, 1))
