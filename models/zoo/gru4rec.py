"""GRU4Rec: gated recurrent units over the items of the history."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from models import perturbation
from models.options import LossOptions, ModelOptions, number
from models.registry import Entry
from models.sequence_model import SequenceModel
from models.sizes import Sizes


@dataclass(frozen=True)
class Gru4RecOptions(ModelOptions):
    """What a configuration says of `gru4rec`.

    Attributes:
      dimension: d, width of item and user vectors.
      max_history: newest events that are read.
      layers: of recurrent units.
      units: width of their states.
      dropout: of embeddings and between layers.
    """

    entry: str = "gru4rec"
    dimension: int = number(64, 1, 1e5)
    max_history: int = number(50, 1, 1e5)
    layers: int = number(1, 1, 100)
    units: int = number(128, 1, 1e5)
    dropout: float = number(0.3, 0, 0.99)


class Gru4Rec(SequenceModel):
    """The states of the events are those of stacked GRUs, projected to the width of the item vectors.

    Args:
      items, dimension, max_history, dropout: as for `SequenceModel`.
      layers: of recurrent units.
      units: width of their states.

    Example:
      >>> from models import features
      >>> model = Gru4Rec(items=5, dimension=8, max_history=4, dropout=0.0, layers=1, units=6)
      >>> history = {features.HISTORY_ITEMS_XF: tf.constant([[2, 3, 0], [6, 0, 0]])}
      >>> model.score_catalogue(model.encode_user(history)).shape
      TensorShape([2, 5])

    Reference: Hidasi et al., Session-based Recommendations with Recurrent Neural Networks (2016).
    """

    def __init__(
        self, items: int, dimension: int, max_history: int, dropout: float, layers: int, units: int, **kwargs: Any
    ) -> None:
        super().__init__(items, dimension, max_history, dropout, **kwargs)
        self.layers_number, self.units = layers, units
        self.input_dropout = tf.keras.layers.Dropout(dropout, name="input_dropout")
        self.recurrent = [tf.keras.layers.GRU(units, return_sequences=True, name=f"gru_{i}") for i in range(layers)]
        for i, layer in enumerate(self.recurrent):
            layer.build(tf.TensorShape([None, None, units if i else dimension]))
        self.projection = tf.keras.layers.Dense(dimension, name="projection")
        self.projection.build([None, None, units])
        self.built = True

    def encode_sequence(self, rows: tf.Tensor, mask: tf.Tensor, training: bool) -> tf.Tensor:
        states = perturbation.embedded(tf.gather(tf.cast(self.item_embeddings, self.compute_dtype), rows))
        for layer in self.recurrent:
            # Left of the first event the state stays zero.
            states = layer(self.input_dropout(states, training=training), mask=mask, training=training)
        return self.projection(states)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "layers": self.layers_number, "units": self.units}


def build(options: Gru4RecOptions, sizes: Sizes, losses: LossOptions) -> Gru4Rec:
    """An untrained GRU4Rec of a shop's sizes."""
    del losses
    return Gru4Rec(
        sizes.items,
        options.dimension,
        options.max_history,
        options.dropout,
        options.layers,
        options.units,
        name="gru4rec",
    )


ENTRY = Entry(
    purpose="The next item of a sequence, by gated recurrent units over ids",
    task="ranking",
    gate_metric="ndcg@10",
    signatures=("rank", "recommend"),
    options=Gru4RecOptions,
    build=build,
)
