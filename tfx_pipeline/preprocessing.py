"""Transform's `preprocessing_fn`: ids, buckets, scaled numbers and tokens, all in the graph that serving runs too.

Every input may be absent (a request has no label, a decision no `item_*`), so lists and optional scalars arrive as
SparseTensor. Lists leave as SparseTensor, row by row and without gaps; scalars leave dense, [batch, 1].
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_text as tf_text
import tensorflow_transform as tft
from tensorflow_text.core import pybinds
from tensorflow_text.python.ops.bert_tokenizer import BasicTokenizer

from models import features, wordpiece
from tfx_pipeline import settings as settings_module


def preprocessing_fn(inputs: dict[str, Any], custom_config: dict[str, Any]) -> dict[str, Any]:
    """Maps raw features to transformed ones.

    Events of a type in `decisions.impression_event_types` leave the history here, so that a request that brings them
    answers as one without them: training histories hold none.

    TFX traces this function about five times, and every vocabulary and every lookup costs a good part of a second each
    time; so texts are tokenised in one go, and ids looked up in one.

    Args:
      inputs: raw features by the names of `models.features`.
      custom_config: {"settings": plain values of `Settings`}.

    Returns:
      Transformed features by the names of `models.features`; the label passes through.
    """
    settings = settings_module.from_dict(custom_config["settings"])
    transform, context = settings.transform, settings.data.context
    outputs: dict[str, Any] = {}

    candidates = inputs[features.CANDIDATE_ITEM_IDS]
    history, types, times = _history(inputs, settings.decisions.impression_event_types)
    items = _vocabulary(candidates.values, features.ITEM_VOCABULARY)
    ids = _lookup(tf.concat([candidates.values, history.values], 0), items)
    number = tf.size(candidates.values)
    outputs[features.CANDIDATE_ITEMS_XF] = _with_values(candidates, ids[:number])
    outputs[features.HISTORY_ITEMS_XF] = _with_values(history, ids[number:])
    if settings.data.item_relations:
        # Not in the same lookup: no request brings them, and what needs an input that is not there is not computed.
        related, kinds = (
            _declared(inputs, name) for name in (features.ITEM_RELATED_ITEMS, features.ITEM_RELATION_KINDS)
        )
        outputs[features.ITEM_RELATED_ITEMS_XF] = _with_values(related, _lookup(related.values, items))
        vocabulary = _vocabulary(kinds.values, features.RELATION_VOCABULARY)
        outputs[features.ITEM_RELATION_KINDS_XF] = _with_values(kinds, _lookup(kinds.values, vocabulary))
    type_vocabulary = _vocabulary(types.values, features.EVENT_TYPE_VOCABULARY)
    outputs[features.HISTORY_TYPES_XF] = _with_values(types, _lookup(types.values, type_vocabulary))

    request_time = _dense(inputs[features.REQUEST_TIME], 0)
    outputs[features.REQUEST_DAY_XF] = request_time[:, tf.newaxis] // features.SECONDS_PER_DAY
    gaps = _gap_days(request_time, times)
    outputs[features.HISTORY_GAPS_XF] = _with_values(times, gaps)
    boundaries = tft.quantiles(gaps, transform.gap_buckets, epsilon=0.01)
    outputs[features.HISTORY_GAP_BUCKETS_XF] = _with_values(times, 1 + tft.apply_buckets(gaps, boundaries))

    user = _dense(inputs[features.USER_ID], "")
    outputs[features.USER_KEY_XF] = tf.strings.to_hash_bucket_fast(user, 2**62)[:, tf.newaxis]

    for column in context:
        values = _dense(inputs[column], "")
        vocabulary = _vocabulary(values, features.context_vocabulary(column))
        outputs[features.context_xf(column)] = _lookup(values, vocabulary)[:, tf.newaxis]

    for name, target, vocabulary_name in (
        (features.ITEM_CATEGORY, features.ITEM_CATEGORY_XF, features.CATEGORY_VOCABULARY),
        (features.ITEM_BRAND, features.ITEM_BRAND_XF, features.BRAND_VOCABULARY),
    ):
        values = _dense(inputs[name], "")
        outputs[target] = _lookup(values, _vocabulary(values, vocabulary_name))[:, tf.newaxis]

    scaled, bucket = _price(inputs[features.ITEM_PRICE], transform.price_buckets)
    outputs[features.ITEM_PRICE_SCALED_XF] = scaled
    outputs[features.ITEM_PRICE_BUCKET_XF] = bucket

    profile = _dense(inputs[features.PROFILE_TEXT], "")
    query = _dense(inputs[features.QUERY], "")
    outputs[features.QUERY_TEXT_XF] = query[:, tf.newaxis]
    text = inputs[features.CANDIDATE_TEXT]
    present = tf.sparse.retain(text, tf.not_equal(text.values, ""))
    lengths = (transform.profile_length, transform.query_length, transform.title_length)
    tokens = _tokenize(transform, [profile, query, present.values], lengths)
    outputs[features.PROFILE_TOKENS_XF], outputs[features.QUERY_TOKENS_XF], titles = tokens
    outputs.update(_candidate_text(present, titles, transform.title_length))

    if settings.decisions.label_strengths:
        kinds = inputs[features.LABEL_EVENT_TYPES]
        outputs[features.LABEL_STRENGTHS_XF] = _with_values(kinds, _strengths(kinds.values, settings.decisions))

    # What Trainer needs as it is: the label, and of catalogue rows the words for people and the sales per day.
    for name in (
        features.LABEL,
        features.ITEM_TITLE,
        features.ITEM_CATEGORY,
        features.ITEM_BRAND,
        features.ITEM_FIRST_SEEN,
        features.ITEM_SALES_DAYS,
        features.ITEM_SALES_COUNTS,
    ):
        outputs[name] = inputs[name]
    if settings.data.image_embedding_width:
        outputs[features.ITEM_IMAGE] = _declared(inputs, features.ITEM_IMAGE)
    return outputs


def _declared(inputs: dict[str, Any], name: str) -> tf.SparseTensor:
    if name not in inputs:
        raise settings_module.SettingsError(
            f"the curated schema lacks {name}, which `data` declares; expected the one that "
            "`python -m tfx_pipeline.schema` writes now."
        )
    return inputs[name]


def _history(inputs: dict[str, Any], impressions: tuple[str, ...]) -> list[tf.SparseTensor]:
    """Item ids, types and times of the events that are no impressions, moved together row by row."""
    names = (features.HISTORY_ITEM_IDS, features.HISTORY_EVENT_TYPES, features.HISTORY_TIMESTAMPS)
    lists = [inputs[name] for name in names]
    if not impressions:
        return lists
    types = lists[1]
    sizes = tf.stack([tf.size(part.values) for part in lists])
    same = tf.debugging.assert_equal(sizes, sizes[1], f"{', '.join(names)} must be of the same lengths.")
    with tf.control_dependencies([same]):
        kept = tf.reduce_all(tf.not_equal(types.values[:, tf.newaxis], tf.constant(impressions)), 1)
    rows = tf.boolean_mask(types.indices[:, 0], kept)
    rank, most = _rank_in_row(rows)
    indices, shape = tf.stack([rows, rank], 1), tf.stack([types.dense_shape[0], most])
    return [tf.SparseTensor(indices, tf.boolean_mask(part.values, kept), shape) for part in lists]


def _strengths(values: tf.Tensor, decisions: settings_module.DecisionSettings) -> tf.Tensor:
    """Places of event types in `decisions.label_strengths` from 1; 0 for what is none of them."""
    order = decisions.label_strengths
    same = tf.equal(values[:, tf.newaxis], tf.constant(order))
    return tf.reduce_sum(tf.cast(same, tf.int64) * tf.range(1, len(order) + 1, dtype=tf.int64), 1)


def _vocabulary(values: tf.Tensor, name: str) -> Any:
    """Learns a vocabulary, most frequent first; "" is no entry."""
    return tft.vocabulary(tf.boolean_mask(values, tf.not_equal(values, "")), vocab_filename=name)


def _lookup(values: tf.Tensor, vocabulary: Any) -> tf.Tensor:
    """0 for "", 1 for the unknown, known entries from 2."""
    known = tft.apply_vocabulary(values, vocabulary, default_value=-1) + features.FIRST_KNOWN_ID
    return tf.where(tf.equal(values, ""), tf.constant(features.PADDING_ID, tf.int64), known)


def _with_values(sparse: tf.SparseTensor, values: tf.Tensor) -> tf.SparseTensor:
    return tf.SparseTensor(indices=sparse.indices, values=values, dense_shape=sparse.dense_shape)


def _dense(value: Any, default: str | int) -> tf.Tensor:
    """[batch] from a scalar feature that may be absent."""
    if isinstance(value, tf.SparseTensor):
        shape = tf.stack([value.dense_shape[0], 1])
        value = tf.sparse.to_dense(tf.SparseTensor(value.indices, value.values, shape), default)
    return tf.reshape(value, [-1])


def _gap_days(request_time: tf.Tensor, times: tf.SparseTensor) -> tf.Tensor:
    """Days from each event to the request, [number of events], never negative."""
    asked = tf.gather(request_time, times.indices[:, 0])
    seconds = tf.cast(tf.maximum(asked - times.values, 0), tf.float64)
    return tf.cast(seconds / features.SECONDS_PER_DAY, tf.float32)


def _price(price: Any, buckets: int) -> tuple[tf.Tensor, tf.Tensor]:
    """z-score of log1p(price) and its quantile bucket from 1, both [batch, 1]; 0 where the price is absent."""
    values = tf.math.log1p(tf.maximum(price.values, 0.0))
    deviation = tf.sqrt(tft.var(values))
    scaled = tf.math.divide_no_nan(values - tft.mean(values), deviation)
    scaled = tf.where(tf.math.is_finite(scaled), scaled, tf.zeros_like(scaled))
    bucket = 1 + tft.apply_buckets(values, tft.quantiles(values, buckets, epsilon=0.01))
    shape = tf.stack([price.dense_shape[0], 1])

    def spread(numbers: tf.Tensor, zero: Any) -> tf.Tensor:
        dense = tf.sparse.to_dense(tf.SparseTensor(price.indices, numbers, shape), zero)
        return tf.reshape(dense, [-1, 1])

    return spread(scaled, 0.0), spread(bucket, tf.constant(0, tf.int64))


def _candidate_text(present: tf.SparseTensor, tokens: tf.Tensor, length: int) -> dict[str, tf.SparseTensor]:
    """Positions of the candidates that bring a text, and their tokens one text after the other."""
    batch = present.dense_shape[0]
    rows = present.indices[:, 0]
    rank, most = _rank_in_row(rows)
    positions = tf.SparseTensor(tf.stack([rows, rank], 1), present.indices[:, 1], tf.stack([batch, most]))
    columns = rank[:, tf.newaxis] * length + tf.range(length, dtype=tf.int64)[tf.newaxis, :]
    indices = tf.stack([tf.repeat(rows, length), tf.reshape(columns, [-1])], 1)
    flat = tf.SparseTensor(indices, tf.reshape(tokens, [-1]), tf.stack([batch, most * length]))
    return {features.CANDIDATE_TEXT_POSITIONS_XF: positions, features.CANDIDATE_TOKENS_XF: flat}


def _rank_in_row(rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """0, 1, 2, … within each run of equal (sorted) row numbers, and the length of the longest run."""
    place = tf.range(tf.size(rows, out_type=tf.int64), dtype=tf.int64)
    rank = place - tf.searchsorted(rows, rows, side="left", out_type=tf.int64)
    return rank, tf.reduce_max(tf.concat([rank + 1, tf.zeros([1], tf.int64)], 0))


def _tokenize(
    transform: settings_module.TransformSettings, texts: list[tf.Tensor], lengths: tuple[int, ...]
) -> list[tf.Tensor]:
    """[CLS] tokens [SEP] of each tensor of texts, cut and padded to [texts, length]; an empty text is all padding."""
    pieces, special = wordpieces(transform, tf.concat(texts, 0))
    width = max(lengths) - 2
    sizes = [tf.shape(part)[0] for part in texts]
    tokens = tf.split(pieces.to_tensor(special.pad, shape=[None, width]), sizes)
    counts = tf.split(pieces.row_lengths()[:, tf.newaxis], sizes)
    framed = []
    for part, count, length in zip(tokens, counts, lengths, strict=True):
        body = tf.pad(part[:, : length - 2], [[0, 0], [1, 1]], constant_values=special.pad)
        place, last = tf.range(length, dtype=tf.int64), tf.minimum(count, length - 2) + 1
        closed = tf.where(place == 0, np.int64(special.cls), tf.where(place == last, np.int64(special.sep), body))
        framed.append(tf.where(count > 0, closed, np.int64(special.pad)))
    return framed


def wordpieces(
    transform: settings_module.TransformSettings, texts: tf.Tensor
) -> tuple[tf.RaggedTensor, wordpiece.SpecialTokens]:
    """WordPiece ids of each text of [n], without special tokens, and the ids of those; may be called once a graph."""
    if transform.wordpiece == wordpiece.LEARNED:
        special = wordpiece.special_tokens()
        return _learned_wordpiece(transform, texts, special), special
    entries = wordpiece.load_vocabulary(transform.wordpiece)
    return _given_wordpiece(tuple(entries), transform.lower_case).tokenize(texts), wordpiece.special_tokens(entries)


def _given_wordpiece(entries: tuple[str, ...], lower_case: bool) -> tf_text.FastBertTokenizer:
    """The tokenizer of a vocabulary; it belongs to the graph in which it is made."""
    model, normalizer = _compiled(entries, lower_case)
    return tf_text.FastBertTokenizer(
        token_out_type=tf.int64,
        fast_wordpiece_model_buffer=tf.constant(model),
        fast_bert_normalizer_model_buffer=tf.constant(normalizer),
    )


@functools.lru_cache(maxsize=1)
def _compiled(entries: tuple[str, ...], lower_case: bool) -> tuple[np.ndarray, np.ndarray]:
    """uint8, what FastBertTokenizer would compile of its arguments, and turn into lists of numbers, in each trace."""
    model = pybinds.pywrap_fast_wordpiece_tokenizer_model_builder.build_fast_wordpiece_model(
        list(entries), 100, "##", "[UNK]", False, False
    )
    normalizer = pybinds.pywrap_fast_bert_normalizer_model_builder.build_fast_bert_normalizer_model(lower_case)
    return np.frombuffer(model, np.uint8), np.frombuffer(normalizer, np.uint8)


def _learned_wordpiece(
    transform: settings_module.TransformSettings, texts: tf.Tensor, special: wordpiece.SpecialTokens
) -> tf.RaggedTensor:
    """WordPiece over a vocabulary of the training text's frequent words and all their characters.

    A word that is not an entry is spelled by its characters, so nothing of a new word is lost; Chinese is split into
    characters anyway, as BERT does.
    """
    words = BasicTokenizer(lower_case=transform.lower_case).tokenize(texts)
    letters = tf.strings.unicode_split(words.flat_values, "UTF-8")
    heads, tails = letters[:, :1].flat_values, tf.strings.join(["##", letters[:, 1:].flat_values])
    vocabulary = tft.vocabulary(
        tf.concat([words.flat_values, heads, tails], 0),
        top_k=transform.wordpiece_size,
        reserved_tokens=list(wordpiece.RESERVED),
        vocab_filename=features.WORDPIECE_VOCABULARY,
    )

    def lookup(words: tf.RaggedTensor, filename: tf.Tensor) -> tuple[tf.RaggedTensor, tf.Tensor]:
        initializer = tf.lookup.TextFileInitializer(
            filename,
            tf.string,
            tf.lookup.TextFileIndex.WHOLE_LINE,
            tf.int64,
            tf.lookup.TextFileIndex.LINE_NUMBER,
        )
        table = tf.lookup.StaticHashTable(initializer, special.unknown)
        pieces = tf_text.WordpieceTokenizer(table, token_out_type=tf.int64, unknown_token="[UNK]")
        return pieces.tokenize(words).merge_dims(-2, -1), table.size()

    return tft.apply_vocabulary(words, vocabulary, lookup_fn=lookup)
