"""What all items of the history together say of each item: a linear regression between items, in closed form."""

from __future__ import annotations

import types
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from models.item_regression import check_size, item_weights
from models.shopper import Shopper


class LinearPath(tf.keras.layers.Layer):
    """f_h(j) = s(Σ_i 2^(-age(i)/h)·B(i, j)) over the distinct items i of the history, for each half-life h and without.

    B are the weights of `item_weights` (EASE) and s(x) = sign(x)·√|x|, as most sums lie near 0; age(i) is that of the
    newest event of i. What speaks for j through another item that the user had too counts once, which sums over pairs
    of items cannot tell.

    In training a decision is described with weights of the users outside of its own user's fold (cross-fitting): its
    answer stands in the others. What is said of an item whose id is hidden (`kept`) is hidden too. Asked of a user who
    was counted, the weights know that the items of the history go together, so what they say of an item that is in it
    is somewhat larger than in training, the less so the larger λ is.

    Args:
      items: V; V² numbers are held, in training `folds` + 1 times.
      regularisation: λ, above 0.
      half_lives: h, in days, above 0.
      folds: of users.

    Call arguments:
      positions: int [B, H], row of the item in the catalogue; -1 for padding and unknown items.
      gaps: float [B, H], ages of the events in days.
      users: int [B], a hash of each user; needed in training.
      kept: float [V] or [R], 1 for items whose id counts.
      rows: int [R], the items that are wanted; all when None.

    Returns:
      float32 [B, V or R, width], width being 1 and the number of half-lives.

    Raises:
      ValueError: for a λ or a half-life that is not above 0, fewer than two folds, a catalogue that is too large, or
        training without `users` or before `count`.

    Example:
      >>> path = LinearPath(items=3, regularisation=1.0, half_lives=())
      >>> path.count([Shopper(np.array([0, 2]), np.array([], int), key) for key in (1, 2)])
      >>> print(path(tf.constant([[0, -1]]), tf.zeros([1, 2])).numpy()[0, :, 0].round(2))
      [0.   0.   0.82]

    Reference: Steck, Embarrassingly Shallow Autoencoders for Sparse Data (2019); cross-fitting as in Chernozhukov et
    al., Double/Debiased Machine Learning (2018).
    """

    def __init__(
        self,
        items: int,
        regularisation: float,
        half_lives: Sequence[float] = (30.0, 90.0),
        folds: int = 5,
        **kwargs: Any,
    ) -> None:
        super().__init__(**{"dtype": "float32", **kwargs})
        if folds < 2:
            raise ValueError(f"folds must be at least 2, not {folds}.")
        if regularisation <= 0 or any(days <= 0 for days in half_lives):
            raise ValueError(
                f"regularisation is {regularisation} and half_lives are {tuple(half_lives)}; expected numbers above 0."
            )
        check_size(items)
        self.items = items
        self.regularisation = regularisation
        self.half_lives = tuple(float(days) for days in half_lives)
        self.width = 1 + len(self.half_lives)
        self.folds = folds
        # A plain object: what training alone reads is no part of a checkpoint or a SavedModel.
        self._training = types.SimpleNamespace(matrices=None)
        self.build([])

    def build(self, input_shape: Any) -> None:
        if self.built:
            return
        shape = [self.items, self.items]
        self.matrix = self.add_weight(name="matrix", shape=shape, initializer="zeros", trainable=False)
        super().build(input_shape)

    def count(self, shoppers: Sequence[Shopper]) -> None:
        """Finds the weights anew.

        Args:
          shoppers: every user once.
        """

        def weights(left_out: int | None) -> np.ndarray:
            others = (one.sequence for one in shoppers if left_out is None or one.key % self.folds != left_out)
            return item_weights(others, self.items, self.regularisation)

        self.matrix.assign(weights(None))
        if self._training.matrices is None:
            shape = [self.folds * self.items, self.items]
            self._training.matrices = tf.Variable(tf.zeros(shape), trainable=False)
        for fold in range(self.folds):
            # In place: each copy of the whole would be `folds`·V² numbers more.
            rows = tf.range(fold * self.items, (fold + 1) * self.items)
            self._training.matrices.scatter_update(tf.IndexedSlices(weights(fold), rows))

    def call(
        self,
        positions: tf.Tensor,
        gaps: tf.Tensor,
        users: tf.Tensor | None = None,
        kept: tf.Tensor | None = None,
        rows: tf.Tensor | None = None,
        training: bool = False,
    ) -> tf.Tensor:
        positions = tf.cast(positions, tf.int64)
        batch = tf.shape(positions, tf.int64)[0]
        matrix, fold = tf.convert_to_tensor(self.matrix), tf.zeros([batch], tf.int64)
        if training:
            if users is None or self._training.matrices is None:
                raise ValueError("the user's own answers cannot be left out; expected `users`, and `count` before.")
            matrix = tf.convert_to_tensor(self._training.matrices)
            fold = tf.cast(tf.math.floormod(users, self.folds), tf.int64)
        events = tf.where(positions >= 0)
        keys, of = tf.unique(events[:, 0] * self.items + tf.gather_nd(positions, events))
        age = tf.gather_nd(tf.cast(gaps, tf.float32), events)
        age = tf.math.unsorted_segment_min(age, of, tf.size(keys))
        user, item = keys // self.items, keys % self.items
        counted = tf.stack([tf.ones_like(age), *(tf.pow(2.0, -age / days) for days in self.half_lives)])
        # One row for each user and half-life: [width · B, V (times folds)].
        row = tf.range(self.width, dtype=tf.int64)[:, tf.newaxis] * batch + user
        column = tf.broadcast_to(item + tf.gather(fold, user) * self.items, tf.shape(row))
        indices = tf.stack([tf.reshape(row, [-1]), tf.reshape(column, [-1])], 1)
        shape = tf.stack([self.width * batch, tf.shape(matrix, tf.int64)[0]])
        had = tf.SparseTensor(indices, tf.reshape(counted, [-1]), shape)
        sums = tf.sparse.sparse_dense_matmul(had, matrix)
        if rows is not None:
            sums = tf.gather(sums, rows, axis=1)
        if kept is not None:
            sums *= tf.cast(kept, tf.float32)
        scaled = tf.sign(sums) * tf.sqrt(tf.abs(sums))
        return tf.transpose(tf.reshape(scaled, [self.width, batch, -1]), [1, 2, 0])

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "items": self.items,
            "regularisation": self.regularisation,
            "half_lives": self.half_lives,
            "folds": self.folds,
        }
