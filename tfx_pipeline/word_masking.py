"""Words of training decisions hidden at random, so that a text encoder does not lean on single ones."""

from __future__ import annotations

import tensorflow as tf
import tensorflow_transform as tft

from models import features, wordpiece
from tfx_pipeline.settings import Settings
from tfx_pipeline.text_encoders import vocabulary


def with_masked_words(
    decisions: tf.data.Dataset, share: float, transform: tft.TFTransformOutput, settings: Settings
) -> tf.data.Dataset:
    """Puts [MASK] in the place of a share of the words of profile texts and queries, drawn anew in each epoch.

    Args:
      decisions: batches of (inputs, labels).
      share: of the words; 0 changes nothing.
      transform: Transform's output.
      settings: of the pipeline.
    """
    if not share:
        return decisions
    special = wordpiece.special_tokens(vocabulary(settings, transform))
    kept = tf.constant([special.pad, special.unknown, special.cls, special.sep, special.mask], tf.int64)

    def hide(inputs: dict[str, tf.Tensor], labels: tf.Tensor) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
        changed = dict(inputs)
        for name in (features.PROFILE_TOKENS_XF, features.QUERY_TOKENS_XF):
            if name in inputs:
                tokens = inputs[name]
                is_word = tf.reduce_all(tokens[..., tf.newaxis] != kept, -1)
                hidden = tf.logical_and(is_word, tf.random.uniform(tf.shape(tokens)) < share)
                changed[name] = tf.where(hidden, tf.constant(special.mask, tf.int64), tokens)
        return changed, labels

    return decisions.map(hide, tf.data.AUTOTUNE).prefetch(2)
