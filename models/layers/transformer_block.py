"""One layer of a Transformer encoder."""

from __future__ import annotations

from typing import Any

import tensorflow as tf


class TransformerBlock(tf.keras.layers.Layer):
    """y = LN(x + MHA(x)); z = LN(y + FFN(y)), post-norm.

    Args:
      dimension: width of states.
      heads: attention heads; must divide `dimension`.
      intermediate_dimension: width of the feed-forward part (gelu).
      dropout: of attention weights and of both branches.
      causal: whether no position attends to later ones.

    Call arguments:
      states: float [B, L, d].
      mask: bool [B, L], true for real positions; others are attended by none. A row without any yields finite numbers.

    Returns:
      float [B, L, d].

    Raises:
      ValueError: if `heads` does not divide `dimension`.

    Example:
      >>> TransformerBlock(8, 2, 16)(tf.ones([1, 3, 8]), tf.constant([[True, True, False]])).shape
      TensorShape([1, 3, 8])

    Reference: Vaswani et al., Attention Is All You Need (2017).
    """

    def __init__(
        self,
        dimension: int,
        heads: int,
        intermediate_dimension: int,
        dropout: float = 0.0,
        causal: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if dimension % heads:
            raise ValueError(f"heads must divide dimension, but {heads} does not divide {dimension}.")
        self.dimension = dimension
        self.heads = heads
        self.intermediate_dimension = intermediate_dimension
        self.dropout = dropout
        self.causal = causal
        self.attention = tf.keras.layers.MultiHeadAttention(
            heads, dimension // heads, dropout=dropout, dtype=self.dtype_policy, name="attention"
        )
        self.attention_norm = tf.keras.layers.LayerNormalization(
            epsilon=1e-6, dtype=self.dtype_policy, name="attention_norm"
        )
        self.inner = tf.keras.layers.Dense(
            intermediate_dimension, activation="gelu", dtype=self.dtype_policy, name="inner"
        )
        self.outer = tf.keras.layers.Dense(dimension, dtype=self.dtype_policy, name="outer")
        self.outer_norm = tf.keras.layers.LayerNormalization(epsilon=1e-6, dtype=self.dtype_policy, name="outer_norm")
        self.branch_dropout = tf.keras.layers.Dropout(dropout, dtype=self.dtype_policy, name="branch_dropout")

    def build(self, input_shape: Any) -> None:
        shape = tf.TensorShape([None, None, self.dimension])
        with tf.init_scope():  # a call is the only public way to make the attention's weights
            probe = tf.zeros([1, 1, self.dimension])
            self.attention(probe, probe)
        self.attention_norm.build(shape)
        self.inner.build(shape)
        self.outer.build([None, None, self.intermediate_dimension])
        self.outer_norm.build(shape)
        super().build(input_shape)

    def call(self, states: tf.Tensor, mask: tf.Tensor, training: bool = False) -> tf.Tensor:
        attended = self.attention(
            states, states, attention_mask=mask[:, tf.newaxis, :], use_causal_mask=self.causal, training=training
        )
        states = self.attention_norm(states + self.branch_dropout(attended, training=training))
        changed = self.outer(self.inner(states))
        return self.outer_norm(states + self.branch_dropout(changed, training=training))

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "dimension": self.dimension,
            "heads": self.heads,
            "causal": self.causal,
            "intermediate_dimension": self.intermediate_dimension,
            "dropout": self.dropout,
        }
