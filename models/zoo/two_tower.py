"""Two towers: one for the user, one for the item, joined by a scalar product."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf

from models import features, losses, perturbation
from models.catalogue_model import CatalogueModel, Tensors, catalogue_rows
from models.described_items import DescribedItems
from models.item_encoder import ItemEncoder, ItemTable
from models.options import LossOptions, ModelOptions, number
from models.registry import Entry
from models.sizes import Sizes
from models.user_state import UserState


@dataclass(frozen=True)
class TwoTowerOptions(ModelOptions):
    """What a configuration says of `two_tower`.

    Attributes:
      dimension: d, width of both towers' answers.
      hidden: widths of the hidden layers of each tower.
      dropout: of what enters a tower.
      id_dropout: share of item ids hidden in training, so that attributes alone learn to carry an item.
    """

    entry: str = "two_tower"
    dimension: int = number(64, 1, 1e5)
    hidden: tuple[int, ...] = number((128,), 1, 1e5)
    dropout: float = number(0.2, 0, 0.99)
    id_dropout: float = number(0.1, 0, 0.99)


@dataclass
class TwoTowerState(UserState):
    """`UserState` with the catalogue's vectors, float [V, d]."""

    items: tf.Tensor


class TwoTower(CatalogueModel):
    """score(i) = cos(u, r_i) / t, with u and r made by two multilayer perceptrons and t learned.

    The user tower reads the mean of the distinct history items' input vectors, that of the newest one, and the context
    columns; the item tower an item's id, category, brand and price. It is trained with the softmax over the catalogue.

    Args:
      sizes: of the shop, or their values in a dict.
      options: `TwoTowerOptions`, or their values in a dict.
      label_smoothing: of the loss.

    Reference: Yi et al., Sampling-Bias-Corrected Neural Modeling for Large Corpus Item Recommendations (2019).
    """

    READS_ITEMS: ClassVar[bool] = True
    COMPUTES_VECTORS: ClassVar[bool] = True

    def __init__(
        self,
        sizes: Sizes | dict[str, Any],
        options: TwoTowerOptions | dict[str, Any],
        label_smoothing: float = 0.0,
        **kwargs: Any,
    ) -> None:
        shop = Sizes(**sizes) if isinstance(sizes, dict) else sizes
        super().__init__(shop.items, **{"name": "two_tower", **kwargs})
        self._sizes = shop
        self._options = TwoTowerOptions(**options) if isinstance(options, dict) else options
        self.label_smoothing = label_smoothing
        width = self._options.dimension
        self.item_inputs = ItemEncoder(
            self.items,
            width,
            1,
            self._sizes.categories,
            self._sizes.brands,
            self._sizes.price_buckets,
            self._options.id_dropout,
            name="item_inputs",
        )
        self.context_embeddings = {
            column: tf.keras.layers.Embedding(size, 8, name=f"{column}_embedding")
            for column, size in sorted(self._sizes.context.items())
        }
        for embedding in self.context_embeddings.values():
            embedding.build([None])
        self.user_tower = self._tower("user_tower", 2 * width + 8 * len(self.context_embeddings))
        self.item_tower = self._tower("item_tower", width)
        self.log_scale = self.add_weight(
            name="log_scale", shape=[], initializer=tf.constant_initializer(float(np.log(10.0)))
        )
        self.built = True

    def _tower(self, name: str, width: int) -> tf.keras.Sequential:
        layers = [tf.keras.layers.Dropout(self._options.dropout)]
        layers += [tf.keras.layers.Dense(units, activation="relu") for units in self._options.hidden]
        tower = tf.keras.Sequential([*layers, tf.keras.layers.Dense(self._options.dimension)], name=name)
        tower.build([None, width])
        return tower

    def set_catalogue(self, table: ItemTable, sales: np.ndarray, first_day: int) -> None:
        super().set_catalogue(table, sales, first_day)
        self.item_inputs.set_table(table)

    def put_items(self, rows: tf.Tensor, items: DescribedItems, texts: bool = True) -> None:
        self.item_inputs.put_rows(rows, items)
        super().put_items(rows, items, texts)

    def encode_user(self, inputs: Tensors, training: bool = False) -> TwoTowerState:
        positions = catalogue_rows(inputs[features.HISTORY_ITEMS_XF])
        rows = tf.maximum(positions, 0)
        if self.kept_vectors is None:
            entering = self.item_inputs(None, training=training)
            events, items = tf.gather(entering, rows), self._encoded(entering, training)
        else:
            entering = self.item_inputs(None, tf.reshape(rows, [-1]))
            events = tf.reshape(entering, [*tf.unstack(tf.shape(rows)), self._options.dimension])
            items = tf.convert_to_tensor(self.kept_vectors)
        known = tf.cast(positions >= 0, events.dtype)[:, :, tf.newaxis]
        events = perturbation.embedded(events * known) * known
        mean = tf.math.divide_no_nan(tf.reduce_sum(events, 1), tf.reduce_sum(known, 1))
        places = tf.range(1, tf.shape(positions)[1] + 1)
        newest = tf.argmax(tf.where(positions >= 0, places, 0), 1)
        parts = [mean, tf.gather(events, newest, batch_dims=1)]
        parts += [
            embedding(inputs[features.context_xf(column)]) for column, embedding in self.context_embeddings.items()
        ]
        vector = tf.math.l2_normalize(self.user_tower(tf.concat(parts, -1), training=training), -1)
        return TwoTowerState(vector=vector, positions=positions, items=items)

    def raw_scores(self, state: TwoTowerState) -> tf.Tensor:
        scores = tf.matmul(state.vector, state.items, transpose_b=True)
        return tf.cast(scores, tf.float32) * tf.exp(tf.cast(self.log_scale, tf.float32))

    def item_vectors(self, rows: tf.Tensor | None = None) -> tf.Tensor:
        return self._encoded(self.item_inputs(None, rows), training=False)

    def _encoded(self, entering: tf.Tensor, training: bool) -> tf.Tensor:
        return tf.math.l2_normalize(self.item_tower(entering, training=training), -1)

    def compute_losses(self, inputs: Tensors, labels: tf.Tensor, training: bool) -> dict[str, tf.Tensor]:
        scores = self.score_catalogue(self.encode_user(inputs, training=training))
        rows = catalogue_rows(inputs[features.CANDIDATE_ITEMS_XF])
        positives = tf.where(labels > 0, rows, -1)
        allowed = tf.gather(self.servable, tf.maximum(positives, 0)) > 0
        loss = losses.catalogue_cross_entropy(scores, tf.where(allowed, positives, -1), self.label_smoothing)
        return {"loss": loss, "catalogue": loss}

    def get_config(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "sizes": vars(self._sizes).copy(),
            "options": vars(self._options).copy(),
            "label_smoothing": self.label_smoothing,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> TwoTower:
        del custom_objects
        return cls(**config)


def build(options: TwoTowerOptions, sizes: Sizes, loss_options: LossOptions) -> TwoTower:
    """An untrained TwoTower of a shop's sizes."""
    return TwoTower(sizes, options, loss_options.label_smoothing)


ENTRY = Entry(
    purpose="User and item vectors for retrieval, from ids, attributes and context",
    task="ranking",
    gate_metric="ndcg@10",
    signatures=("rank", "recommend"),
    options=TwoTowerOptions,
    build=build,
    losses=("label_smoothing",),
)
