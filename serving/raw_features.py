"""From values of a request, or of a table of items, to raw features as Transform's graph takes them."""

from __future__ import annotations

from typing import Any

import tensorflow as tf


def as_specified(value: tf.Tensor, spec: Any) -> tf.Tensor | tf.SparseTensor:
    """One value a row, [B], as its parsing spec wants it."""
    column = value[:, tf.newaxis]
    if isinstance(spec, tf.io.FixedLenFeature):
        return column
    if value.dtype == tf.string:  # "" is how a request says that it does not know
        return tf.ragged.boolean_mask(column, tf.not_equal(column, "")).to_sparse()
    return everything(column)


def everything(values: tf.Tensor) -> tf.SparseTensor:
    """Every entry of a rectangle as a SparseTensor, zeros and "" too."""
    shape = tf.shape(values, tf.int64)
    indices = tf.where(tf.ones_like(values, tf.bool))
    return tf.SparseTensor(indices, tf.reshape(values, [-1]), shape)
