"""DIN: attention from the item in question to the events of the history."""

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
from models.slice_autoencoder import newest_positions
from models.user_state import UserState


@dataclass(frozen=True)
class DinOptions(ModelOptions):
    """What a configuration says of `din`.

    Attributes:
      dimension: d, width of item vectors.
      max_history: newest events that are read.
      attention: width of the hidden layer of the attention unit.
      hidden: widths of the hidden layers of the head.
      dropout: of the head's layers.
      id_dropout: share of item ids hidden in training.
      items_at_once: items of the catalogue that are scored at a time, which bounds memory.
    """

    entry: str = "din"
    dimension: int = number(32, 1, 1e5)
    max_history: int = number(20, 1, 1e5)
    attention: int = number(16, 1, 1e5)
    hidden: tuple[int, ...] = number((64, 32), 1, 1e5)
    dropout: float = number(0.2, 0, 0.99)
    id_dropout: float = number(0.1, 0, 0.99)
    items_at_once: int = number(500, 1, 1e6)


@dataclass
class DinState(UserState):
    """`UserState` with what the attention unit reads.

    Attributes:
      events: float [B, L, d], vectors of the newest events.
      mask: float [B, L].
      context: float [B, c].
      items: float [V, d], the catalogue's vectors.
    """

    events: tf.Tensor
    mask: tf.Tensor
    context: tf.Tensor
    items: tf.Tensor


class Din(CatalogueModel):
    """score(i) = MLP([Σ_l a(e_l, r_i)·e_l, r_i, their product, context]), the attention a not normalised.

    a(e, r) = v·relu(W·[e, r, e - r, e∘r] + b). It is trained on labelled candidates, with binary or listwise
    cross-entropy. Scoring the whole catalogue costs V times a candidate: DIN is for ranking few.

    Args:
      sizes: of the shop, or their values in a dict.
      options: `DinOptions`, or their values in a dict.
      loss_weights: of `binary` and `listwise`.

    Raises:
      ValueError: if neither loss has a weight.

    Reference: Zhou et al., Deep Interest Network for Click-Through Rate Prediction (2018).
    """

    LOSSES: ClassVar[tuple[str, ...]] = ("listwise", "binary")
    TRACKED: ClassVar[tuple[str, ...]] = ("listwise", "binary")
    READS_ITEMS: ClassVar[bool] = True
    COMPUTES_VECTORS: ClassVar[bool] = True

    def __init__(
        self,
        sizes: Sizes | dict[str, Any],
        options: DinOptions | dict[str, Any],
        loss_weights: dict[str, float],
        **kwargs: Any,
    ) -> None:
        shop = Sizes(**sizes) if isinstance(sizes, dict) else sizes
        if not any(loss_weights.get(name) for name in self.LOSSES):
            raise ValueError("din learns from candidates; expected a weight for `losses.binary` or `losses.listwise`.")
        super().__init__(shop.items, **{"name": "din", **kwargs})
        self._sizes = shop
        self._options = DinOptions(**options) if isinstance(options, dict) else options
        self._loss_weights = dict(loss_weights)
        width = self._options.dimension
        self.item_inputs = ItemEncoder(
            shop.items,
            width,
            1,
            shop.categories,
            shop.brands,
            shop.price_buckets,
            self._options.id_dropout,
            name="item_inputs",
        )
        self.context_embeddings = {
            column: tf.keras.layers.Embedding(size, 8, name=f"{column}_embedding")
            for column, size in sorted(shop.context.items())
        }
        for embedding in self.context_embeddings.values():
            embedding.build([None])
        self.attention_hidden = tf.keras.layers.Dense(self._options.attention, activation="relu", name="attention")
        self.attention_hidden.build([None, 4 * width])
        self.attention_out = tf.keras.layers.Dense(1, name="attention_out")
        self.attention_out.build([None, self._options.attention])
        layers: list[tf.keras.layers.Layer] = []
        for units in self._options.hidden:
            layers += [
                tf.keras.layers.Dense(units, activation="relu"),
                tf.keras.layers.Dropout(self._options.dropout),
            ]
        self.head = tf.keras.Sequential([*layers, tf.keras.layers.Dense(1)], name="head")
        self.head.build([None, 3 * width + 8 * len(self.context_embeddings)])
        self.built = True

    def set_catalogue(self, table: ItemTable, sales: np.ndarray, first_day: int) -> None:
        super().set_catalogue(table, sales, first_day)
        self.item_inputs.set_table(table)

    def put_items(self, rows: tf.Tensor, items: DescribedItems, texts: bool = True) -> None:
        self.item_inputs.put_rows(rows, items)
        super().put_items(rows, items, texts)

    def encode_user(self, inputs: Tensors, training: bool = False) -> DinState:
        items = self.kept_vectors
        items = self.item_inputs(None, training=training) if items is None else tf.convert_to_tensor(items)
        positions = catalogue_rows(inputs[features.HISTORY_ITEMS_XF])
        order = tf.argsort(tf.cast(positions < 0, tf.int32), stable=True)
        compact = tf.gather(positions, order, batch_dims=1)
        places = newest_positions(compact >= 0, self._options.max_history)
        mask = tf.cast(places >= 0, items.dtype)
        rows = tf.gather(compact, tf.maximum(places, 0), batch_dims=1)
        events = tf.gather(items, tf.maximum(rows, 0)) * mask[:, :, tf.newaxis]
        events = perturbation.embedded(events) * mask[:, :, tf.newaxis]
        context = [
            embedding(inputs[features.context_xf(column)]) for column, embedding in self.context_embeddings.items()
        ]
        context.append(tf.zeros([tf.shape(positions)[0], 0], items.dtype))
        return DinState(
            vector=tf.math.divide_no_nan(tf.reduce_sum(events, 1), tf.reduce_sum(mask, 1, keepdims=True)),
            positions=positions,
            events=events,
            mask=mask,
            context=tf.concat(context, -1),
            items=items,
        )

    def score_vectors(self, state: DinState, items: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Scores of items by their vectors, float [B, N, d] -> float32 [B, N]."""
        number = tf.shape(items)[1]
        pairs = [
            tf.repeat(state.events[:, tf.newaxis], number, 1),
            tf.repeat(items[:, :, tf.newaxis], tf.shape(state.events)[1], 2),
        ]
        joined = tf.concat([*pairs, pairs[0] - pairs[1], pairs[0] * pairs[1]], -1)
        weights = self.attention_out(self.attention_hidden(joined))[..., 0] * state.mask[:, tf.newaxis, :]
        interest = tf.einsum("bnl,bld->bnd", weights, state.events)
        context = tf.repeat(state.context[:, tf.newaxis, :], number, 1)
        scores = self.head(tf.concat([interest, items, interest * items, context], -1), training=training)
        return tf.cast(scores[..., 0], tf.float32)

    def raw_scores(self, state: DinState) -> tf.Tensor:
        batch, step = tf.shape(state.events)[0], self._options.items_at_once
        parts = tf.TensorArray(tf.float32, size=0, dynamic_size=True, infer_shape=False, element_shape=[None, None])
        start = tf.constant(0)
        while start < self.items:
            some = state.items[start : start + step]
            scores = self.score_vectors(state, tf.repeat(some[tf.newaxis], batch, 0))
            parts = parts.write(parts.size(), tf.transpose(scores))
            start += step
        return tf.transpose(parts.concat())

    def score_candidates(self, state: DinState, inputs: Tensors, training: bool = False) -> tf.Tensor:
        """As for `CatalogueModel`; a candidate that the catalogue does not know has the zero vector."""
        rows = catalogue_rows(inputs[features.CANDIDATE_ITEMS_XF])
        known = tf.cast(rows >= 0, state.items.dtype)[:, :, tf.newaxis]
        return self.score_vectors(state, tf.gather(state.items, tf.maximum(rows, 0)) * known, training)

    def item_vectors(self, rows: tf.Tensor | None = None) -> tf.Tensor:
        return self.item_inputs(None, rows)

    def compute_losses(self, inputs: Tensors, labels: tf.Tensor, training: bool) -> dict[str, tf.Tensor]:
        scores = self.score_candidates(self.encode_user(inputs, training=training), inputs, training=training)
        found = {}
        total = tf.constant(0.0)
        for name, loss in (("listwise", losses.listwise_cross_entropy), ("binary", losses.binary_cross_entropy)):
            if weight := self._loss_weights.get(name):
                found[name] = loss(scores, labels)
                total += weight * found[name]
        return {"loss": total, **found}

    def get_config(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "sizes": vars(self._sizes).copy(),
            "options": vars(self._options).copy(),
            "loss_weights": dict(self._loss_weights),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Din:
        del custom_objects
        return cls(**config)


def build(options: DinOptions, sizes: Sizes, loss_options: LossOptions) -> Din:
    """An untrained Din of a shop's sizes."""
    return Din(sizes, options, {name: getattr(loss_options, name) for name in Din.LOSSES})


ENTRY = Entry(
    purpose="Ranking of few candidates, by attention from each to the history",
    task="ranking",
    gate_metric="ndcg@10",
    signatures=("rank", "recommend"),
    options=DinOptions,
    build=build,
    losses=("listwise", "binary"),
)
