"""Other views of a user's history: cropped, masked, reordered."""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf

from models import features

Tensors = Mapping[str, tf.Tensor]

#: What an event is made of; the parts move together.
EVENT = (
    features.HISTORY_ITEMS_XF,
    features.HISTORY_TYPES_XF,
    features.HISTORY_GAPS_XF,
    features.HISTORY_GAP_BUCKETS_XF,
)


def crop(inputs: Tensors, share: float, seed: tf.Tensor) -> dict[str, tf.Tensor]:
    """Of n events, max(1, ⌊share·n⌋) side by side, drawn at random, moved to the front.

    Args:
      inputs: transformed features; events [B, H], padding (item id 0) behind them. What is there of `EVENT` moves.
      share: of the events that are kept.
      seed: int [2], of the drawing.

    Returns:
      `inputs`, with other events.

    Reference: this and the two below are from Xie et al., Contrastive Learning for Sequential Recommendation (2022).
    """
    number, places = _numbers(inputs)
    kept = tf.minimum(number, tf.maximum(_part(share, number), 1))
    chosen = places + _start(number - kept, seed)[:, tf.newaxis]
    return _moved(inputs, tf.minimum(chosen, tf.shape(places)[1] - 1), places < kept[:, tf.newaxis])


def mask(inputs: Tensors, share: float, seed: tf.Tensor) -> dict[str, tf.Tensor]:
    """Of n events, ⌊share·n⌋ drawn at random get the id of an unknown item; else as `crop`."""
    number, places = _numbers(inputs)
    keys = tf.random.stateless_uniform(tf.shape(places), seed)
    keys = tf.where(places < number[:, tf.newaxis], keys, 2.0)
    ranks = tf.argsort(tf.argsort(keys))
    ids = inputs[features.HISTORY_ITEMS_XF]
    hidden = ranks < _part(share, number)[:, tf.newaxis]
    unknown = tf.constant(features.UNKNOWN_ID, ids.dtype)
    return {**inputs, features.HISTORY_ITEMS_XF: tf.where(hidden, unknown, ids)}


def reorder(inputs: Tensors, share: float, seed: tf.Tensor) -> dict[str, tf.Tensor]:
    """Of n events, ⌊share·n⌋ side by side, drawn at random, are shuffled; else as `crop`."""
    number, places = _numbers(inputs)
    length = _part(share, number)
    seeds = tf.random.experimental.stateless_split(seed, 2)
    start = _start(number - length, seeds[0])[:, tf.newaxis]
    within = tf.logical_and(places >= start, places < start + length[:, tf.newaxis])
    # Keys of the part that is shuffled lie between those of its neighbours.
    drawn = tf.random.stateless_uniform(tf.shape(places), seeds[1]) * tf.cast(length, tf.float32)[:, tf.newaxis]
    keys = tf.where(within, tf.cast(start, tf.float32) - 0.5 + drawn, tf.cast(places, tf.float32))
    order = tf.argsort(keys, stable=True)
    return _moved(inputs, order, places < number[:, tf.newaxis])


def view(inputs: Tensors, shares: Mapping[str, float], seed: tf.Tensor) -> dict[str, tf.Tensor]:
    """Each row's history changed by one of the ways, drawn at random.

    Args:
      inputs: as for `crop`.
      shares: `crop`, `mask`, `reorder` -> its share; a way whose share is 0 is left out.
      seed: int [2].

    Raises:
      ValueError: if every share is 0.
    """
    ways = {"crop": crop, "mask": mask, "reorder": reorder}
    used = [name for name in ways if shares.get(name)]
    if not used:
        raise ValueError("no way to change a history has a share; expected one of crop, mask and reorder above 0.")
    seeds = tf.random.experimental.stateless_split(seed, len(used) + 1)
    made = [ways[name](inputs, shares[name], seeds[i]) for i, name in enumerate(used)]
    rows = tf.shape(inputs[features.HISTORY_ITEMS_XF])[0]
    drawn = tf.random.stateless_uniform([rows], seeds[-1], 0, len(used), tf.int32)[:, tf.newaxis]
    found = made[0]
    for i, other in enumerate(made[1:], start=1):
        found = {
            name: tf.where(drawn == i, other[name], found[name]) if name in EVENT else found[name] for name in found
        }
    return found


def _numbers(inputs: Tensors) -> tuple[tf.Tensor, tf.Tensor]:
    """(events a row, int [B]; their places, int [B, H])."""
    ids = inputs[features.HISTORY_ITEMS_XF]
    number = tf.reduce_sum(tf.cast(ids != features.PADDING_ID, tf.int32), 1)
    rows, width = tf.unstack(tf.shape(ids))
    return number, tf.tile(tf.range(width)[tf.newaxis], [rows, 1])


def _part(share: float, number: tf.Tensor) -> tf.Tensor:
    # A share such as 0.29 of 100 is 28.999998 in float32.
    return tf.cast(tf.floor(share * tf.cast(number, tf.float32) + 1e-4), tf.int32)


def _start(last: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Int [B], evenly from 0 to `last`."""
    drawn = tf.random.stateless_uniform(tf.shape(last), seed)
    return tf.minimum(tf.cast(drawn * tf.cast(last + 1, tf.float32), tf.int32), last)


def _moved(inputs: Tensors, chosen: tf.Tensor, real: tf.Tensor) -> dict[str, tf.Tensor]:
    """Events `chosen` [B, H] where there are `real` ones, padding elsewhere."""
    found = dict(inputs)
    for name in EVENT:
        if name in inputs:
            values = tf.gather(inputs[name], chosen, batch_dims=1)
            found[name] = tf.where(real, values, tf.zeros_like(values))
    return found
