"""A dense layer that stays as it is, with a small network behind it that learns."""

from __future__ import annotations

from typing import Any

import tensorflow as tf


class AdapterDense(tf.keras.layers.Wrapper):
    """y = h + gelu(h·D + c)·U + e with h = x·W + b; W and b are frozen, U and e zero at the start.

    Args:
      layer: the dense layer with W and b; it is frozen.
      size: columns of D and rows of U, the bottleneck.

    Call arguments:
      inputs: float [..., n].

    Returns:
      float [..., units]; what `layer` returns as long as U and e are zero.

    Raises:
      ValueError: for a `size` below 1.

    Example:
      >>> layer = AdapterDense(tf.keras.layers.Dense(3), size=2)
      >>> layer(tf.ones([5, 4])).shape, len(layer.trainable_weights)
      (TensorShape([5, 3]), 4)

    Reference: Houlsby et al., Parameter-Efficient Transfer Learning for NLP (2019).
    """

    def __init__(self, layer: tf.keras.layers.Dense, size: int = 32, **kwargs: Any) -> None:
        super().__init__(layer, **{"name": f"{layer.name}_adapter", **kwargs})
        if size < 1:
            raise ValueError(f"size must be at least 1, not {size}.")
        self.size = size
        layer.trainable = False

    def build(self, input_shape: Any) -> None:
        policy, units = self.dtype_policy, self.layer.units
        self.down = tf.keras.layers.Dense(self.size, activation="gelu", dtype=policy, name="adapter_down")
        self.up = tf.keras.layers.Dense(units, kernel_initializer="zeros", dtype=policy, name="adapter_up")
        self.down.build([None, units])
        self.up.build([None, self.size])
        super().build(input_shape)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        outputs = self.layer(inputs)
        return outputs + self.up(self.down(outputs))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "size": self.size}
