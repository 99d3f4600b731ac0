"""From transformed texts to batches of a tagger."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple
from typing import Any

import tensorflow as tf
import tensorflow_transform as tft

from models import features, tagger, wordpiece
from models.sizes import TextSizes
from tfx_pipeline.inputs import held_out_records
from tfx_pipeline.settings import TransformSettings

_INPUTS = (features.TEXT_TOKENS_XF, features.TEXT_WORD_PLACES_XF)
_LABELS = (
    features.TEXT_WORD_LABELS_XF,
    features.TEXT_TAGS_XF,
    features.TEXT_TAG_WEIGHTS_XF,
    features.TEXT_SENTIMENT_XF,
)


def read_sizes(transform: tft.TFTransformOutput, settings: TransformSettings) -> TextSizes:
    """The sizes of what Transform has learned.

    Raises:
      ValueError: if there is no tag.
    """
    tags = len(transform.vocabulary_by_name(features.TAG_VOCABULARY))
    if not tags:
        raise ValueError("no tag is frequent enough; expected titles with names, categories or brands.")
    if settings.wordpiece == wordpiece.LEARNED:
        wordpieces = transform.vocabulary_size_by_name(features.WORDPIECE_VOCABULARY)
        special = wordpiece.special_tokens()
    else:
        entries = wordpiece.load_vocabulary(settings.wordpiece)
        wordpieces, special = len(entries), wordpiece.special_tokens(entries)
    return TextSizes(tags, wordpieces, astuple(special), special.mask)


def training_texts(
    files: Sequence[str],
    transform: tft.TFTransformOutput,
    tags: int,
    *,
    batch_size: int,
    seed: int,
    epochs: range,
    replicas: int = 1,
) -> tuple[tf.data.Dataset, int]:
    """Shuffled batches of (inputs, labels) for several epochs; records are kept in memory after the first.

    Args:
      files: TFRecord files (gz) of transformed texts.
      transform: Transform's output, for the feature spec.
      tags: T.
      batch_size: texts a step.
      seed: of the shuffling.
      epochs: which ones, counted from 0: epoch e comes in the same order whichever is the first.
      replicas: that share a batch; a last batch that does not give each a row is left out.

    Returns:
      (all epochs, one after the other; batches an epoch).
    """
    records = tf.data.TFRecordDataset(list(files), compression_type="GZIP").cache()
    number = sum(1 for _ in records)
    steps = number // batch_size + (number % batch_size >= replicas)
    shuffled = records.shuffle(100_000, seed=seed).batch(batch_size).take(steps)
    wanted = shuffled.repeat(epochs.stop).skip(epochs.start * steps)
    spec = transform.transformed_feature_spec()
    return wanted.map(lambda batch: _parse(batch, spec, tags), tf.data.AUTOTUNE).prefetch(2), steps


def held_out_texts(
    files: Sequence[str], transform: tft.TFTransformOutput, tags: int, *, number: int, batch_size: int
) -> tf.data.Dataset:
    """Batches of (inputs, labels): at most `number` texts, the same ones however the records are spread over files."""
    spec = transform.transformed_feature_spec()
    return held_out_records(files, number).batch(batch_size).map(lambda batch: _parse(batch, spec, tags))


def _parse(records: tf.Tensor, spec: dict[str, Any], tags: int) -> tuple[dict[str, tf.Tensor], dict[str, tf.Tensor]]:
    parsed = tf.io.parse_example(records, {name: spec[name] for name in (*_INPUTS, *_LABELS)})
    ids, weights = parsed[features.TEXT_TAGS_XF], parsed[features.TEXT_TAG_WEIGHTS_XF]
    known = ids.values >= 0  # others are too rare to be a tag
    cells = tf.boolean_mask(tf.stack([ids.indices[:, 0], ids.values], 1), known)
    shape = tf.stack([tf.shape(records, tf.int64)[0], tf.constant(tags, tf.int64)])
    labels = {
        tagger.TAGS: tf.ensure_shape(tf.scatter_nd(cells, tf.boolean_mask(weights.values, known), shape), [None, tags]),
        tagger.WORDS: parsed[features.TEXT_WORD_LABELS_XF],
        tagger.SENTIMENT: parsed[features.TEXT_SENTIMENT_XF][:, 0],
    }
    return {name: parsed[name] for name in _INPUTS}, labels
