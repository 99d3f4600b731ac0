"""One vector of several states, by learned attention."""

from __future__ import annotations

from typing import Any

import tensorflow as tf


class AttentionPooling(tf.keras.layers.Layer):
    """x = Σ α_i·h_i with α = softmax(v·tanh(W·h_i + b)) over the places that count; zero where none does.

    Args:
      units: rows of W. Defaults to 64.

    Call arguments:
      states: float [B, L, h].
      mask: bool [B, L], places that count.

    Returns:
      (x float [B, h], α float32 [B, L], 0 at places that do not count).

    Example:
      >>> pooling = AttentionPooling(units=4)
      >>> vector, weights = pooling(tf.ones([1, 3, 2]), tf.constant([[True, True, False]]))
      >>> weights.numpy().tolist()
      [[0.5, 0.5, 0.0]]

    Reference: Yang et al., Hierarchical Attention Networks for Document Classification (2016).
    """

    def __init__(self, units: int = 64, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.units = units
        self.hidden = tf.keras.layers.Dense(units, "tanh", dtype=self.dtype_policy, name="hidden")
        self.query = tf.keras.layers.Dense(1, use_bias=False, dtype=self.dtype_policy, name="query")

    def build(self, input_shape: Any) -> None:
        if self.built:
            return
        self.hidden.build(input_shape)
        self.query.build([*input_shape[:-1], self.units])
        super().build(input_shape)

    def call(self, states: tf.Tensor, mask: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        scores = tf.cast(self.query(self.hidden(states))[:, :, 0], tf.float32)
        weights = tf.nn.softmax(tf.where(mask, scores, -1e9)) * tf.cast(mask, tf.float32)
        return tf.einsum("bl,blh->bh", tf.cast(weights, states.dtype), states), weights

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "units": self.units}
