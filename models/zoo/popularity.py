"""Popularity: what sells most of late, the same for everybody."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from models.counted_model import CountedModel, CountedState
from models.item_encoder import ItemTable
from models.options import LossOptions, ModelOptions, number
from models.registry import Entry
from models.sizes import Sizes


@dataclass(frozen=True)
class PopularityOptions(ModelOptions):
    """What a configuration says of `popularity`.

    Attributes:
      window_days: label events of so many days before the request count; 0 counts all.
    """

    entry: str = "popularity"
    window_days: int = number(0, 0, 1e5)


class Popularity(CountedModel):
    """score(i) = log(1 + label events of item i in the days before the request), plus a little for older ones.

    Args:
      items: V.
      days: rows of the table of label events per day.
      window_days: days that count; 0 for all.

    Example:
      >>> from models import features
      >>> model = Popularity(items=2, days=3, window_days=0)
      >>> model.name
      'popularity'
    """

    def __init__(self, items: int, days: int, window_days: int, **kwargs: Any) -> None:
        super().__init__(items, **{"name": "popularity", **kwargs})
        self.days, self.window_days = days, window_days
        #: Row d: label events before day d of the table.
        self.cumulative = self.add_weight(
            name="cumulative", shape=[days + 1, items], initializer="zeros", trainable=False
        )
        self.first_day = self.add_weight(
            name="first_day", shape=[], dtype="int64", initializer="zeros", trainable=False
        )
        self.built = True

    def set_catalogue(self, table: ItemTable, sales: np.ndarray, first_day: int) -> None:
        super().set_catalogue(table, sales, first_day)
        self.cumulative.assign(np.concatenate([np.zeros_like(sales[:1]), np.cumsum(sales, 0)]))
        self.first_day.assign(first_day)

    def raw_scores(self, state: CountedState) -> tf.Tensor:
        end = tf.clip_by_value(tf.cast(state.day, tf.int64) - self.first_day, 0, self.days)
        before = tf.gather(self.cumulative, end)
        if not self.window_days:
            return tf.math.log1p(before)
        start = tf.maximum(end - self.window_days, 0)
        recent = before - tf.gather(self.cumulative, start)
        # Older sales order what has none of late; all of them weigh less than a single recent one.
        older = before / (1 + tf.reduce_max(before, 1, keepdims=True))
        return tf.math.log1p(recent) + 1e-3 * older

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name, "items": self.items, "days": self.days, "window_days": self.window_days}


def build(options: PopularityOptions, sizes: Sizes, losses: LossOptions) -> Popularity:
    """A Popularity of a shop's sizes."""
    del losses
    return Popularity(sizes.items, sizes.days, options.window_days)


ENTRY = Entry(
    purpose="What sells most of late, the same for everybody",
    task="ranking",
    gate_metric="ndcg@10",
    signatures=("rank", "recommend"),
    options=PopularityOptions,
    build=build,
)
