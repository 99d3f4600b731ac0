"""The token ids of two texts that are read together."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf


def pair_tokens(
    first: Sequence[tf.Tensor], second: tf.Tensor, cls: int, sep: int, pad: int = 0
) -> tuple[tf.Tensor, tf.Tensor]:
    """[CLS] first … [SEP] second [SEP] of texts that are framed one by one, as BERT reads pairs.

    Of several first texts each one that is there ends in a [SEP] of its own. Where none is there, or no second one, a
    [SEP] alone stands in its place, as for an empty text.

    Args:
      first: int [n, L_i] each: [CLS] tokens [SEP], padded, or all padding where a text is empty.
      second: int [n, L], likewise.
      cls, sep, pad: ids of the special tokens.

    Returns:
      (ids int32 [n, S], token types int32 [n, S]: 1 for the second text and its [SEP], else 0), S being the longest
      pair that could be; padding comes last.

    Example:
      >>> ids, types = pair_tokens([tf.constant([[2, 7, 3, 0]])], tf.constant([[2, 9, 3]]), cls=2, sep=3)
      >>> ids.numpy().tolist(), types.numpy().tolist()
      ([[2, 7, 3, 9, 3, 0]], [[0, 0, 0, 1, 1, 0]])
    """
    bodies = [tf.cast(text[:, 1:], tf.int32) for text in first]
    user = tf.concat([*bodies, tf.zeros_like(bodies[0][:, :0])], 1)
    item = tf.cast(second[:, 1:], tf.int32)

    def or_sep(body: tf.Tensor) -> tf.Tensor:
        empty = tf.reduce_all(body == pad, 1, keepdims=True)
        place = tf.range(tf.shape(body)[1])[tf.newaxis, :] == 0
        return tf.where(tf.logical_and(empty, place), sep, body)

    user, item = or_sep(user), or_sep(item)
    ids = tf.concat([tf.fill([tf.shape(user)[0], 1], cls), user, item], 1)
    types = tf.concat([tf.zeros_like(user[:, :1]), tf.zeros_like(user), tf.ones_like(item)], 1)
    order = tf.argsort(tf.cast(ids == pad, tf.int32), stable=True)
    ids = tf.gather(ids, order, batch_dims=1)
    return ids, tf.where(ids == pad, 0, tf.gather(types, order, batch_dims=1))
