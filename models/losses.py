"""The losses of the ranker, each a mean over the decisions of a batch that have something to say."""

from __future__ import annotations

import tensorflow as tf


def catalogue_cross_entropy(logits: tf.Tensor, positives: tf.Tensor, label_smoothing: float = 0.0) -> tf.Tensor:
    """Cross-entropy of the softmax over the whole catalogue, for decisions with several positives.

    -(1/Z) Σ_b n_b^½ · mean over the n_b positives of log softmax(logits_b): a decision weighs by the root of its
    number of positives, so that large baskets count more than small ones, but not in proportion. Z is the sum of the
    weights.

    Args:
      logits: float [B, V].
      positives: int [B, N], rows of the catalogue; -1 for none.
      label_smoothing: share of the target spread evenly over the items with a logit above -1e8.

    Returns:
      float32 scalar; 0 when no decision has a positive.

    Reference: full softmax for sequential recommendation, Klenitskiy and Vasilev, Turning Dross into Gold (2023).
    """
    logits = tf.cast(logits, tf.float32)
    real = tf.cast(positives >= 0, tf.float32)
    number = tf.reduce_sum(real, 1)
    batch = tf.range(tf.shape(positives)[0], dtype=positives.dtype)[:, tf.newaxis] + tf.zeros_like(positives)
    places = tf.stack([batch, tf.maximum(positives, 0)], -1)
    shares = tf.math.divide_no_nan(real, number[:, tf.newaxis])
    target = tf.scatter_nd(places, shares, tf.shape(logits, positives.dtype))
    if label_smoothing:
        # Items that may not be recommended (-1e9) have no share in the target.
        allowed = tf.cast(logits > -1e8, tf.float32)
        spread = allowed / tf.maximum(tf.reduce_sum(allowed, 1, keepdims=True), 1)
        target = (1 - label_smoothing) * target + label_smoothing * spread
    loss = tf.nn.softmax_cross_entropy_with_logits(target, logits)
    weight = tf.sqrt(number)
    return tf.math.divide_no_nan(tf.reduce_sum(loss * weight), tf.reduce_sum(weight))


def task_loss(task: str) -> str:
    """The name of the catalogue loss of a task."""
    return f"catalogue_{task}"


def of_strength(positives: tf.Tensor, strengths: tf.Tensor, least: int) -> tf.Tensor:
    """The positives of a task: those whose strongest event is the task's or a stronger one.

    What was bought was worth a click too, so that it is a positive of both; what was clicked alone is not one of
    purchases.

    Args:
      positives: int [B, N], rows of the catalogue; -1 for none.
      strengths: int [B, N], of the strongest event behind each, from 1; 0 for none.
      least: the task's own.

    Returns:
      As `positives`, with -1 for weaker ones.
    """
    return tf.where(strengths >= tf.cast(least, strengths.dtype), positives, -1)


def listwise_cross_entropy(scores: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Softmax cross-entropy over the labelled candidates of each decision (ListNet's top-one loss).

    Args:
      scores: float [B, N].
      labels: float [B, N]: 1 positive, 0 negative, -1 padding.

    Returns:
      float32 scalar, the mean over decisions with a positive.

    Reference: Cao et al., Learning to Rank: From Pairwise Approach to Listwise Approach (2007).
    """
    scores = tf.cast(scores, tf.float32)
    log_probability = tf.nn.log_softmax(tf.where(labels >= 0, scores, scores.dtype.min / 2))
    positive = tf.cast(labels > 0, tf.float32)
    number = tf.reduce_sum(positive, 1)
    loss = -tf.math.divide_no_nan(tf.reduce_sum(log_probability * positive, 1), number)
    return tf.math.divide_no_nan(tf.reduce_sum(loss), tf.reduce_sum(tf.cast(number > 0, tf.float32)))


def binary_cross_entropy(scores: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Sigmoid cross-entropy over the labelled candidates, the mean over all that are not padding.

    Args:
      scores: float [B, N], logits.
      labels: float [B, N]: 1 positive, 0 negative, -1 padding.
    """
    real = tf.cast(labels >= 0, tf.float32)
    loss = tf.nn.sigmoid_cross_entropy_with_logits(labels=tf.maximum(labels, 0.0), logits=tf.cast(scores, tf.float32))
    return tf.math.divide_no_nan(tf.reduce_sum(loss * real), tf.reduce_sum(real))


def reconstruction(
    vectors: tf.Tensor,
    reconstructions: tf.Tensor,
    slice_mask: tf.Tensor,
    item_vectors: tf.Tensor,
    items: tf.Tensor,
    corrections: tf.Tensor | None = None,
) -> tuple[tf.Tensor, tf.Tensor]:
    """What the autoencoder loses: the slice's items and its vector.

    Args:
      vectors: X, float [B, S, d]; only the reconstruction is pulled towards it, not the other way round.
      reconstructions: R, float [B, S, d].
      slice_mask: bool [B, S].
      item_vectors: float [V, d], the softmax over the vocabulary is that of R·item_vectorsᵀ.
      items: int [B, S, L], rows of the catalogue in each slice; -1 for none.
      corrections: float [B, V], added to the softmax's logits where V is a sample of the catalogue.

    Returns:
      (cross-entropy per event, mean squared error per slice and dimension), float32 scalars.
    """
    # Most slices are empty, and a softmax over the vocabulary is dear: only filled ones have one. (Where none is filled
    # all stay, with no weight: the gradient of `tf.gather` with a batch dimension fails without rows.)
    filled = tf.where(tf.logical_or(slice_mask, tf.logical_not(tf.reduce_any(slice_mask))))
    weights = tf.cast(tf.gather_nd(slice_mask, filled), tf.float32)
    rebuilt = tf.gather_nd(tf.cast(reconstructions, tf.float32), filled)
    target = tf.stop_gradient(tf.gather_nd(tf.cast(vectors, tf.float32), filled))
    items = tf.gather_nd(items, filled)
    real = tf.cast(items >= 0, tf.float32)
    logits = tf.matmul(rebuilt, tf.cast(item_vectors, tf.float32), transpose_b=True)
    if corrections is not None:
        logits += tf.gather(corrections, filled[:, 0])
    normaliser = tf.reduce_logsumexp(logits, -1, keepdims=True)
    picked = tf.gather(logits, tf.maximum(items, 0), batch_dims=1)
    cross_entropy = tf.math.divide_no_nan(tf.reduce_sum((normaliser - picked) * real), tf.reduce_sum(real))
    squared = tf.reduce_mean(tf.square(rebuilt - target), -1)
    return cross_entropy, tf.math.divide_no_nan(tf.reduce_sum(squared * weights), tf.reduce_sum(weights))
