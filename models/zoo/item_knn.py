"""Item-kNN: items that are met near each other in sequences."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from models.counted_model import CountedModel, CountedState
from models.neighbours import PairWeights, count_neighbours
from models.options import LossOptions, ModelOptions, number
from models.registry import Entry
from models.shopper import Shopper
from models.sizes import Sizes


@dataclass(frozen=True)
class ItemKnnOptions(ModelOptions):
    """What a configuration says of `item_knn`.

    Attributes:
      neighbours: kept for each item, those of largest weight.
      max_history: newest events that are read.
      decay: what an event counts for each known one after it.
      nearness: a pair of items at a distance of n events counts n^-nearness.
      backward: what a pair counts against the order of events.
      from_exponent, to_exponent: of the numbers of events of the item that was had and of the one that is ranked, by
        which a pair is divided.
      popularity: weight of the share of all events, which orders what has no neighbour in the history.
    """

    entry: str = "item_knn"
    neighbours: int = number(500, 1, 1e5)
    max_history: int = number(50, 1, 1e5)
    decay: float = number(0.7, 0.01, 1)
    nearness: float = number(0.5, 0, 10)
    backward: float = number(0.5, 0, 1)
    from_exponent: float = number(0.5, 0, 1)
    to_exponent: float = number(0.25, 0, 1)
    popularity: float = number(1e-6, 0, 1e3)


class ItemKnn(CountedModel):
    """score(j) = Σ_i decay^age(i) · w(i, j) over the items i of the newest events, w being `count_neighbours`'.

    The age of an event is the number of known ones after it; a little popularity is added to all.

    Args:
      items: V.
      options: `ItemKnnOptions`, or its values in a dict.

    Reference: Linden et al., Amazon.com Recommendations: Item-to-Item Collaborative Filtering (2003).
    """

    def __init__(self, items: int, options: ItemKnnOptions | dict[str, Any], **kwargs: Any) -> None:
        super().__init__(items, **{"name": "item_knn", **kwargs})
        self._options = ItemKnnOptions(**options) if isinstance(options, dict) else options
        shape = [items, min(self._options.neighbours, items)]
        self.neighbours = self.add_weight(
            name="neighbours", shape=shape, dtype="int32", initializer="zeros", trainable=False
        )
        self.weights_of = self.add_weight(name="weights_of", shape=shape, initializer="zeros", trainable=False)
        self.share = self.add_weight(name="share", shape=[items], initializer="zeros", trainable=False)
        self.built = True

    def count(self, shoppers: Iterable[Shopper]) -> None:
        options = self._options
        pairs = PairWeights(
            options.max_history, options.nearness, options.backward, options.from_exponent, options.to_exponent
        )
        sequences = (shopper.sequence for shopper in shoppers)
        found = count_neighbours(sequences, self.items, options.neighbours, pairs)
        self.neighbours.assign(found.rows)
        self.weights_of.assign(found.weights)
        self.share.assign(found.events / max(1.0, found.events.sum()))

    def raw_scores(self, state: CountedState) -> tf.Tensor:
        known = state.positions >= 0
        newer = tf.cumsum(tf.cast(known, tf.float32), axis=1, reverse=True, exclusive=True)
        counted = tf.logical_and(known, newer < self._options.max_history)
        batch = tf.shape(known)[0]
        where = tf.where(counted)
        rows = tf.gather_nd(state.positions, where)
        weights = tf.gather(self.weights_of, rows)
        weights *= tf.pow(tf.constant(self._options.decay), tf.gather_nd(newer, where))[:, tf.newaxis]
        users = tf.broadcast_to(tf.cast(where[:, :1], tf.int32), tf.shape(weights))
        places = tf.stack([users, tf.gather(self.neighbours, rows)], -1)
        scores = tf.scatter_nd(tf.reshape(places, [-1, 2]), tf.reshape(weights, [-1]), [batch, self.items])
        return scores + self._options.popularity * self.share

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name, "items": self.items, "options": vars(self._options).copy()}


def build(options: ItemKnnOptions, sizes: Sizes, losses: LossOptions) -> ItemKnn:
    """An ItemKnn of a shop's sizes."""
    del losses
    return ItemKnn(sizes.items, options)


ENTRY = Entry(
    purpose="Items met near those of the history in other users' sequences",
    task="ranking",
    gate_metric="ndcg@10",
    signatures=("rank", "recommend"),
    options=ItemKnnOptions,
    build=build,
)
