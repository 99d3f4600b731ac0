"""From transformed features, parsed or straight out of Transform's graph, to the rectangles that models take."""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf

from models import features

#: Transformed lists, and what pads them.
PADDING: dict[str, float] = {
    features.HISTORY_ITEMS_XF: 0,
    features.HISTORY_TYPES_XF: 0,
    features.HISTORY_GAPS_XF: 0.0,
    features.HISTORY_GAP_BUCKETS_XF: 0,
    features.CANDIDATE_ITEMS_XF: 0,
    features.CANDIDATE_TEXT_POSITIONS_XF: -1,
    features.CANDIDATE_TOKENS_XF: 0,
    features.LABEL: -1.0,
    features.LABEL_STRENGTHS_XF: 0,
}


def dense_inputs(transformed: Mapping[str, tf.Tensor | tf.SparseTensor], title_length: int) -> dict[str, tf.Tensor]:
    """Makes every list a padded rectangle of at least one column and every single value a vector.

    Args:
      transformed: by the names of `models.features`: lists sparse [B, L], others dense [B, 1] or [B, width].
      title_length: T, tokens of a candidate's text.

    Returns:
      The same names: lists [B, L], `candidate_tokens_xf` [B, M, T] with M texts a row, single values [B].
    """
    outputs: dict[str, tf.Tensor] = {}
    for name, value in transformed.items():
        if name == features.CANDIDATE_TOKENS_XF:
            continue
        if isinstance(value, tf.SparseTensor):
            if name in PADDING:
                outputs[name] = _rectangle(value, PADDING[name], tf.maximum(value.dense_shape[1], 1))
        elif value.shape.rank == 2 and value.shape[1] == 1:
            outputs[name] = value[:, 0]
        else:
            outputs[name] = value
    if features.CANDIDATE_TOKENS_XF in transformed:
        texts = tf.shape(outputs[features.CANDIDATE_TEXT_POSITIONS_XF], tf.int64)[1]
        tokens = _rectangle(transformed[features.CANDIDATE_TOKENS_XF], 0, texts * title_length)
        outputs[features.CANDIDATE_TOKENS_XF] = tf.reshape(tokens, tf.stack([-1, texts, title_length]))
    return outputs


def _rectangle(value: tf.SparseTensor, padding: float, width: tf.Tensor) -> tf.Tensor:
    shape = tf.stack([value.dense_shape[0], tf.cast(width, tf.int64)])
    sparse = tf.SparseTensor(value.indices, value.values, shape)
    return tf.sparse.to_dense(sparse, tf.constant(padding, value.dtype))
