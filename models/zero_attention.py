"""What of a history matters for a query, and whether any of it does."""

from __future__ import annotations

from typing import Any

import tensorflow as tf


class ZeroAttention(tf.keras.layers.Layer):
    """u = Σ_e α_e·V·h_e for each head, side by side, with α = softmax over the events e and a zero vector.

    The logit of an event is (W_q·q + b)·(W_k·h_e)/√d + p_age, of age the number of events after it, and that of the
    zero vector 0: where nothing in the history bears on the query, u is near zero. Without a query the ages and b
    decide; an empty history is the zero vector.

    Args:
      dimension: of h, q and u.
      heads: H, which share the dimension out evenly.
      max_history: L, most events.

    Call arguments:
      query: float [B, d].
      events: float [B, l, d], right-aligned, l <= L.
      mask: bool [B, l].

    Returns:
      float [B, d].

    Raises:
      ValueError: for a dimension that the heads cannot share out.

    Example:
      >>> attention = ZeroAttention(dimension=4, heads=2, max_history=3)
      >>> events, mask = tf.ones([1, 2, 4]), tf.constant([[False, True]])
      >>> attention(tf.zeros([1, 4]), events, mask).shape
      TensorShape([1, 4])

    Reference: Ai et al., A Zero Attention Model for Personalized Product Search (2019).
    """

    def __init__(self, dimension: int, heads: int, max_history: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if heads < 1 or dimension % heads:
            raise ValueError(f"heads must share {dimension} out evenly, which {heads} cannot.")
        self.dimension = dimension
        self.heads = heads
        self.max_history = max_history
        dense = tf.keras.layers.Dense
        self.query_projection = dense(dimension, dtype=self.dtype_policy, name="query_projection")
        self.key_projection = dense(dimension, use_bias=False, dtype=self.dtype_policy, name="key_projection")
        self.value_projection = dense(dimension, use_bias=False, dtype=self.dtype_policy, name="value_projection")
        self.build([])

    def build(self, input_shape: Any) -> None:
        if self.built:
            return
        for projection in (self.query_projection, self.key_projection, self.value_projection):
            projection.build([None, self.dimension])
        self.ages = self.add_weight(name="ages", shape=[self.heads, self.max_history], initializer="zeros")
        super().build(input_shape)

    def call(self, query: tf.Tensor, events: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
        batch, length = tf.shape(events)[0], tf.shape(events)[1]
        width = self.dimension // self.heads

        def by_head(values: tf.Tensor) -> tf.Tensor:
            return tf.reshape(values, tf.stack([batch, -1, self.heads, width]))

        asked = by_head(self.query_projection(query)[:, tf.newaxis])[:, 0]
        logits = tf.einsum("bhw,blhw->bhl", asked, by_head(self.key_projection(events))) / width**0.5
        # The last column is that of the newest event.
        logits += tf.cast(tf.reverse(self.ages, [1])[:, self.max_history - length :], logits.dtype)
        logits = tf.where(mask[:, tf.newaxis], logits, logits.dtype.min / 2)
        shares = tf.nn.softmax(tf.pad(logits, [[0, 0], [0, 0], [0, 1]]), -1)[:, :, :-1]
        shares = tf.where(mask[:, tf.newaxis], shares, tf.zeros_like(shares))
        found = tf.einsum("bhl,blhw->bhw", shares, by_head(self.value_projection(events)))
        return tf.reshape(found, tf.stack([batch, self.dimension]))

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "dimension": self.dimension,
            "heads": self.heads,
            "max_history": self.max_history,
        }
