"""What texts and attributes say of items that no event is known of."""

from __future__ import annotations

from dataclasses import dataclass

import tensorflow as tf


@dataclass(frozen=True)
class DescribedItems:
    """A few items of a `models.item_encoder.ItemTable`, as tensors.

    Attributes:
      tokens: int64 [n, T], WordPiece ids of the item's text.
      categories, brands: int64 [n], 0 for none.
      price_buckets: int64 [n], 0 for unknown.
      prices: float32 [n], scaled, 0 for unknown.
      texts: string [n], title, brand and category as they are written.
    """

    tokens: tf.Tensor
    categories: tf.Tensor
    brands: tf.Tensor
    price_buckets: tf.Tensor
    prices: tf.Tensor
    texts: tf.Tensor


def put_rows(table: tf.Variable, rows: tf.Tensor, values: tf.Tensor) -> None:
    """Writes rows of a table, int [n] and [n, …]; its other rows stay."""
    table.scatter_update(tf.IndexedSlices(tf.cast(values, table.dtype), rows))
