"""A dense layer that stays as it is and learns a change of low rank."""

from __future__ import annotations

from typing import Any

import tensorflow as tf


class LoraDense(tf.keras.layers.Wrapper):
    """y = x·W + b + (α/r)·x·A·B, with W and b frozen, A normal and B zero at the start.

    Args:
      layer: the dense layer with W and b; it is frozen.
      rank: r, columns of A and rows of B.
      alpha: α.

    Call arguments:
      inputs: float [..., n].

    Returns:
      float [..., units]; what `layer` returns as long as B is zero.

    Raises:
      ValueError: when built, for a `rank` below 1 or above the smaller side of W.

    Example:
      >>> layer = LoraDense(tf.keras.layers.Dense(3), rank=2)
      >>> layer(tf.ones([5, 4])).shape, len(layer.trainable_weights)
      (TensorShape([5, 3]), 2)

    Reference: Hu et al., LoRA: Low-Rank Adaptation of Large Language Models (2022).
    """

    def __init__(self, layer: tf.keras.layers.Dense, rank: int = 8, alpha: float = 16.0, **kwargs: Any) -> None:
        super().__init__(layer, **{"name": f"{layer.name}_lora", **kwargs})
        self.rank = rank
        self.alpha = alpha
        layer.trainable = False

    def build(self, input_shape: Any) -> None:
        width, units = int(tf.TensorShape(input_shape)[-1]), self.layer.units
        if not 0 < self.rank <= min(width, units):
            raise ValueError(
                f"rank must lie between 1 and {min(width, units)}, the smaller side of the layer, not {self.rank}."
            )
        normal = tf.keras.initializers.RandomNormal(stddev=width**-0.5)
        self.down = self.add_weight(name="lora_a", shape=[width, self.rank], initializer=normal)
        self.up = self.add_weight(name="lora_b", shape=[self.rank, units], initializer="zeros")
        super().build(input_shape)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        inputs = tf.cast(inputs, self.compute_dtype)
        change = tf.matmul(tf.matmul(inputs, self.down), self.up)
        return self.layer(inputs) + self.alpha / self.rank * change

    def merged(self) -> tf.keras.layers.Dense:
        """The dense layer with (α/r)·A·B added to its W.

        B becomes zero, so that a graph that was traced with this layer goes on giving the same numbers.
        """
        self.layer.kernel.assign_add(self.alpha / self.rank * tf.matmul(self.down, self.up))
        self.up.assign(tf.zeros_like(self.up))
        return self.layer

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "rank": self.rank, "alpha": self.alpha}
