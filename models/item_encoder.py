"""From ids, text and attributes of the catalogue to item vectors."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from models import perturbation
from models.described_items import DescribedItems, put_rows
from models.related_items import NONE, RelatedItems


@dataclass(frozen=True)
class ItemTable:
    """What is known of V items, row i being the item of id i + FIRST_KNOWN_ID.

    Attributes:
      tokens: int [V, T], WordPiece ids of the item's text.
      categories, brands: int [V], 0 for none.
      price_buckets: int [V], 0 for unknown.
      prices: float [V], scaled, 0 for unknown.
      trained: bool [V], items with events in the training data: only their id embedding means something.
      servable: bool [V], items that may be recommended.
      texts: str [V], title, brand and category as they are written; None where no model reads them.
      images: float [V, w], embeddings of the items' images, all 0 for none; None where the data declares none.
      relations: int [E, 3], (item, kind of relation from 0, related item), the first of an item first; None as well.
    """

    tokens: np.ndarray
    categories: np.ndarray
    brands: np.ndarray
    price_buckets: np.ndarray
    prices: np.ndarray
    trained: np.ndarray
    servable: np.ndarray
    texts: Sequence[str] | None = None
    images: np.ndarray | None = None
    relations: np.ndarray | None = None

    def without_attributes(self) -> ItemTable:
        """The same items, of no known category, brand and price; their tokens may name both."""
        none = {
            name: np.zeros_like(getattr(self, name)) for name in ("categories", "brands", "price_buckets", "prices")
        }
        return dataclasses.replace(self, **none)


class ItemEncoder(tf.keras.layers.Layer):
    """r_i = id_i + W·text_i + category_i + brand_i + price bucket_i + price_i·w, the vector of every item.

    The id is left out for items without training events and, in training, for a random share of the others
    (`id_dropout`), so that text and attributes alone learn to carry an item (DropoutNet). All tables are variables.

    With `image_width`, U·x_i / ‖x_i‖ is added for items with an image embedding x_i. With `relations`, what
    `RelatedItems` makes of the r_j of the related items j (without what their own neighbours add to them) is added
    last. An item without events has both from the first day.

    Args:
      items: V.
      dimension: d.
      text_dimension: h, width of pooled text vectors.
      categories, brands, price_buckets: sizes of the vocabularies, the 0 for "none" included.
      id_dropout: share of ids hidden in training.
      image_width: w, numbers of an image embedding; 0 reads none.
      relations: kinds of relations; 0 reads none.
      neighbours: of each item and kind of relation at most so many related items count.

    Call arguments:
      text_vectors: float [V, h] or [R, h]; the stored table when None. With `rows`, related items have the stored one.
      rows: int [R], the items that are wanted; all when None.
      kept: float [V] or [R], what `kept` returned; drawn anew when None.

    Returns:
      float [V, d] or [R, d].

    Raises:
      ValueError: for an `id_dropout` outside [0, 1).

    Example:
      >>> encoder = ItemEncoder(items=3, dimension=4, text_dimension=5, categories=2, brands=2, price_buckets=3)
      >>> encoder(None).shape
      TensorShape([3, 4])

    Reference: Volkovs et al., DropoutNet: Addressing Cold Start in Recommender Systems (2017).
    """

    def __init__(
        self,
        items: int,
        dimension: int,
        text_dimension: int,
        categories: int,
        brands: int,
        price_buckets: int,
        id_dropout: float = 0.0,
        image_width: int = 0,
        relations: int = 0,
        neighbours: int = 8,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not 0 <= id_dropout < 1:
            raise ValueError(f"id_dropout must lie in [0, 1), not {id_dropout}.")
        self.items = items
        self.dimension = dimension
        self.text_dimension = text_dimension
        self.categories = categories
        self.brands = brands
        self.price_buckets = price_buckets
        self.id_dropout = id_dropout
        self.image_width = image_width
        self.relations = relations
        self.neighbours = neighbours
        self.text_projection = tf.keras.layers.Dense(
            dimension, use_bias=False, dtype=self.dtype_policy, name="text_projection"
        )
        if image_width:
            self.image_projection = tf.keras.layers.Dense(
                dimension, use_bias=False, dtype=self.dtype_policy, name="image_projection"
            )
        if relations:
            self.related_items = RelatedItems(
                items, dimension, relations, neighbours, dtype=self.dtype_policy, name="related_items"
            )
        self.build([])

    def build(self, input_shape: Any) -> None:
        if self.built:
            return

        def table(name: str, rows: int) -> tf.Variable:
            # An initializer of its own: a shared one gives every table the same values.
            small = tf.keras.initializers.RandomNormal(stddev=0.05)
            return self.add_weight(name=name, shape=[rows, self.dimension], initializer=small)

        def fixed(name: str, shape: list[int], dtype: str) -> tf.Variable:
            return self.add_weight(name=name, shape=shape, dtype=dtype, initializer="zeros", trainable=False)

        self.ids = table("ids", self.items)
        self.category_embeddings = table("category_embeddings", self.categories)
        self.brand_embeddings = table("brand_embeddings", self.brands)
        self.price_embeddings = table("price_embeddings", self.price_buckets)
        self.price_direction = self.add_weight(name="price_direction", shape=[self.dimension], initializer="zeros")
        self.text_vectors = fixed("text_vectors", [self.items, self.text_dimension], "float32")
        self.item_categories = fixed("item_categories", [self.items], "int64")
        self.item_brands = fixed("item_brands", [self.items], "int64")
        self.item_price_buckets = fixed("item_price_buckets", [self.items], "int64")
        self.item_prices = fixed("item_prices", [self.items], "float32")
        self.trained = fixed("trained", [self.items], "float32")
        self.text_projection.build([None, self.text_dimension])
        if self.image_width:
            self.image_vectors = fixed("image_vectors", [self.items, self.image_width], "float32")
            self.image_projection.build([None, self.image_width])
        super().build(input_shape)

    def set_table(self, table: ItemTable) -> None:
        """Stores the attributes of the catalogue; text vectors are set with `set_text_vectors`.

        Raises:
          ValueError: if the table lacks images or relations that the encoder reads, or images have another width.
        """
        if self.image_width:
            if table.images is None or table.images.shape[1:] != (self.image_width,):
                found = "no image embeddings" if table.images is None else f"images of shape {list(table.images.shape)}"
                raise ValueError(f"the table has {found}; expected [{self.items}, {self.image_width}].")
            norms = np.linalg.norm(table.images, axis=1, keepdims=True)
            self.image_vectors.assign(table.images / np.where(norms > 0, norms, 1))
        if self.relations:
            if table.relations is None:
                raise ValueError("the table has no relations; expected some, as the encoder reads them.")
            self.related_items.set_table(table.relations)
        self.item_categories.assign(table.categories)
        self.item_brands.assign(table.brands)
        self.item_price_buckets.assign(table.price_buckets)
        self.item_prices.assign(table.prices)
        self.trained.assign(table.trained.astype(np.float32))

    def set_text_vectors(self, vectors: tf.Tensor) -> None:
        """Stores pooled text vectors, float [V, h]."""
        self.text_vectors.assign(tf.cast(vectors, tf.float32))

    def put_rows(self, rows: tf.Tensor, items: DescribedItems) -> None:
        """Stores the attributes of n items in their rows, int64 [n]."""
        put_rows(self.item_categories, rows, items.categories)
        put_rows(self.item_brands, rows, items.brands)
        put_rows(self.item_price_buckets, rows, items.price_buckets)
        put_rows(self.item_prices, rows, items.prices)

    def put_texts(self, rows: tf.Tensor, pooled: tf.Tensor) -> None:
        """Stores pooled text vectors, float [n, h], in their rows, int64 [n]."""
        put_rows(self.text_vectors, rows, pooled)

    def readers(self, rows: tf.Tensor) -> tf.Tensor:
        """Int64 [m], the items whose vectors read what is known of some, int64 [n].

        These, and with relations those that have one of them as a neighbour.
        """
        if not self.relations:
            return rows
        meant = tf.scatter_nd(rows[:, tf.newaxis], tf.ones_like(rows), tf.constant([self.items], rows.dtype)) > 0
        related = self.related_items.of()
        near = tf.logical_and(related >= 0, tf.gather(meant, tf.maximum(related, 0)))
        return tf.where(tf.logical_or(meant, tf.reduce_any(near, [1, 2])))[:, 0]

    def kept(self, rows: tf.Tensor | None = None, training: bool = False) -> tf.Tensor:
        """Float [R], 1 for items whose id counts: those that training saw, less what `id_dropout` hides this time."""
        keep = tf.convert_to_tensor(self.trained) if rows is None else tf.gather(self.trained, rows)
        if training and self.id_dropout:
            keep = keep * tf.cast(perturbation.uniform(tf.shape(keep)) >= self.id_dropout, keep.dtype)
        return keep

    def call(
        self,
        text_vectors: tf.Tensor | None,
        rows: tf.Tensor | None = None,
        kept: tf.Tensor | None = None,
        training: bool = False,
    ) -> tf.Tensor:
        own = self._own(text_vectors, rows, self.kept(rows, training) if kept is None else kept)
        if not self.relations:
            return own
        related = self.related_items.of(rows)
        if rows is None:
            return own + tf.cast(self.related_items(own, related), own.dtype)
        others, places = tf.unique(tf.reshape(tf.maximum(related, 0), [-1]), tf.int64)
        places = tf.where(related >= 0, tf.reshape(places, tf.shape(related)), NONE)
        added = self.related_items(self._own(None, others, self.kept(others, training)), places)
        return own + tf.cast(added, own.dtype)

    def _own(self, text_vectors: tf.Tensor | None, rows: tf.Tensor | None, kept: tf.Tensor) -> tf.Tensor:
        """What an item is without its neighbours."""
        dtype = self.compute_dtype

        def wanted(table: tf.Tensor) -> tf.Tensor:
            return tf.convert_to_tensor(table) if rows is None else tf.gather(table, rows)

        keep = tf.cast(kept, dtype)
        categories, brands = wanted(self.item_categories), wanted(self.item_brands)
        price_buckets = wanted(self.item_price_buckets)
        with_attributes = (
            wanted(self.ids) * keep[:, tf.newaxis]
            + tf.gather(self.category_embeddings, categories) * _present(categories, dtype)
            + tf.gather(self.brand_embeddings, brands) * _present(brands, dtype)
            + tf.gather(self.price_embeddings, price_buckets) * _present(price_buckets, dtype)
            + wanted(self.item_prices)[:, tf.newaxis] * self.price_direction
        )
        text = wanted(self.text_vectors) if text_vectors is None else text_vectors
        if self.image_width:
            with_attributes += self.image_projection(wanted(self.image_vectors))
        return with_attributes + self.from_text(text)

    def from_text(self, pooled: tf.Tensor) -> tf.Tensor:
        """Vector of an item known by its text alone: [..., h] -> [..., d]."""
        return self.text_projection(pooled)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "items": self.items,
            "dimension": self.dimension,
            "text_dimension": self.text_dimension,
            "categories": self.categories,
            "brands": self.brands,
            "price_buckets": self.price_buckets,
            "id_dropout": self.id_dropout,
            "image_width": self.image_width,
            "relations": self.relations,
            "neighbours": self.neighbours,
        }


def _present(ids: tf.Tensor, dtype: str) -> tf.Tensor:
    return tf.cast(ids > 0, dtype)[:, tf.newaxis]
