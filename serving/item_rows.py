"""How a SavedModel reads what a table says of items, and writes it into the rows that it has of them."""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from models import features
from models.candidate_model import CandidateModel
from models.dense_inputs import dense_inputs
from models.described_items import DescribedItems
from serving.raw_features import as_specified, everything


class ItemRows(tf.Module):
    """Two functions beside the signatures, which no request reaches: `serving.refresh_catalogue` calls them.

    `read(text, category, brand, price)` takes n strings, strings, strings and float32 (NaN for unknown), and returns
    (tokens int64 [n, T], categories, brands, price_buckets int64 [n], prices float32 [n]) as the model has them; a
    category or brand that training did not meet is none. `write(rows, tokens, categories, brands, price_buckets,
    prices, texts)` writes n items into their rows of the model's variables, `write_attributes` of the same all but
    their texts.

    Args:
      model: that `put_items` is asked of.
      transform: raw features -> transformed ones (Transform's graph).
      raw_spec: parsing spec of the raw features, those of the catalogue's items among them.
      title_length: T.
    """

    def __init__(
        self,
        model: CandidateModel,
        transform: Callable[[Mapping[str, Any]], Mapping[str, Any]],
        raw_spec: Mapping[str, Any],
        title_length: int,
    ) -> None:
        super().__init__(name="item_rows")
        self._untracked = types.SimpleNamespace(model=model, transform=transform)
        self._raw_spec = dict(raw_spec)
        self._title_length = title_length

        def spec(dtype: tf.DType, *shape: int) -> tf.TensorSpec:
            return tf.TensorSpec([None, *shape], dtype)

        texts, numbers, prices = spec(tf.string), spec(tf.int64), spec(tf.float32)
        self.read = tf.function(self._read, input_signature=[texts, texts, texts, prices])
        written = [numbers, spec(tf.int64, title_length), numbers, numbers, numbers, prices, texts]
        self.write = tf.function(self._write, input_signature=written)
        self.write_attributes = tf.function(self._write_attributes, input_signature=written)

    def _read(self, text: tf.Tensor, category: tf.Tensor, brand: tf.Tensor, price: tf.Tensor) -> list[tf.Tensor]:
        nothing = tf.zeros_like(text)
        known = tf.logical_not(tf.math.is_nan(price))[:, tf.newaxis]
        values = {
            features.PROFILE_TEXT: nothing,
            features.QUERY: nothing,
            features.ITEM_CATEGORY: category,
            features.ITEM_BRAND: brand,
        }
        raw: dict[str, Any] = {name: as_specified(value, self._raw_spec[name]) for name, value in values.items()}
        raw[features.CANDIDATE_TEXT] = everything(text[:, tf.newaxis])
        raw[features.ITEM_PRICE] = tf.ragged.boolean_mask(price[:, tf.newaxis], known).to_sparse()
        transformed = self._untracked.transform(raw)
        lists = (features.CANDIDATE_TEXT_POSITIONS_XF, features.CANDIDATE_TOKENS_XF)
        tokens = dense_inputs({name: transformed[name] for name in lists}, self._title_length)
        ids = [transformed[name][:, 0] for name in (features.ITEM_CATEGORY_XF, features.ITEM_BRAND_XF)]
        none = tf.constant(features.PADDING_ID, tf.int64)  # what training did not meet has no vector that was learned
        ids = [tf.where(tf.equal(values, features.UNKNOWN_ID), none, values) for values in ids]
        numbers = [transformed[name][:, 0] for name in (features.ITEM_PRICE_BUCKET_XF, features.ITEM_PRICE_SCALED_XF)]
        return [tokens[features.CANDIDATE_TOKENS_XF][:, 0], *ids, *numbers]

    def _write(self, rows: tf.Tensor, *described: tf.Tensor) -> tf.Tensor:
        self._untracked.model.put_items(rows, DescribedItems(*described))
        return tf.size(rows)

    def _write_attributes(self, rows: tf.Tensor, *described: tf.Tensor) -> tf.Tensor:
        self._untracked.model.put_items(rows, DescribedItems(*described), texts=False)
        return tf.size(rows)
