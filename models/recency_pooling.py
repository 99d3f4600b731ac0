"""From a history to a few vectors, newer events weighing more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf


class RecencyPooling(tf.keras.layers.Layer):
    """h_k = Σ_j a_kj·x_j with a_k = softmax_j(q_k·x_j + t_k(type_j) - gap_j·ln 2/τ_k) over the real events j.

    Each of K heads weighs events by what they are (q_k), by their type (t_k) and by age, with a half-life τ_k of its
    own; all three are learned. Rows without an event are zero.

    Args:
      dimension: d, width of event vectors.
      event_types: number of event types.
      half_lives: initial τ_k in days, one a head.

    Call arguments:
      events: float [B, H, d].
      types: int [B, H].
      gaps: float [B, H], days from event to request.
      mask: bool [B, H], which events count.

    Returns:
      float [B, K·d].

    Raises:
      ValueError: if a half-life is not positive, or there is none.

    Example:
      >>> pooling = RecencyPooling(dimension=2, event_types=3, half_lives=(7.0,))
      >>> events = tf.constant([[[1.0, 0.0], [0.0, 1.0]]])
      >>> pooling(events, tf.constant([[2, 2]]), tf.constant([[7.0, 0.0]]), tf.constant([[True, True]])).shape
      TensorShape([1, 2])

    Reference: attention pooling as in Yang et al., Hierarchical Attention Networks (2016); the decay by age as a bias
    of the logits after Press et al., Train Short, Test Long (ALiBi, 2022).
    """

    def __init__(self, dimension: int, event_types: int, half_lives: Sequence[float], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not half_lives or min(half_lives) <= 0:
            raise ValueError(f"half_lives must be positive numbers of days, at least one, not {list(half_lives)}.")
        self.dimension = dimension
        self.event_types = event_types
        self.half_lives = tuple(float(days) for days in half_lives)
        self.build([])

    def build(self, input_shape: Any) -> None:
        if self.built:
            return
        heads = len(self.half_lives)
        logs = tf.math.log(tf.constant(self.half_lives))
        self.queries = self.add_weight(name="queries", shape=[heads, self.dimension], initializer="zeros")
        self.type_weights = self.add_weight(name="type_weights", shape=[self.event_types, heads], initializer="zeros")
        self.log_decay = self.add_weight(
            name="log_decay", shape=[heads], initializer=tf.constant_initializer(logs.numpy())
        )
        super().build(input_shape)

    def call(self, events: tf.Tensor, types: tf.Tensor, gaps: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
        events = tf.cast(events, self.compute_dtype)
        # Ages and the softmax in float32: half precision has neither the range nor the steps.
        decay = tf.math.log(2.0) / tf.exp(tf.cast(self.log_decay, tf.float32))
        logits = tf.cast(tf.einsum("bhd,kd->bhk", events, tf.cast(self.queries, events.dtype)), tf.float32)
        logits += tf.cast(tf.gather(self.type_weights, types), tf.float32)
        logits -= tf.cast(gaps, tf.float32)[:, :, tf.newaxis] * decay
        real = tf.cast(mask, tf.float32)[:, :, tf.newaxis]
        weights = tf.nn.softmax(tf.where(real > 0, logits, -1e9), 1) * real
        pooled = tf.einsum("bhk,bhd->bkd", tf.cast(weights, events.dtype), events)
        return tf.reshape(pooled, [-1, len(self.half_lives) * self.dimension])

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "dimension": self.dimension,
            "event_types": self.event_types,
            "half_lives": self.half_lives,
        }
