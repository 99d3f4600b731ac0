"""The softmax over a catalogue, estimated from a batch's other positives and from hard negatives."""

from __future__ import annotations

import tensorflow as tf

_NEVER = -1e9


def holds(words_of: tf.Tensor, words: tf.Tensor, none: int) -> tf.Tensor:
    """Bool [B, R]: whether an item holds a word.

    Args:
      words_of: int [R, T], words of items.
      words: int [B]; `none` is held by no item.
      none: stands for no word.
    """
    same = tf.reduce_any(tf.equal(words_of[tf.newaxis], words[:, tf.newaxis, tf.newaxis]), -1)
    return tf.logical_and(same, (words < none)[:, tf.newaxis])


def negative_weights(
    rows: tf.Tensor,
    positives: tf.Tensor,
    share: tf.Tensor,
    hard: tf.Tensor,
    holders: tf.Tensor,
    held: tf.Tensor,
) -> tf.Tensor:
    """log w of each item, such that Σ_j w_j·f(j) over them estimates Σ f over the whole catalogue, for each row.

    The catalogue has two parts for a query. Of the m items that hold its rarest word, n are drawn evenly with
    replacement, and one that was drawn c times weighs c·m/n. All other items are in the sample if they are a positive
    of the batch, which has the chance π = 1 - (1 - share)^P for P positives, and weigh 1/π (the logQ correction).

    Args:
      rows: int [R], the distinct items of the sample.
      positives: int [P], the batch's positives.
      share: float [R], how often each item is chosen, of all.
      hard: int [B, n], the draws of each row.
      holders: float [B], m; 0 without a query.
      held: bool [B, R], whether an item holds the row's rarest word.

    Returns:
      float32 [B, R], -1e9 for what weighs nothing.

    Reference: Yi et al. (2019) for logQ; mixed with hard ones after Yang et al., Mixed Negative Sampling (2020).
    """
    batch, drawn = tf.unstack(tf.shape(hard))
    number = tf.cast(tf.size(positives), tf.float32)
    chance = -tf.math.expm1(number * tf.math.log1p(-tf.clip_by_value(share, 1e-9, 0.999)))
    chosen = tf.reduce_any(tf.equal(rows[:, tf.newaxis], positives[tf.newaxis]), 1)
    others = tf.where(chosen, -tf.math.log(chance), _NEVER)
    owners = tf.repeat(tf.range(batch), drawn)
    where = tf.stack([owners, _places(rows, tf.reshape(hard, [-1]))], 1)
    counts = tf.scatter_nd(where, tf.ones([batch * drawn]), tf.stack([batch, tf.size(rows)]))
    each = tf.math.divide_no_nan(holders, tf.cast(drawn, tf.float32))[:, tf.newaxis]
    weight = counts * each
    from_holders = tf.where(weight > 0, tf.math.log(tf.maximum(weight, 1e-9)), _NEVER)
    sampled = tf.logical_and(held, tf.logical_and(drawn > 0, holders[:, tf.newaxis] > 0))
    return tf.where(sampled, from_holders, others[tf.newaxis])


def sampled_cross_entropy(
    scores: tf.Tensor, rows: tf.Tensor, log_weights: tf.Tensor, positives: tf.Tensor
) -> tf.Tensor:
    """-log of each positive's share of exp(score) beside the weighed negatives, the mean over positives.

    Args:
      scores: float [B, R].
      rows: int [R], the items that they are of; every positive among them.
      log_weights: float [B, R], as `negative_weights` returns them.
      positives: int [B, N], -1 for none. A row's other positives are no negatives of it.

    Returns:
      float32 scalar; 0 without positives.
    """
    there = tf.where(positives >= 0)
    where = tf.stack([tf.cast(there[:, 0], tf.int32), _places(rows, tf.gather_nd(positives, there))], 1)
    own = tf.scatter_nd(where, tf.ones_like(where[:, 0]), tf.shape(scores)) > 0
    others = tf.reduce_logsumexp(tf.where(own, _NEVER, scores + log_weights), 1, keepdims=True)
    losses = tf.nn.softplus(others - scores)
    counted = tf.cast(own, tf.float32)
    return tf.math.divide_no_nan(tf.reduce_sum(tf.where(own, losses, 0.0)), tf.reduce_sum(counted))


def _places(rows: tf.Tensor, items: tf.Tensor) -> tf.Tensor:
    """Where in `rows`, which are distinct, each item stands; every one does."""
    order = tf.argsort(rows)
    return tf.gather(order, tf.searchsorted(tf.gather(rows, order), items))
