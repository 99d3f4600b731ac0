"""What is met near the items of the history, counted: a score that training cannot learn by heart."""

from __future__ import annotations

import types
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from models.neighbours import PairWeights, count_neighbours
from models.shopper import Shopper


class NeighbourPath(tf.keras.layers.Layer):
    """score(j) = s · Σ_i decay^age(i) · w(i, j) over the items i of the newest events; w is counted, s learned.

    w is `count_neighbours`' of all users. In training a decision is scored with counts that leave out the fold of users
    that its own user is in (cross-fitting): in counts with its own events in them, the answer would stand. The age of
    an event is the number of known ones after it. Without a history all scores are 0.

    Args:
      items: V.
      number: k, neighbours kept for each item.
      decay: what an event counts for each known one after it.
      max_history: newest known events that count.
      folds: of users; more of them leave out less of what is known.
      pairs: what a pair of items counts, or its values in a dict; `PairWeights()` with `max_history` by default.

    Call arguments:
      positions: int [B, H], row of the item in the catalogue; -1 for padding and unknown items.
      users: int [B], a hash of each user; needed in training.
      rows: int [R], the items that are wanted; all when None.

    Returns:
      float32 [B, V] or [B, R].

    Raises:
      ValueError: for fewer than two folds.

    Example:
      >>> path = NeighbourPath(items=3, number=2)
      >>> path.count([Shopper(np.array([0]), np.array([2]), key=1)])
      >>> path(tf.constant([[0, -1]])).numpy()[0].argmax()
      2

    Reference: counts as in Linden et al., Amazon.com Recommendations (2003); cross-fitting as in Chernozhukov et al.,
    Double/Debiased Machine Learning (2018).
    """

    def __init__(
        self,
        items: int,
        number: int,
        decay: float = 0.7,
        max_history: int = 50,
        folds: int = 5,
        pairs: PairWeights | dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**{"dtype": "float32", **kwargs})
        if folds < 2:
            raise ValueError(f"folds must be at least 2, not {folds}.")
        self.items = items
        self.number = min(number, items)
        self.decay = decay
        self.max_history = max_history
        self.folds = folds
        self.pairs = PairWeights(**pairs) if isinstance(pairs, dict) else pairs or PairWeights(max_history=max_history)
        # A plain object: what training alone reads is no part of a checkpoint or a SavedModel.
        self._training = types.SimpleNamespace(rows=None, weights=None)
        self.build([])

    def build(self, input_shape: Any) -> None:
        if self.built:
            return
        shape = [self.items, self.number]
        self.neighbours = self.add_weight(
            name="neighbours", shape=shape, dtype="int32", initializer="zeros", trainable=False
        )
        self.weights_of = self.add_weight(name="weights_of", shape=shape, initializer="zeros", trainable=False)
        self.scale = self.add_weight(name="scale", shape=[], initializer=tf.constant_initializer(5.0))
        super().build(input_shape)

    def count(self, shoppers: Sequence[Shopper]) -> None:
        """Counts anew.

        Args:
          shoppers: every user once.
        """
        pairs = self.pairs
        full = count_neighbours((one.sequence for one in shoppers), self.items, self.number, pairs)
        self.neighbours.assign(full.rows)
        self.weights_of.assign(full.weights)
        parts = [
            count_neighbours(
                (one.sequence for one in shoppers if one.key % self.folds != fold), self.items, self.number, pairs
            )
            for fold in range(self.folds)
        ]
        self._training.rows = tf.Variable(np.concatenate([part.rows for part in parts]), trainable=False)
        self._training.weights = tf.Variable(np.concatenate([part.weights for part in parts]), trainable=False)

    def call(
        self,
        positions: tf.Tensor,
        users: tf.Tensor | None = None,
        rows: tf.Tensor | None = None,
        training: bool = False,
    ) -> tf.Tensor:
        positions = tf.cast(positions, tf.int32)
        known = positions >= 0
        newer = tf.cumsum(tf.cast(known, tf.float32), axis=1, reverse=True, exclusive=True)
        shares = tf.where(tf.logical_and(known, newer < self.max_history), tf.pow(self.decay, newer), 0.0)
        places = tf.maximum(positions, 0)
        if training and self._training.rows is not None:
            fold = tf.cast(tf.math.floormod(users, self.folds), tf.int32)
            places += fold[:, tf.newaxis] * self.items
            near, weights = tf.gather(self._training.rows, places), tf.gather(self._training.weights, places)
        else:
            near, weights = tf.gather(self.neighbours, places), tf.gather(self.weights_of, places)
        weights *= shares[:, :, tf.newaxis]
        size = tf.constant(self.items)
        if rows is not None:
            # Places in the sample; those outside of it go to one more column, which is cut off.
            size = tf.size(rows)
            place_of = tf.tensor_scatter_nd_update(tf.fill([self.items], size), rows[:, tf.newaxis], tf.range(size))
            near = tf.gather(place_of, near)
        width = size + (0 if rows is None else 1)
        batch = tf.shape(positions)[0]
        keys = tf.range(batch)[:, tf.newaxis, tf.newaxis] * width + near
        scores = tf.math.unsorted_segment_sum(tf.reshape(weights, [-1]), tf.reshape(keys, [-1]), batch * width)
        return tf.cast(self.scale, tf.float32) * tf.reshape(scores, [batch, width])[:, :size]

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "items": self.items,
            "number": self.number,
            "decay": self.decay,
            "max_history": self.max_history,
            "folds": self.folds,
            "pairs": vars(self.pairs).copy(),
        }
