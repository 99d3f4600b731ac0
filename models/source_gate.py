"""From what several sources say of a user to one vector."""

from __future__ import annotations

from typing import Any

import tensorflow as tf


class SourceGate(tf.keras.layers.Layer):
    """u = c + Σ_s m_s·g_s·v_s with g_s = σ(b_s + w_s·[v_s, m]), v_s the vector of source s and m_s whether it is there.

    How much a source counts depends on what it says and on which others are there, and sources add up: evidence that
    agrees is stronger than each alone, which a softmax over the sources would forbid. c is the vector of somebody of
    whom nothing is known.

    Args:
      dimension: d.
      sources: S.

    Call arguments:
      vectors: float [B, S, d].
      present: bool [B, S].

    Returns:
      (u [B, d], the gates m·g [B, S]).

    Raises:
      ValueError: if there is no source.

    Example:
      >>> user, gates = SourceGate(dimension=4, sources=2)(tf.ones([1, 2, 4]), tf.constant([[True, False]]))
      >>> (gates.numpy() > 0).tolist()
      [[True, False]]

    Reference: the gated multimodal unit of Arevalo et al., Gated Multimodal Units for Information Fusion (2017).
    """

    def __init__(self, dimension: int, sources: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if sources < 1:
            raise ValueError(f"sources must be at least 1, not {sources}.")
        self.dimension = dimension
        self.sources = sources
        self.build([])

    def build(self, input_shape: Any) -> None:
        if self.built:
            return
        width = self.dimension + self.sources
        self.kernel = self.add_weight(name="kernel", shape=[self.sources, width], initializer="zeros")
        self.bias = self.add_weight(name="bias", shape=[self.sources], initializer="ones")
        small = tf.keras.initializers.RandomNormal(stddev=0.05)
        self.nobody = self.add_weight(name="nobody", shape=[self.dimension], initializer=small)
        super().build(input_shape)

    def call(self, vectors: tf.Tensor, present: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        vectors = tf.cast(vectors, self.compute_dtype)
        there = tf.cast(present, vectors.dtype)
        kernel = tf.cast(self.kernel, vectors.dtype)
        said = tf.einsum("bsd,sd->bs", vectors, kernel[:, : self.dimension])
        beside = tf.matmul(there, kernel[:, self.dimension :], transpose_b=True)
        gates = tf.sigmoid(said + beside + tf.cast(self.bias, vectors.dtype)) * there
        return tf.einsum("bs,bsd->bd", gates, vectors) + tf.cast(self.nobody, vectors.dtype), gates

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "dimension": self.dimension, "sources": self.sources}
