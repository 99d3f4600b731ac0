"""What is bought beside what: learned similarities of the history's items to all items."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from models import perturbation


class CooccurrencePath(tf.keras.layers.Layer):
    """score(u, j) = a · e_j · Σ_k W_k · Σ_i exp(-g_i/τ_k)·e_i / √(1+n), over the n distinct items i of the history.

    The product e_j·W_k·e_i is a learned similarity of two items, in d numbers an item in place of V. g_i is the age of
    the newest event of item i, and the first τ is endless: what was ever bought, and what was bought lately, each have
    a projection of their own. In training whole items are left out of the sums. a is 1, and learned where the user
    asks for something, which the history knows nothing of.

    Args:
      items: V.
      dimension: d.
      decay_days: the other time constants τ, in days.
      dropout: share of the history's items left out in training.

    Call arguments:
      positions: int [B, H], row of the item in the catalogue, or in `rows`; -1 for padding and unknown items.
      gaps: float [B, H], age of the event in days.
      kept: float [V or R], 1 for items whose vector counts, 0 for those whose vector is taken for zero (never trained).
      asked: float [B, 1], 1 where there is a query.
      rows: int [R], the items that are wanted; all when None.

    Returns:
      float32 [B, V or R], zero for an empty history.

    Raises:
      ValueError: if a time constant is not positive.

    Example:
      >>> path = CooccurrencePath(items=3, dimension=2, decay_days=())
      >>> _ = path.vectors.assign([[2.0, 0.0], [1.0, 1.0], [0.0, 5.0]])
      >>> path(tf.constant([[0, 0, -1]]), tf.zeros([1, 3]), tf.ones([3]), tf.zeros([1, 1])).numpy().round(2)
      array([[2.83, 1.41, 0.  ]], dtype=float32)

    Reference: Kabbur et al., FISM: Factored Item Similarity Models (2013), with the dropout of Liang et al., Multi-DAE
    (2018), and the time decay of Hu et al., TIFU-KNN (2020).
    """

    def __init__(
        self, items: int, dimension: int, decay_days: Sequence[float], dropout: float = 0.0, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if any(days <= 0 for days in decay_days):
            raise ValueError(f"decay_days must be positive, not {tuple(decay_days)}.")
        self.items = items
        self.dimension = dimension
        self.decay_days = tuple(float(days) for days in decay_days)
        self.dropout = dropout
        self.build([])

    def build(self, input_shape: Any) -> None:
        if self.built:
            return
        small = tf.keras.initializers.RandomNormal(stddev=0.1)
        self.vectors = self.add_weight(name="vectors", shape=[self.items, self.dimension], initializer=small)
        # Starts as a plain sum, in which what is recent counts somewhat more.
        eye = np.eye(self.dimension, dtype=np.float32)
        self.kernel = self.add_weight(
            name="kernel",
            shape=[(1 + len(self.decay_days)) * self.dimension, self.dimension],
            initializer=tf.constant_initializer(np.concatenate([eye] + [0.3 * eye] * len(self.decay_days))),
        )
        self.asked_scale = self.add_weight(name="asked_scale", shape=[], initializer="ones")
        super().build(input_shape)

    def call(
        self,
        positions: tf.Tensor,
        gaps: tf.Tensor,
        kept: tf.Tensor,
        asked: tf.Tensor,
        rows: tf.Tensor | None = None,
        training: bool = False,
    ) -> tf.Tensor:
        vectors = tf.convert_to_tensor(self.vectors) if rows is None else tf.gather(self.vectors, rows)
        vectors = tf.cast(vectors, tf.float32) * tf.cast(kept, tf.float32)[:, tf.newaxis]
        distinct, ages = _newest_of_each(tf.cast(positions, tf.int32), tf.cast(gaps, tf.float32))
        known = tf.cast(distinct >= 0, tf.float32)
        counted = known
        if training and self.dropout:
            shown = perturbation.uniform(tf.shape(known)) >= self.dropout
            counted *= tf.cast(shown, tf.float32) / (1 - self.dropout)
        weights = tf.stack([counted, *(counted * tf.exp(-ages / days) for days in self.decay_days)], 1)
        sums = tf.matmul(weights, tf.gather(vectors, tf.maximum(distinct, 0)))
        pooled = tf.reshape(sums, [-1, (1 + len(self.decay_days)) * self.dimension])
        pooled /= tf.sqrt(1 + tf.reduce_sum(known, -1, keepdims=True))
        scores = tf.matmul(tf.matmul(pooled, tf.cast(self.kernel, tf.float32)), vectors, transpose_b=True)
        return scores * (1 + (tf.cast(self.asked_scale, tf.float32) - 1) * asked)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "items": self.items,
            "dimension": self.dimension,
            "decay_days": self.decay_days,
            "dropout": self.dropout,
        }


def _newest_of_each(positions: tf.Tensor, ages: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The events in the order of positions, with -1 for all but the newest one of each item; and their ages."""
    for key in (0, 1):  # the second sort keeps the first one's order among equals
        order = tf.argsort((ages, positions)[key], stable=True)
        positions, ages = (tf.gather(part, order, batch_dims=1) for part in (positions, ages))
    earlier = tf.pad(positions[:, :-1], [[0, 0], [1, 0]], constant_values=-1)
    return tf.where(positions != earlier, positions, -1), ages
