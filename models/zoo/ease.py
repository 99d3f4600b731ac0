"""EASE^R: a linear autoencoder over the catalogue, in closed form."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from models.counted_model import CountedModel, CountedState
from models.item_regression import MOST_ITEMS, check_size, item_weights
from models.options import LossOptions, ModelOptions, number
from models.paths import named_items
from models.registry import Entry
from models.shopper import Shopper
from models.sizes import Sizes


@dataclass(frozen=True)
class EaseOptions(ModelOptions):
    """What a configuration says of `ease`.

    Attributes:
      regularisation: λ, added to the diagonal of the counts.
      own_items: what is added to items of the history, which the model itself is not asked about; where people buy
        again.
    """

    entry: str = "ease"
    regularisation: float = number(200.0, 1e-3, 1e6)
    own_items: float = number(0.0, 0, 1e3)


class Ease(CountedModel):
    """scores = x·B, with x the user's distinct items and B the weights of `models.item_regression`.

    Args:
      items: V, at most 30,000.
      regularisation, own_items: as in `EaseOptions`.

    Raises:
      ValueError: for a larger catalogue.

    Reference: Steck, Embarrassingly Shallow Autoencoders for Sparse Data (2019).
    """

    def __init__(self, items: int, regularisation: float, own_items: float, **kwargs: Any) -> None:
        check_size(items)
        super().__init__(items, **{"name": "ease", **kwargs})
        self.regularisation, self.own_items = regularisation, own_items
        self.matrix = self.add_weight(name="matrix", shape=[items, items], initializer="zeros", trainable=False)
        self.built = True

    @property
    def most_items(self) -> int:
        return MOST_ITEMS

    def count(self, shoppers: Iterable[Shopper]) -> None:
        self.matrix.assign(item_weights((one.sequence for one in shoppers), self.items, self.regularisation))

    def raw_scores(self, state: CountedState) -> tf.Tensor:
        had = named_items(state.positions, self.items)
        return tf.matmul(had, tf.convert_to_tensor(self.matrix)) + self.own_items * had

    def get_config(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "items": self.items,
            "regularisation": self.regularisation,
            "own_items": self.own_items,
        }


def build(options: EaseOptions, sizes: Sizes, losses: LossOptions) -> Ease:
    """An Ease of a shop's sizes."""
    del losses
    return Ease(sizes.items, options.regularisation, options.own_items)


ENTRY = Entry(
    purpose="What goes with the user's items, by a linear model in closed form",
    task="ranking",
    gate_metric="ndcg@10",
    signatures=("rank", "recommend"),
    options=EaseOptions,
    build=build,
)
