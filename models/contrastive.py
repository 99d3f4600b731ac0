"""A loss that knows a user by either of two views of the history."""

from __future__ import annotations

import tensorflow as tf


def info_nce(one: tf.Tensor, other: tf.Tensor, real: tf.Tensor, temperature: float) -> tf.Tensor:
    """Mean over the 2n vectors z of n users of -log(exp(cos(z, z⁺)/t) / Σ_{z' ≠ z} exp(cos(z, z')/t)).

    z⁺ is the same user's vector of the other view; the sum runs over both views of all users of the batch.

    Args:
      one, other: float [B, d], users by their two views.
      real: bool [B], users that count; the rest are neither asked for nor among the others.
      temperature: t.

    Returns:
      float32 scalar; 0 without users.

    Reference: Chen et al., A Simple Framework for Contrastive Learning of Visual Representations (2020); on user
    vectors, Xie et al., Contrastive Learning for Sequential Recommendation (2022).
    """
    vectors = tf.math.l2_normalize(tf.cast(tf.concat([one, other], 0), tf.float32), -1)
    cosines = tf.matmul(vectors, vectors, transpose_b=True) / temperature
    both = tf.concat([real, real], 0)
    number = tf.shape(one)[0]
    themselves = tf.eye(2 * number, dtype=tf.bool)
    counted = tf.logical_and(both[tf.newaxis, :], tf.logical_not(themselves))
    log_probability = tf.nn.log_softmax(tf.where(counted, cosines, -1e9))
    partners = tf.concat([tf.range(number, 2 * number), tf.range(number)], 0)
    picked = tf.gather(log_probability, partners, batch_dims=1)
    weights = tf.cast(both, tf.float32)
    return tf.math.divide_no_nan(-tf.reduce_sum(picked * weights), tf.reduce_sum(weights))
