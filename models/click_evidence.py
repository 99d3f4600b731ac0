"""What speaks for a click beside the pair's text: the item itself, and how it fits what the user did and asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from models import features
from models.described_items import DescribedItems
from models.item_encoder import ItemEncoder, ItemTable
from models.lexical_path import LexicalPath
from models.paths import PopularityPath
from models.sizes import Sizes
from models.word_bag import WordBag


@dataclass(frozen=True)
class UserSide:
    """What the layer reads of B users.

    Attributes:
      positions: int [B, H], rows of the catalogue of the history, -1 for none.
      types: int [B, H], ids of the event types.
      gaps: float [B, H], ages of the events in days.
      query, profile: int [B, …], tokens.
      context: name of each context column -> int [B].
      day: int [B], of the request, days since 1970-01-01 UTC.
      shown: int [B, N], rows of the catalogue of the decision's candidates, -1 for none.
    """

    positions: tf.Tensor
    types: tf.Tensor
    gaps: tf.Tensor
    query: tf.Tensor
    profile: tf.Tensor
    context: dict[str, tf.Tensor]
    day: tf.Tensor
    shown: tf.Tensor


class ClickEvidence(tf.keras.layers.Layer):
    """logit = w·f + MLP([u∘r, r, f]) of pairs of a user and an item.

    r is the item's vector (id, category, brand, price, as `ItemEncoder` has them, and the words of its title). u is
    linear in the mean vector of the history's events, each weighed by its type and exp(-age/τ), in the context columns,
    and in the words of query and profile text. f are numbers of the pair: the share of the query's and of the profile
    text's weight that the title covers and that any title does (`LexicalPath`), whether there is a query, how long the
    history is, for each τ log(1 + Σ exp(-age/τ)) over the history's events of the same item, category and brand, the
    squared distance of the item's scaled price from the history's mean one, and how often the item was chosen by
    anybody in windows before the day of the request (`PopularityPath`; what is asked about is not among them). With
    `use_slate` also what is shown beside the item, of the candidates that the catalogue knows: the share of the others
    of its category and of its brand, and the greatest share that one category has of all. A shop that shows what it
    takes a shopper to want says so by what it shows.

    An item that the catalogue does not know has the words of its title alone.

    Args:
      sizes: of the shop, or their values in a dict.
      dimension: d.
      decay_days: time constants τ, in days; the mean vector has the longest one.
      hidden: widths of the MLP's hidden layers.
      dropout: of the item vectors in r and u, and of the hidden layers.
      id_dropout: share of item ids hidden in training.
      use_slate: read what is shown beside an item.
      popularity_days: lengths of the windows, in days.

    Call arguments:
      user: `UserSide` of B users.
      owners: int [P], which of them each pair is of.
      rows: int [P], the item's row of the catalogue, -1 if it is not known.
      tokens: int [P, T], of its title.

    Returns:
      float32 [P].

    Raises:
      ValueError: if a time constant is not positive.

    Example:
      >>> shop = Sizes(2, 3, 2, 2, 2, 2, {}, wordpieces=9, special_tokens=(0,), text_length=3, days=1)
      >>> none, text = tf.constant([[-1]]), tf.constant([[5, 6, 0]])
      >>> user = UserSide(none, none + 1, tf.zeros([1, 1]), text, text, {}, tf.constant([1]), tf.constant([[1, -1]]))
      >>> titles = tf.constant([[5, 0, 0], [0, 0, 0]])
      >>> ClickEvidence(shop)(user, tf.constant([0, 0]), tf.constant([1, -1]), titles).shape
      TensorShape([2])

    Reference: wide and deep parts after Cheng et al., Wide & Deep Learning for Recommender Systems (2016); products of
    vectors after Rendle, Factorization Machines (2010); that a candidate is read beside the others after Ai et al.,
    Learning a Deep Listwise Context Model for Ranking Refinement (2018).
    """

    def __init__(
        self,
        sizes: Sizes | dict[str, Any],
        dimension: int = 16,
        decay_days: Sequence[float] = (7.0, 30.0, 120.0),
        hidden: Sequence[int] = (32,),
        dropout: float = 0.2,
        id_dropout: float = 0.1,
        use_slate: bool = False,
        popularity_days: Sequence[int] = (7, 30, 365),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if any(days <= 0 for days in decay_days):
            raise ValueError(f"decay_days must be positive, not {tuple(decay_days)}.")
        self._sizes = shop = Sizes(**sizes) if isinstance(sizes, dict) else sizes
        self.dimension = dimension
        self.decay_days = tuple(float(days) for days in decay_days)
        self.hidden = tuple(int(width) for width in hidden)
        self.dropout = dropout
        self.id_dropout = id_dropout
        self.use_slate = use_slate
        policy = self.dtype_policy
        self.item_inputs = ItemEncoder(
            shop.items,
            dimension,
            1,
            shop.categories,
            shop.brands,
            shop.price_buckets,
            id_dropout,
            dtype=policy,
            name="item_inputs",
        )
        self.item_inputs.text_projection.trainable = False  # of pooled texts, which are not read here
        self.words = WordBag(shop.wordpieces, dimension, shop.special_tokens, dtype=policy, name="words")
        self.asked_words = WordBag(shop.wordpieces, dimension, shop.special_tokens, dtype=policy, name="asked_words")
        self.told_words = WordBag(shop.wordpieces, dimension, shop.special_tokens, dtype=policy, name="told_words")
        self.lexical_path = LexicalPath(
            shop.wordpieces, shop.items, shop.text_length, shop.special_tokens, name="lexical_path"
        )
        self.popularity_path = PopularityPath(
            shop.items, shop.days, popularity_days, dtype="float32", name="popularity_path"
        )
        self.context_embeddings = {
            column: tf.keras.layers.Embedding(size, dimension, dtype=policy, name=f"{column}_embedding")
            for column, size in sorted(shop.context.items())
        }
        self.taste = tf.keras.layers.Dense(dimension, dtype=policy, name="taste")
        self.drop = tf.keras.layers.Dropout(dropout, dtype=policy, name="drop")
        self.layers_of_head = [
            tf.keras.layers.Dense(width, activation="gelu", dtype=policy, name=f"hidden_{place}")
            for place, width in enumerate(self.hidden)
        ]
        self.out = tf.keras.layers.Dense(1, dtype="float32", name="out")
        self.wide = tf.keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros", dtype="float32", name="wide")
        self.build([])

    def build(self, input_shape: Any) -> None:
        if self.built:
            return
        for embedding in self.context_embeddings.values():
            embedding.build([None])
        self.type_weights = self.add_weight(name="type_weights", shape=[self._sizes.event_types], initializer="ones")
        self.taste.build([None, self.dimension])
        numbers = 7 + 3 * len(self.decay_days) + self.popularity_path.width + 3 * self.use_slate
        self.wide.build([None, numbers])
        width = 2 * self.dimension + numbers
        for layer in self.layers_of_head:
            layer.build([None, width])
            width = layer.units
        self.out.build([None, width])
        super().build(input_shape)

    def set_table(self, table: ItemTable, sales: np.ndarray, first_day: int) -> None:
        """Stores what is known of the items, how often they were chosen, [days, V], and the first of these days."""
        self.popularity_path.set_table(sales, first_day)
        self.item_inputs.set_table(table)
        self.lexical_path.set_table(table.tokens)

    def put_rows(self, rows: tf.Tensor, items: DescribedItems, texts: bool = True) -> None:
        """Stores the attributes of n items in their rows, int64 [n], and their texts."""
        self.item_inputs.put_rows(rows, items)
        if texts:
            self.lexical_path.put_rows(rows, items.tokens)

    def call(
        self, user: UserSide, owners: tf.Tensor, rows: tf.Tensor, tokens: tf.Tensor, training: bool = False
    ) -> tf.Tensor:
        known = tf.maximum(rows, 0)
        items = self.item_inputs(None, known, training=training) * tf.cast(rows >= 0, self.compute_dtype)[:, tf.newaxis]
        items = self.drop(items + self.words(tokens), training=training)
        joined = [items * tf.gather(self._taste(user, training), owners), items]
        trend = self.popularity_path.of_pairs(tf.gather(user.day, owners), rows)
        found = [self._matches(user, owners, tokens), self._habits(user, owners, rows), trend]
        if self.use_slate:
            found.append(self._slate(user.shown, owners, rows))
        numbers = tf.concat(found, -1)
        states = tf.concat([*joined, tf.cast(numbers, self.compute_dtype)], -1)
        for layer in self.layers_of_head:
            states = self.drop(layer(states), training=training)
        return (self.out(tf.cast(states, tf.float32)) + self.wide(numbers))[:, 0]

    def _taste(self, user: UserSide, training: bool) -> tf.Tensor:
        """u, [B, d]."""
        real = user.positions >= 0
        events = self.item_inputs(None, tf.reshape(tf.maximum(user.positions, 0), [-1]), training=training)
        events = tf.reshape(events, tf.concat([tf.shape(real), [self.dimension]], 0))
        weights = tf.nn.relu(tf.gather(tf.cast(self.type_weights, tf.float32), user.types))
        weights *= tf.where(real, tf.exp(-tf.cast(user.gaps, tf.float32) / max(self.decay_days)), 0.0)
        share = tf.math.divide_no_nan(weights, tf.reduce_sum(weights, 1, keepdims=True))
        parts = self.taste(tf.einsum("bh,bhd->bd", tf.cast(share, self.compute_dtype), events))
        parts += self.asked_words(user.query) + self.told_words(user.profile)
        for column, embedding in self.context_embeddings.items():
            parts += embedding(user.context[column])
        return parts

    def _matches(self, user: UserSide, owners: tf.Tensor, tokens: tf.Tensor) -> tf.Tensor:
        """Words in common, whether there is a query, how much is known of the user: float32 [P, 6]."""
        texts = (user.query, user.profile)
        found = [self.lexical_path.of_texts(text, owners, tokens) for text in texts]
        held = [self.lexical_path.held_share(text) for text in texts]
        asked = tf.reduce_any(user.query != 0, 1)
        events = tf.reduce_sum(tf.cast(user.positions >= 0, tf.float32), 1)
        of_user = tf.stack([*held, tf.cast(asked, tf.float32), tf.math.log1p(events) / 5], -1)
        return tf.concat([tf.stack(found, -1), tf.gather(of_user, owners)], -1)

    def _habits(self, user: UserSide, owners: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
        """What the history says of item, category, brand and price: float32 [P, 3·τ + 1]."""
        positions = tf.gather(user.positions, owners)
        real = tf.logical_and(positions >= 0, rows[:, tf.newaxis] >= 0)
        events, item = tf.maximum(positions, 0), tf.maximum(rows, 0)[:, tf.newaxis]
        same = [tf.logical_and(real, events == item)]
        for table in (self.item_inputs.item_categories, self.item_inputs.item_brands):
            of_event, of_item = tf.gather(table, events), tf.gather(table, item)
            same.append(tf.logical_and(tf.logical_and(real, of_item >= features.FIRST_KNOWN_ID), of_event == of_item))
        ages = tf.gather(tf.cast(user.gaps, tf.float32), owners)[:, :, tf.newaxis]
        decay = tf.exp(-ages / tf.constant(self.decay_days))
        found = [tf.math.log1p(tf.einsum("ph,pht->pt", tf.cast(which, tf.float32), decay)) for which in same]
        prices = tf.cast(self.item_inputs.item_prices, tf.float32)
        counted = tf.cast(real, tf.float32)
        usual = tf.math.divide_no_nan(tf.reduce_sum(tf.gather(prices, events) * counted, 1), tf.reduce_sum(counted, 1))
        distance = tf.square(tf.gather(prices, item[:, 0]) - usual) * tf.reduce_max(counted, 1)
        return tf.concat([*found, tf.minimum(distance, 9.0)[:, tf.newaxis]], -1)

    def _slate(self, shown: tf.Tensor, owners: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
        """What the other candidates have in common with each: float32 [P, 3]."""
        tables = (self.item_inputs.item_categories, self.item_inputs.item_brands)
        category, brand = (tf.where(shown >= 0, tf.gather(table, tf.maximum(shown, 0)), 0) for table in tables)
        count = tf.reduce_sum(tf.cast(shown >= 0, tf.float32), 1)
        known = category[:, tf.newaxis] >= features.FIRST_KNOWN_ID
        alike = tf.logical_and(category[:, tf.newaxis] == category[:, :, tf.newaxis], known)
        largest = tf.reduce_max(tf.reduce_sum(tf.cast(alike, tf.float32), 2), 1)
        found = []
        for table, of_shown in zip(tables, (category, brand), strict=True):
            own = tf.where(rows >= 0, tf.gather(table, tf.maximum(rows, 0)), 0)[:, tf.newaxis]
            same = tf.logical_and(tf.gather(of_shown, owners) == own, own >= features.FIRST_KNOWN_ID)
            others = tf.reduce_sum(tf.cast(same, tf.float32), 1) - 1  # it is one of those shown itself
            found.append(tf.math.divide_no_nan(tf.maximum(others, 0), tf.gather(count, owners) - 1))
        return tf.stack([*found, tf.gather(tf.math.divide_no_nan(largest, count), owners)], -1)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "sizes": vars(self._sizes).copy(),
            "dimension": self.dimension,
            "decay_days": self.decay_days,
            "hidden": self.hidden,
            "dropout": self.dropout,
            "id_dropout": self.id_dropout,
            "use_slate": self.use_slate,
            "popularity_days": self.popularity_path.windows,
        }
