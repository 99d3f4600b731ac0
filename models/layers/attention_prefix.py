"""Learned keys and values that every position of a text attends to beside the text's own."""

from __future__ import annotations

from typing import Any

import tensorflow as tf


class AttentionPrefix(tf.keras.layers.Layer):
    """n learned keys and values for each head of each layer of a Transformer.

    Args:
      layers: of the Transformer.
      heads: of each layer.
      length: n.
      head_size: width of a head.

    Call arguments:
      states: any tensor [B, ...], for B.

    Returns:
      for each layer a pair (keys, values), float [B, heads, n, head_size].

    Raises:
      ValueError: for a `length` below 1.

    Example:
      >>> pairs = AttentionPrefix(layers=2, heads=4, length=3, head_size=5)(tf.ones([7, 1]))
      >>> len(pairs), pairs[0][1].shape
      (2, TensorShape([7, 4, 3, 5]))

    Reference: Li and Liang, Prefix-Tuning (2021); Liu et al., P-Tuning v2 (2022).
    """

    def __init__(self, layers: int, heads: int, length: int, head_size: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if length < 1:
            raise ValueError(f"length must be at least 1, not {length}.")
        self.layers = layers
        self.heads = heads
        self.length = length
        self.head_size = head_size
        self.build([])

    def build(self, input_shape: Any) -> None:
        if self.built:
            return
        self.prefix = self.add_weight(
            name="prefix",
            shape=[self.layers, 2, self.heads, self.length, self.head_size],
            initializer=tf.keras.initializers.RandomNormal(stddev=0.02),
        )
        super().build(input_shape)

    def call(self, states: tf.Tensor) -> tuple[tuple[tf.Tensor, tf.Tensor], ...]:
        shape = [tf.shape(states)[0], self.heads, self.length, self.head_size]

        def spread(part: tf.Tensor) -> tf.Tensor:
            return tf.broadcast_to(tf.cast(part, self.compute_dtype), shape)

        return tuple((spread(self.prefix[i, 0]), spread(self.prefix[i, 1])) for i in range(self.layers))

    def get_config(self) -> dict[str, Any]:
        sizes = {name: getattr(self, name) for name in ("layers", "heads", "length", "head_size")}
        return {**super().get_config(), **sizes}
