"""Texts that a request brings for items that the catalogue does not know."""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf

from models import features
from models.profile_encoder import ProfileEncoder


def unknown_texts(
    inputs: Mapping[str, tf.Tensor], encoder: ProfileEncoder, training: bool = False
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Texts of the n unknown candidates of a batch.

    Args:
      inputs: `candidate_items_xf` [B, N], `candidate_text_positions_xf` [B, M] (-1: none), `candidate_tokens_xf`
        [B, M, T].
      encoder: pools the texts, to h numbers each.
      training: of the encoder.

    Returns:
      Pooled texts, float [B, N, h] (zero for other candidates); row and place of each text, int32 [n, 2]; its tokens,
      int [n, T].
    """
    candidates = inputs[features.CANDIDATE_ITEMS_XF]
    places = tf.cast(inputs[features.CANDIDATE_TEXT_POSITIONS_XF], tf.int32)
    unknown = tf.gather(candidates, tf.maximum(places, 0), batch_dims=1) == features.UNKNOWN_ID
    found = tf.cast(tf.where(tf.logical_and(places >= 0, unknown)), tf.int32)
    tokens = tf.gather_nd(inputs[features.CANDIDATE_TOKENS_XF], found)
    pooled = encoder.pool(tokens, training=training)
    where = tf.stack([found[:, 0], tf.gather_nd(places, found)], 1)
    batch, number = tf.unstack(tf.shape(candidates))
    return tf.scatter_nd(where, pooled, [batch, number, encoder.hidden_size]), where, tokens
