"""Transform's `preprocessing_fn` of the task `tagging`: words and their tokens, labels of words, ids of tags."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tensorflow_transform as tft

from models import features, text_words, word_tensors
from tfx_pipeline import preprocessing
from tfx_pipeline import settings as settings_module
from tfx_pipeline.tagging.weak_labels import GIVEN


def preprocessing_fn(inputs: dict[str, Any], custom_config: dict[str, Any]) -> dict[str, Any]:
    """Maps raw features of texts to transformed ones.

    A text is cut into words and each word into WordPieces, so that the place of a word's first token is known. Its
    length is `transform.profile_length`; words whose first token does not fit have place 0.

    Args:
      inputs: `features.TEXT_FEATURES`.
      custom_config: {"settings": plain values of `Settings`}.

    Returns:
      Transformed features by the names of `models.features`.
    """
    settings = settings_module.from_dict(custom_config["settings"])
    length = settings.transform.profile_length
    tokens, places = _words(settings.transform, tf.reshape(inputs[features.TEXT], [-1]), length)
    names = inputs[features.TEXT_TAGS]
    weights = inputs[features.TEXT_TAG_WEIGHTS]
    vocabulary = tft.vocabulary(
        tf.boolean_mask(names.values, weights.values >= GIVEN),
        top_k=settings.tagging.max_tags,
        frequency_threshold=settings.tagging.min_texts,
        vocab_filename=features.TAG_VOCABULARY,
    )
    ids = tft.apply_vocabulary(names.values, vocabulary, default_value=-1)
    sentiment = tf.reshape(inputs[features.TEXT_SENTIMENT], [-1, 1])
    return {
        features.TEXT_TOKENS_XF: tokens,
        features.TEXT_WORD_PLACES_XF: places,
        features.TEXT_WORD_LABELS_XF: _label_rows(inputs[features.TEXT_WORD_LABELS], places, length),
        features.TEXT_TAGS_XF: tf.SparseTensor(names.indices, ids, names.dense_shape),
        features.TEXT_TAG_WEIGHTS_XF: weights,
        features.TEXT_SENTIMENT_XF: tf.where(
            tf.equal(sentiment, ""),
            tf.constant(-1, tf.int64),
            tf.cast(tf.equal(sentiment, text_words.POSITIVE), tf.int64),
        ),
    }


def _words(transform: settings_module.TransformSettings, texts: tf.Tensor, length: int) -> tuple[tf.Tensor, tf.Tensor]:
    """(tokens, places of the words' first ones), int64 [n, length] each; 0 where there is none."""
    words = word_tensors.split(texts)
    pieces, special = preprocessing.wordpieces(transform, words.flat_values)
    counts = pieces.row_lengths()
    of_text = tf.RaggedTensor.from_row_splits(pieces, words.row_splits).merge_dims(1, 2)
    body = of_text.to_tensor(special.pad, shape=[None, length - 2])
    number = tf.minimum(of_text.row_lengths(), length - 2)[:, tf.newaxis]
    framed = tf.pad(body, [[0, 0], [1, 1]], constant_values=special.pad)
    column = tf.range(length, dtype=tf.int64)
    framed = tf.where(column == 0, tf.constant(special.cls, tf.int64), framed)
    framed = tf.where(column == number + 1, tf.constant(special.sep, tf.int64), framed)
    tokens = tf.where(number > 0, framed, tf.constant(special.pad, tf.int64))
    before = tf.cumsum(counts, exclusive=True)
    # Pieces before a word within its own text.
    offset = tf.gather(of_text.row_splits, words.value_rowids())
    first = 1 + before - offset
    there = tf.logical_and(counts > 0, first < length - 1)
    places = words.with_values(tf.where(there, first, 0)).to_tensor(0, shape=[None, length])
    return tokens, places


def _label_rows(labels: tf.SparseTensor, places: tf.Tensor, length: int) -> tf.Tensor:
    """Row of each word's label, int64 [n, length]; -1 where there is no word with a place."""
    known = tf.equal(labels.values[:, tf.newaxis], tf.constant(text_words.WORD_LABELS))
    rows = tf.where(tf.reduce_any(known, 1), tf.argmax(tf.cast(known, tf.int64), 1), tf.constant(-1, tf.int64))
    dense = tf.sparse.to_dense(tf.SparseTensor(labels.indices, rows, labels.dense_shape), -1)
    dense = tf.pad(dense[:, :length], [[0, 0], [0, length]], constant_values=-1)[:, :length]
    return tf.where(places > 0, dense, tf.constant(-1, tf.int64))
