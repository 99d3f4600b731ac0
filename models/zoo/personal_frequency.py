"""Personal frequency: what a user chose most often, and lately."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from models.counted_model import CountedModel, CountedState, summed
from models.item_encoder import ItemTable
from models.options import LossOptions, ModelOptions, number
from models.registry import Entry
from models.sizes import Sizes


@dataclass(frozen=True)
class PersonalFrequencyOptions(ModelOptions):
    """What a configuration says of `personal_frequency`.

    Attributes:
      half_life_days: after so many days an event counts half; 0 counts all alike.
      crowd_days: items that the user never had are ordered by label events of the last so many days; 0 takes all.
    """

    entry: str = "personal_frequency"
    half_life_days: float = number(0.0, 0, 1e6)
    crowd_days: int = number(0, 0, 1e5)


class PersonalFrequency(CountedModel):
    """score(i) = Σ 2^(-age/half-life) over the user's events of item i, plus less than any of them by popularity.

    Args:
      items: V.
      half_life_days, crowd_days: as in `PersonalFrequencyOptions`.

    Reference: the personal frequency that next-basket recommenders rarely beat, Hu et al., TIFU-KNN (2020).
    """

    def __init__(self, items: int, half_life_days: float, crowd_days: int, **kwargs: Any) -> None:
        super().__init__(items, **{"name": "personal_frequency", **kwargs})
        self.half_life_days, self.crowd_days = half_life_days, crowd_days
        self.crowd = self.add_weight(name="crowd", shape=[items], initializer="zeros", trainable=False)
        self.built = True

    def set_catalogue(self, table: ItemTable, sales: np.ndarray, first_day: int) -> None:
        super().set_catalogue(table, sales, first_day)
        total = sales.sum(0)
        recent = sales[-self.crowd_days :].sum(0)
        # At most 1e-6, less than an event of long ago counts; all sales order what has none of late.
        self.crowd.assign(1e-6 * (recent / (1 + recent.max()) + 1e-3 * total / (1 + total.max())))

    def raw_scores(self, state: CountedState) -> tf.Tensor:
        weights = tf.ones_like(state.gaps)
        if self.half_life_days:
            weights = tf.maximum(tf.pow(2.0, -state.gaps / self.half_life_days), 1e-5)
        return summed(state.positions, weights, self.items) + self.crowd

    def get_config(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "items": self.items,
            "half_life_days": self.half_life_days,
            "crowd_days": self.crowd_days,
        }


def build(options: PersonalFrequencyOptions, sizes: Sizes, losses: LossOptions) -> PersonalFrequency:
    """A PersonalFrequency of a shop's sizes."""
    del losses
    return PersonalFrequency(sizes.items, options.half_life_days, options.crowd_days)


ENTRY = Entry(
    purpose="What a user chose most often and lately, then what is popular",
    task="ranking",
    gate_metric="ndcg@10",
    signatures=("rank", "recommend"),
    options=PersonalFrequencyOptions,
    build=build,
)
