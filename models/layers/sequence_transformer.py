"""A Transformer over right-aligned sequences."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from models import perturbation
from models.layers.transformer_block import TransformerBlock


class SequenceTransformer(tf.keras.layers.Layer):
    """z = T(dropout(LN(x + p))), with a learned vector p for each place, counted from the end of the sequence.

    Args:
      length: L_max, places that there are.
      dimension: d, width of states.
      layers, heads: of the Transformer T.
      intermediate: width of its feed-forward part.
      dropout: of what enters, of attention and of both branches of a layer.
      causal: whether no place attends to later ones.

    Call arguments:
      embedded: float [B, L, d], right-aligned, L <= L_max.
      mask: bool [B, L], true where there is something.

    Returns:
      float [B, L, d].

    Raises:
      ValueError: if `heads` does not divide `dimension`.

    Example:
      >>> transformer = SequenceTransformer(length=4, dimension=8, layers=1, heads=2, intermediate=16)
      >>> transformer(tf.ones([1, 3, 8]), tf.constant([[False, True, True]])).shape
      TensorShape([1, 3, 8])

    Reference: Kang and McAuley, Self-Attentive Sequential Recommendation (2018).
    """

    def __init__(
        self,
        length: int,
        dimension: int,
        layers: int,
        heads: int,
        intermediate: int,
        dropout: float = 0.0,
        causal: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.length = length
        self.dimension = dimension
        self.layers_number = layers
        self.heads = heads
        self.intermediate = intermediate
        self.dropout = dropout
        self.causal = causal
        self.input_norm = tf.keras.layers.LayerNormalization(epsilon=1e-6, dtype=self.dtype_policy, name="input_norm")
        self.input_dropout = tf.keras.layers.Dropout(dropout, dtype=self.dtype_policy, name="input_dropout")
        self.blocks = [
            TransformerBlock(
                dimension, heads, intermediate, dropout, causal=causal, dtype=self.dtype_policy, name=f"block_{i}"
            )
            for i in range(layers)
        ]

    def build(self, input_shape: Any) -> None:
        shape = [None, None, self.dimension]
        small = tf.keras.initializers.RandomNormal(stddev=0.02)
        self.places = self.add_weight(name="places", shape=[self.length, self.dimension], initializer=small)
        for part in (self.input_norm, *self.blocks):
            part.build(shape)
        super().build(input_shape)

    def call(self, embedded: tf.Tensor, mask: tf.Tensor, training: bool = False) -> tf.Tensor:
        places = tf.cast(self.places, embedded.dtype)[self.length - tf.shape(embedded)[1] :]
        states = self.input_dropout(perturbation.embedded(self.input_norm(embedded + places)), training=training)
        for block in self.blocks:
            states = block(states, mask, training=training)
        return states

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "length": self.length,
            "dimension": self.dimension,
            "layers": self.layers_number,
            "heads": self.heads,
            "intermediate": self.intermediate,
            "dropout": self.dropout,
            "causal": self.causal,
        }
