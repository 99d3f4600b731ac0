"""What the history's items say of the others: met together and described alike, weighed by what is learned."""

from __future__ import annotations

import types
from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.sparse as sparse
import tensorflow as tf

from models.neighbours import PairWeights, count_evidence, similar_texts
from models.shopper import Shopper

#: What is learned of for each item: see `EvidencePath`.
FEATURES = 8


class EvidencePath(tf.keras.layers.Layer):
    """score(j) = g(f_j) for items j near those of the history, 0 for others; g is linear plus an MLP, f_j counted.

    Over the items i of the newest events, the newest of them n, with the numbers of `Evidence` for each pair:

      f_j = (√Σ_i decay^age(i)·weight(i, j), Σ_i decay^age(i)·cosine(i, j), ln(1 + Σ_i after(i, j)),
             ln(1 + Σ_i before(i, j)), √weight(n, j), cosine(n, j), ln(1 + next(n, j)), ln(1 + events of j))

    In training a decision is scored with counts that leave out the fold of users that its own user is in
    (cross-fitting): in counts with its own events in them, the answer would stand. The age of an event is the number of
    known ones after it. What is counted of an item whose id is hidden (`kept`) is hidden too: its text is left.

    A user's scores are made of [V, 7] sums, and the tables take 24 bytes for each neighbour that is kept of an item, in
    training 6 times that: 100,000 items with 300 each take 4.3 GB.

    Args:
      items: V.
      number: neighbours kept of each item for what is counted.
      content: and for their texts; 0 for none.
      hidden_dimension: of the MLP.
      decay: what an event counts for each known one after it.
      max_history: newest known events that count.
      folds: of users; more of them leave out less of what is known.

    Call arguments:
      positions: int [B, H], row of the item in the catalogue; -1 for padding and unknown items.
      users: int [B], a hash of each user; needed in training.
      kept: float [V] or [R], 1 for items whose id counts.
      rows: int [R], the items that are wanted; all when None.

    Returns:
      float32 [B, V] or [B, R].

    Raises:
      ValueError: for fewer than two folds, or training without `users` or before `count`.

    Example:
      >>> path = EvidencePath(items=3, number=2, content=0)
      >>> path.count([Shopper(np.array([0]), np.array([2]), key=1)])
      >>> path(tf.constant([[0, -1]]), kept=tf.ones([3])).numpy()[0].argmax()
      2

    Reference: counts as in Linden et al., Amazon.com Recommendations (2003); cross-fitting as in Chernozhukov et al.,
    Double/Debiased Machine Learning (2018).
    """

    def __init__(
        self,
        items: int,
        number: int,
        content: int,
        hidden_dimension: int = 32,
        decay: float = 0.7,
        max_history: int = 50,
        folds: int = 5,
        **kwargs: Any,
    ) -> None:
        super().__init__(**{"dtype": "float32", **kwargs})
        if folds < 2:
            raise ValueError(f"folds must be at least 2, not {folds}.")
        self.items = items
        self.number = number
        self.content = content
        self.hidden_dimension = hidden_dimension
        self.decay = decay
        self.max_history = max_history
        self.folds = folds
        first = tf.constant_initializer([3.0] + [0.0] * (FEATURES - 1))
        self.straight = tf.keras.layers.Dense(
            1, use_bias=False, kernel_initializer=first, dtype=self.dtype_policy, name="straight"
        )
        self.inner = tf.keras.layers.Dense(hidden_dimension, activation="gelu", dtype=self.dtype_policy, name="inner")
        self.outer = tf.keras.layers.Dense(1, kernel_initializer="zeros", dtype=self.dtype_policy, name="outer")
        # A plain object: what training alone reads is no part of a checkpoint or a SavedModel.
        self._training = types.SimpleNamespace(alike=None, tables=None)
        self.build([])

    def build(self, input_shape: Any) -> None:
        if self.built:
            return
        width = min(self.number + self.content, self.items)

        def table(name: str, shape: list[int], dtype: str = "float32") -> tf.Variable:
            return self.add_weight(name=name, shape=shape, dtype=dtype, initializer="zeros", trainable=False)

        self.neighbours = table("neighbours", [self.items, width], "int32")
        self.weights_of = table("weights_of", [self.items, width])
        self.cosines = table("cosines", [self.items, width])
        self.counts = table("counts", [self.items, width, 3], "int32")
        self.events = table("events", [self.items], "int32")
        self.straight.build([None, FEATURES])
        self.inner.build([None, FEATURES])
        self.outer.build([None, self.hidden_dimension])
        super().build(input_shape)

    def set_texts(self, tokens: np.ndarray, ignored: Sequence[int]) -> None:
        """Compares the items' texts, for the next `count`.

        Args:
          tokens: int [V, T].
          ignored: tokens that are no words.
        """
        self._training.alike = similar_texts(tokens, ignored, self.content) if self.content else None

    def count(self, shoppers: Sequence[Shopper]) -> None:
        """Counts anew.

        Args:
          shoppers: every user once.
        """
        alike = self._training.alike
        if alike is None:
            alike = sparse.csr_matrix((self.items, self.items))
        pairs, variables = PairWeights(max_history=self.max_history), self._tables
        folds = [np.zeros([self.folds, *variable.shape], variable.dtype.as_numpy_dtype) for variable in variables]
        for fold in (None, *range(self.folds)):
            others = (one.sequence for one in shoppers if fold is None or one.key % self.folds != fold)
            found = count_evidence(others, self.items, self.number, alike, pairs)
            parts = (found.rows, found.weights, found.cosines, found.counts, found.events)
            for variable, table, part in zip(variables, folds, parts, strict=True):
                # Narrower where no item has as many neighbours as there is room for.
                room = [(0, wanted - given) for wanted, given in zip(variable.shape, part.shape, strict=True)]
                if fold is None:
                    variable.assign(np.pad(part, room))
                else:
                    table[fold] = np.pad(part, room)
        merged = [table.reshape([-1, *table.shape[2:]]) for table in folds]
        self._training.tables = [tf.Variable(table, trainable=False) for table in merged]

    @property
    def _tables(self) -> list[tf.Variable]:
        return [self.neighbours, self.weights_of, self.cosines, self.counts, self.events]

    def call(
        self,
        positions: tf.Tensor,
        users: tf.Tensor | None = None,
        kept: tf.Tensor | None = None,
        rows: tf.Tensor | None = None,
        training: bool = False,
    ) -> tf.Tensor:
        positions = tf.cast(positions, tf.int32)
        batch = tf.shape(positions)[0]
        known = positions >= 0
        newer = tf.cumsum(tf.cast(known, tf.float32), axis=1, reverse=True, exclusive=True)
        events = tf.where(tf.logical_and(known, newer < self.max_history))
        row, age = tf.cast(events[:, 0], tf.int32), tf.gather_nd(newer, events)[:, tf.newaxis]
        places = tf.gather_nd(positions, events)
        tables, first = self._tables, tf.zeros([batch], tf.int32)
        if training:
            if users is None or self._training.tables is None:
                raise ValueError("the user's own answers cannot be left out; expected `users`, and `count` before.")
            tables = self._training.tables
            first = tf.cast(tf.math.floormod(users, self.folds), tf.int32) * self.items
            places += tf.gather(first, row)
        near, weight, cosine, counts = (tf.gather(table, places) for table in tables[:4])
        after, before, following = tf.unstack(tf.cast(counts, tf.float32), axis=-1)
        share, newest = tf.pow(self.decay, age), tf.cast(age == 0, tf.float32)
        found = [weight * share, cosine * share, after, before, weight * newest, cosine * newest, following * newest]
        size, wanted = tf.constant(self.items), tf.range(self.items)
        if rows is not None:
            # Places in the sample; those outside of it go to one more column, which is cut off.
            size, wanted = tf.size(rows), tf.concat([rows, [0]], 0)
            place_of = tf.tensor_scatter_nd_update(tf.fill([self.items], size), rows[:, tf.newaxis], tf.range(size))
            near = tf.gather(place_of, near)
        width = tf.size(wanted)
        keys = row[:, tf.newaxis] * width + near
        sums = tf.math.unsorted_segment_sum(
            tf.reshape(tf.stack(found, -1), [-1, len(found)]), tf.reshape(keys, [-1]), batch * width
        )
        seen = tf.ones([width]) if kept is None else tf.cast(kept, tf.float32)
        if kept is not None and rows is not None:
            seen = tf.concat([seen, [0.0]], 0)
        # Most items are near none of the history: the MLP is for the others.
        counted = tf.reshape(sums[:, 0], [batch, width]) * seen
        close = tf.reshape(counted + tf.reshape(sums[:, 1], [batch, width]), [-1]) > 0
        touched = tf.cast(tf.where(close)[:, 0], tf.int32)
        sums, column = tf.gather(sums, touched), tf.math.floormod(touched, width)
        several = tf.gather(tables[4], tf.gather(first, touched // width) + tf.gather(wanted, column))
        columns, seen = tf.unstack(sums, axis=-1), tf.gather(seen, column)
        values = [
            tf.sqrt(columns[0]) * seen,
            columns[1],
            tf.math.log1p(columns[2]) * seen,
            tf.math.log1p(columns[3]) * seen,
            tf.sqrt(columns[4]) * seen,
            columns[5],
            tf.math.log1p(columns[6]) * seen,
            tf.math.log1p(tf.cast(several, tf.float32)) * seen,
        ]
        described = tf.stack(values, -1)
        scores = (self.straight(described) + self.outer(self.inner(described)))[:, 0]
        dense = tf.scatter_nd(touched[:, tf.newaxis], scores, [batch * width])
        return tf.reshape(dense, [batch, width])[:, :size]

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "items": self.items,
            "number": self.number,
            "content": self.content,
            "hidden_dimension": self.hidden_dimension,
            "decay": self.decay,
            "max_history": self.max_history,
            "folds": self.folds,
        }
