"""From transformed examples to what a model eats: catalogue tables and batches of dense tensors."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_transform as tft

from models import features, wordpiece
from models.dense_inputs import PADDING, dense_inputs
from models.item_encoder import ItemTable
from models.item_text import searched_text
from models.sizes import Sizes
from tfx_pipeline.settings import Settings
from tfx_pipeline.shoppers import newest_records

_SCALARS = (features.REQUEST_DAY_XF, features.USER_KEY_XF)

_RELATIONS = (features.ITEM_RELATION_KINDS_XF, features.ITEM_RELATED_ITEMS_XF)

Encode = Callable[[tf.Tensor], tf.Tensor]


@dataclass(frozen=True)
class Catalogue:
    """The catalogue split as one model may know it.

    Attributes:
      item_ids, titles, category_names, brand_names: str [V], in the order of the item vocabulary.
      table: attributes, texts and which items are trained and servable at the boundary.
      sales: float [D, V], label events per day before the boundary.
      first_day: days since 1970-01-01 UTC of the first row of `sales`.
      unknown_relations: relations that `table` lacks, since the related item is not known before the boundary.
    """

    item_ids: list[str]
    titles: list[str]
    category_names: list[str]
    brand_names: list[str]
    table: ItemTable
    sales: np.ndarray
    first_day: int
    unknown_relations: int = 0


@dataclass(frozen=True)
class Texts:
    """How the texts of decisions are read for a model.

    Attributes:
      pooled: token features that are replaced by pooled vectors.
      encode: [n, L] tokens -> [n, h] pooled states, of a frozen BERT.
      tokens: token features that are kept as they are.
    """

    pooled: tuple[str, ...]
    encode: Encode
    tokens: tuple[str, ...]


#: Token features, as they are.
ALL_TEXTS = Texts((), tf.identity, (features.PROFILE_TOKENS_XF, features.QUERY_TOKENS_XF))

_POOLED = {
    features.PROFILE_TOKENS_XF: features.PROFILE_POOLED_XF,
    features.QUERY_TOKENS_XF: features.QUERY_POOLED_XF,
}


def read_sizes(transform: tft.TFTransformOutput, settings: Settings, catalogue: Catalogue) -> Sizes:
    """The sizes of what Transform has learned, and of the catalogue as far as it is known."""

    def size(name: str) -> int:
        return transform.vocabulary_size_by_name(name) + features.FIRST_KNOWN_ID

    if settings.transform.wordpiece == wordpiece.LEARNED:
        wordpieces = transform.vocabulary_size_by_name(features.WORDPIECE_VOCABULARY)
        special = wordpiece.special_tokens()
    else:
        entries = wordpiece.load_vocabulary(settings.transform.wordpiece)
        wordpieces, special = len(entries), wordpiece.special_tokens(entries)
    kinds = transform.vocabulary_by_name(features.RELATION_VOCABULARY) if settings.data.item_relations else ()
    return Sizes(
        items=len(catalogue.item_ids),
        event_types=size(features.EVENT_TYPE_VOCABULARY),
        categories=size(features.CATEGORY_VOCABULARY),
        brands=size(features.BRAND_VOCABULARY),
        price_buckets=settings.transform.price_buckets + 1,
        gap_buckets=settings.transform.gap_buckets + 1,
        context={column: size(features.context_vocabulary(column)) for column in settings.data.context},
        wordpieces=wordpieces,
        special_tokens=astuple(special),
        text_length=settings.transform.title_length,
        days=len(catalogue.sales),
        label_strengths=settings.decisions.label_strengths,
        type_ids={
            name.decode(): place + features.FIRST_KNOWN_ID
            for place, name in enumerate(transform.vocabulary_by_name(features.EVENT_TYPE_VOCABULARY))
        },
        image_width=settings.data.image_embedding_width,
        relations=len(kinds),
    )


def decisions(
    files: Sequence[str],
    transform: tft.TFTransformOutput,
    settings: Settings,
    *,
    batch_size: int,
    texts: Texts = ALL_TEXTS,
    chosen: tf.data.Dataset | None = None,
) -> tf.data.Dataset:
    """Batches of (inputs, labels) from transformed decisions, in the files' order.

    Args:
      files: TFRecord files (gz) of transformed examples.
      transform: Transform's output, for the feature spec.
      settings: of the pipeline.
      batch_size: decisions a batch.
      texts: which texts are read, and how.
      chosen: records to take in place of those of `files`.

    Returns:
      A dataset of (dict of tensors as `models.ranker.Ranker` expects, labels float [B, N]).
    """
    return _in_order(_records(files) if chosen is None else chosen, transform, settings, batch_size, texts)


def held_out_decisions(
    files: Sequence[str],
    transform: tft.TFTransformOutput,
    settings: Settings,
    *,
    number: int,
    batch_size: int,
    texts: Texts = ALL_TEXTS,
) -> tf.data.Dataset:
    """As `decisions`, but at most `number` of them: those whose content has the smallest hashes, in that order.

    So the same ones are taken, in the same batches, however the records are spread over files.
    """

    return _in_order(held_out_records(files, number), transform, settings, batch_size, texts)


def held_out_records(files: Sequence[str], number: int) -> tf.data.Dataset:
    """At most `number` records: those whose content has the smallest hashes, in that order."""

    def keyed(record: bytes) -> tuple[bytes, bytes]:
        content = tf.train.Example.FromString(record).SerializeToString(deterministic=True)
        return hashlib.blake2b(content, digest_size=16).digest(), record

    chosen = heapq.nsmallest(number, map(keyed, _records(files).as_numpy_iterator()))
    return tf.data.Dataset.from_tensor_slices(tf.constant([record for _, record in chosen], tf.string, [len(chosen)]))


def training_decisions(
    files: Sequence[str],
    transform: tft.TFTransformOutput,
    settings: Settings,
    *,
    batch_size: int,
    seed: int,
    epochs: range,
    replicas: int = 1,
    texts: Texts = ALL_TEXTS,
    one_a_user: bool = False,
    chosen: tf.data.Dataset | None = None,
) -> tuple[tf.data.Dataset, int]:
    """As `decisions`, but shuffled, for several epochs.

    Decisions of similar history length are batched together, so that little is padding. Parsed decisions are kept in
    memory after the first epoch.

    Args:
      files, transform, settings, batch_size, texts: as for `decisions`.
      seed: of the shuffling.
      epochs: which ones, counted from 0: epoch e comes in the same order whichever is the first.
      replicas: that share a batch; what would leave one of them without a row is left out.
      one_a_user: each user's newest decision alone.
      chosen: records to take in place of those of `files`.

    Returns:
      (all epochs, one after the other; batches an epoch).
    """
    if chosen is not None:
        records = chosen
    else:
        records = newest_records(files, transform) if one_a_user else _records(files, parallel=4)
    parsed = _parsed(records, transform, settings, texts).cache()

    def batched(dataset: tf.data.Dataset) -> tf.data.Dataset:
        batches = dataset.bucket_by_sequence_length(
            element_length_func=lambda inputs: tf.size(inputs[features.HISTORY_ITEMS_XF]),
            bucket_boundaries=[16, 32, 64, 128, 256, 512],
            bucket_batch_sizes=[batch_size] * 7,
            padding_values=_padding_values(parsed.element_spec),
        )
        return batches if replicas == 1 else _for_all_replicas(batches, replicas)

    # How many decisions a bucket holds, and so the number of batches, is the same in every order.
    steps = sum(1 for _ in batched(parsed))
    shuffled = batched(parsed.shuffle(20_000, seed=seed)).shuffle(16, seed=seed)
    # Skipping costs time for batching only, and nothing else brings the shuffles to where an uninterrupted run is.
    wanted = shuffled.repeat(epochs.stop).skip(epochs.start * steps)
    return wanted.map(_finish, tf.data.AUTOTUNE).prefetch(2), steps


def _for_all_replicas(batches: tf.data.Dataset, replicas: int) -> tf.data.Dataset:
    """Batches that give every replica a row: too uneven ones are cut to a multiple of `replicas`, smaller ones go.

    Without a static size, tf.distribute hands each replica ⌈n/replicas⌉ of n rows and the last ones what is left: of 5
    rows the fourth gets none.
    """

    def cut(inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        size = tf.shape(inputs[features.LABEL])[0]
        share = (size + replicas - 1) // replicas
        kept = tf.where(share * (replicas - 1) < size, size, size - size % replicas)
        return {name: value[:kept] for name, value in inputs.items()}

    return batches.map(cut).filter(lambda inputs: tf.shape(inputs[features.LABEL])[0] > 0)


def _records(files: Sequence[str], parallel: int = 1) -> tf.data.Dataset:
    return tf.data.TFRecordDataset(list(files), compression_type="GZIP", num_parallel_reads=parallel)


def _parsed(
    records: tf.data.Dataset, transform: tft.TFTransformOutput, settings: Settings, texts: Texts
) -> tf.data.Dataset:
    """One element a decision, labels among its inputs."""
    spec = transform.transformed_feature_spec()
    chunks = records.batch(64).map(lambda chunk: _parse(chunk, spec, settings, texts), tf.data.AUTOTUNE)
    return chunks.unbatch().map(_strip)


def _in_order(
    records: tf.data.Dataset,
    transform: tft.TFTransformOutput,
    settings: Settings,
    batch_size: int,
    texts: Texts,
) -> tf.data.Dataset:
    dataset = _parsed(records, transform, settings, texts)
    dataset = dataset.padded_batch(batch_size, padding_values=_padding_values(dataset.element_spec))
    return dataset.map(_finish, tf.data.AUTOTUNE).prefetch(2)


def _parse(
    records: tf.Tensor, spec: dict[str, tf.io.FixedLenFeature], settings: Settings, texts: Texts
) -> dict[str, tf.Tensor]:
    wanted = {
        *PADDING,
        *_SCALARS,
        *texts.pooled,
        *texts.tokens,
        *(features.context_xf(column) for column in settings.data.context),
    }
    if not settings.decisions.label_strengths:
        wanted.discard(features.LABEL_STRENGTHS_XF)
    parsed = tf.io.parse_example(records, {name: spec[name] for name in wanted})
    outputs = dense_inputs(parsed, settings.transform.title_length)
    for name in (features.HISTORY_ITEMS_XF, features.CANDIDATE_TEXT_POSITIONS_XF):
        outputs[f"{name}/length"] = _row_lengths(parsed[name])
    for name in texts.pooled:
        # Where nobody asks, the queries of a chunk are all the same, and so are many neighbours' texts.
        different, places = tf.raw_ops.UniqueV2(x=outputs[name], axis=[0])
        outputs[_POOLED[name]] = tf.gather(texts.encode(different), places)
        if name not in texts.tokens:
            del outputs[name]
    return outputs


def _row_lengths(value: tf.SparseTensor) -> tf.Tensor:
    rows = value.dense_shape[0]
    return tf.math.unsorted_segment_sum(tf.ones_like(value.indices[:, 0]), value.indices[:, 0], rows)


def _strip(inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """Cuts off the padding that parsing in chunks has left on the variable lists of one decision."""
    inputs = dict(inputs)
    events = inputs.pop(f"{features.HISTORY_ITEMS_XF}/length")
    texts = inputs.pop(f"{features.CANDIDATE_TEXT_POSITIONS_XF}/length")
    for name in (
        features.HISTORY_ITEMS_XF,
        features.HISTORY_TYPES_XF,
        features.HISTORY_GAPS_XF,
        features.HISTORY_GAP_BUCKETS_XF,
    ):
        inputs[name] = inputs[name][:events]
    for name in (features.CANDIDATE_TEXT_POSITIONS_XF, features.CANDIDATE_TOKENS_XF):
        inputs[name] = inputs[name][:texts]
    return inputs


def _padding_values(element_spec: dict[str, tf.TensorSpec]) -> dict[str, tf.Tensor]:
    return {
        name: tf.constant("" if spec.dtype == tf.string else PADDING.get(name, 0), spec.dtype)
        for name, spec in element_spec.items()
    }


def _finish(inputs: dict[str, tf.Tensor]) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
    inputs = dict(inputs)
    labels = inputs.pop(features.LABEL)
    # A batch in which nobody has a history or a text still has one, empty, column.
    for name, padding in PADDING.items():
        if name in inputs:
            value = inputs[name]
            missing = tf.maximum(1 - tf.shape(value)[1], 0)
            paddings = [[0, 0], [0, missing]] + [[0, 0]] * (value.shape.rank - 2)
            inputs[name] = tf.pad(value, paddings, constant_values=tf.constant(padding, value.dtype))
    return inputs, labels


def first_request_day(files: Sequence[str], transform: tft.TFTransformOutput) -> int:
    """The earliest day (since 1970-01-01 UTC) on which a decision of the files was made.

    Raises:
      ValueError: if there is no decision.
    """
    spec = {features.REQUEST_DAY_XF: transform.transformed_feature_spec()[features.REQUEST_DAY_XF]}
    days = [
        int(tf.reduce_min(tf.io.parse_example(records, spec)[features.REQUEST_DAY_XF]))
        for records in tf.data.TFRecordDataset(list(files), compression_type="GZIP").batch(1024)
    ]
    if not days:
        raise ValueError("the eval split holds no decision; expected label events between train_until and eval_until.")
    return min(days)


def read_catalogue(
    files: Sequence[str], transform: tft.TFTransformOutput, settings: Settings, *, until_day: int | None
) -> Catalogue:
    """Reads the catalogue split, with nothing of `until_day` or later.

    Args:
      files: TFRecord files (gz) of the transformed catalogue split.
      transform: Transform's output, for the feature spec and the item vocabulary.
      settings: of the pipeline.
      until_day: sales on or after it, and items first seen on or after it, are unknown; None knows all. Unknown items
        are related to known ones, but no item is related to an unknown one.

    Raises:
      ValueError: if the split is empty.
    """
    spec = transform.transformed_feature_spec()
    wanted = (
        features.CANDIDATE_ITEMS_XF,
        features.CANDIDATE_TOKENS_XF,
        features.ITEM_CATEGORY_XF,
        features.ITEM_BRAND_XF,
        features.ITEM_PRICE_BUCKET_XF,
        features.ITEM_PRICE_SCALED_XF,
        *(name for name in features.CATALOGUE_FEATURES if name != features.ITEM_PRICE),
        *((features.ITEM_IMAGE,) if settings.data.image_embedding_width else ()),
        *(_RELATIONS if settings.data.item_relations else ()),
    )
    ids = [entry.decode() for entry in transform.vocabulary_by_name(features.ITEM_VOCABULARY)]
    number, length = len(ids), settings.transform.title_length
    tokens = np.zeros([number, length], np.int64)
    categories, brands, price_buckets = (np.zeros(number, np.int64) for _ in range(3))
    prices, servable = np.zeros(number, np.float32), np.zeros(number, bool)
    texts = {name: [""] * number for name in (features.ITEM_TITLE, features.ITEM_BRAND, features.ITEM_CATEGORY)}
    images = np.zeros([number, settings.data.image_embedding_width], np.float32)
    relations: list[np.ndarray] = []
    sold: list[tuple[np.ndarray, np.ndarray, int]] = []
    found = 0
    for record in tf.data.TFRecordDataset(list(files), compression_type="GZIP"):
        row = tf.io.parse_single_example(record, {name: spec[name] for name in wanted})
        place = int(row[features.CANDIDATE_ITEMS_XF].values[0]) - features.FIRST_KNOWN_ID
        if place < 0:
            title = _first(row[features.ITEM_TITLE], b"").decode()
            raise ValueError(f"the item titled {title!r} is not in the vocabulary; expected an id without line breaks.")
        found += 1
        words = row[features.CANDIDATE_TOKENS_XF].values.numpy()[:length]
        tokens[place, : len(words)] = words
        categories[place] = row[features.ITEM_CATEGORY_XF].numpy()[0]
        brands[place] = row[features.ITEM_BRAND_XF].numpy()[0]
        price_buckets[place] = row[features.ITEM_PRICE_BUCKET_XF].numpy()[0]
        prices[place] = row[features.ITEM_PRICE_SCALED_XF].numpy()[0]
        for name, values in texts.items():
            values[place] = _first(row[name], b"").decode()
        if settings.data.image_embedding_width and len(row[features.ITEM_IMAGE].values):
            images[place] = row[features.ITEM_IMAGE].values.numpy()
        if settings.data.item_relations:
            kinds, others = (row[name].values.numpy() - features.FIRST_KNOWN_ID for name in _RELATIONS)
            relations.append(np.stack([np.full_like(kinds, place), kinds, others], 1))
        first_seen_day = _first(row[features.ITEM_FIRST_SEEN], 0) // features.SECONDS_PER_DAY
        servable[place] = until_day is None or first_seen_day < until_day
        days = row[features.ITEM_SALES_DAYS].values.numpy()
        counts = row[features.ITEM_SALES_COUNTS].values.numpy()
        early = days < (until_day if until_day is not None else np.inf)
        sold.append((days[early], counts[early], place))
    if not found:
        raise ValueError("the catalogue split is empty; expected one row an item.")
    related, unknown = _known_relations(relations, servable)
    first = min((int(days.min()) for days, _, _ in sold if len(days)), default=0)
    last = max((int(days.max()) for days, _, _ in sold if len(days)), default=0)
    sales = np.zeros([(until_day or last + 1) - first, number], np.float32)
    for days, counts, place in sold:
        sales[days - first, place] += counts
    table = ItemTable(
        tokens=tokens,
        categories=categories,
        brands=brands,
        price_buckets=price_buckets,
        prices=prices,
        trained=sales.sum(0) > 0,
        servable=servable,
        texts=[searched_text(*parts) for parts in zip(*texts.values(), strict=True)],
        images=images if settings.data.image_embedding_width else None,
        relations=related if settings.data.item_relations else None,
    )
    return Catalogue(
        item_ids=ids,
        titles=texts[features.ITEM_TITLE],
        category_names=texts[features.ITEM_CATEGORY],
        brand_names=texts[features.ITEM_BRAND],
        table=table,
        sales=sales,
        first_day=first,
        unknown_relations=unknown,
    )


def _known_relations(relations: list[np.ndarray], known: np.ndarray) -> tuple[np.ndarray, int]:
    """(int [E, 3], (item, kind, related item) of those whose related item is known; number of the others)."""
    table = np.concatenate([np.zeros([0, 3], np.int64), *relations])
    kept = (table[:, 1] >= 0) & (table[:, 2] >= 0)
    kept &= known[np.maximum(table[:, 2], 0)]
    return table[kept], int((~kept).sum())


def _first(value: tf.Tensor | tf.SparseTensor, default: Any) -> Any:
    values = (value.values if isinstance(value, tf.SparseTensor) else tf.reshape(value, [-1])).numpy()
    return values[0] if len(values) else default
