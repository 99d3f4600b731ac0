"""SASRec: a causal Transformer over the items of the history."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from models.layers.transformer_block import TransformerBlock
from models.options import LossOptions, ModelOptions, number
from models.registry import Entry
from models.sequence_model import SequenceModel
from models.sizes import Sizes


@dataclass(frozen=True)
class SasRecOptions(ModelOptions):
    """What a configuration says of `sasrec`.

    Attributes:
      dimension: d, width of item and user vectors.
      max_history: newest events that are read.
      layers, heads: of the Transformer.
      intermediate: width of the feed-forward part.
      dropout: of embeddings, attention and both branches of a layer.
    """

    entry: str = "sasrec"
    dimension: int = number(64, 1, 1e5)
    max_history: int = number(50, 1, 1e5)
    layers: int = number(2, 1, 1000)
    heads: int = number(2, 1, 1000)
    intermediate: int = number(256, 1, 1e6)
    dropout: float = number(0.5, 0, 0.99)

    def check(self) -> None:
        if self.dimension % self.heads:
            raise ValueError(
                f"`model.dimension` is {self.dimension} and `model.heads` {self.heads}; expected a dimension that the "
                "heads can share out evenly."
            )


class SasRec(SequenceModel):
    """The states of the events are those of a causal Transformer, with learned embeddings of places from the end.

    Args:
      items, dimension, max_history, dropout: as for `SequenceModel`.
      layers, heads: of the Transformer.
      intermediate: width of its feed-forward part.

    Example:
      >>> from models import features
      >>> model = SasRec(items=5, dimension=8, max_history=4, dropout=0.0, layers=1, heads=2, intermediate=16)
      >>> history = {features.HISTORY_ITEMS_XF: tf.constant([[2, 3, 0], [6, 0, 0]])}
      >>> model.score_catalogue(model.encode_user(history)).shape
      TensorShape([2, 5])

    Reference: Kang and McAuley, Self-Attentive Sequential Recommendation (2018).
    """

    def __init__(
        self,
        items: int,
        dimension: int,
        max_history: int,
        dropout: float,
        layers: int,
        heads: int,
        intermediate: int,
        **kwargs: Any,
    ) -> None:
        super().__init__(items, dimension, max_history, dropout, **kwargs)
        self.layers_number, self.heads, self.intermediate = layers, heads, intermediate
        small = tf.keras.initializers.RandomNormal(stddev=0.02)
        self.places = self.add_weight(name="places", shape=[max_history, dimension], initializer=small)
        self.input_norm = tf.keras.layers.LayerNormalization(epsilon=1e-6, name="input_norm")
        self.input_norm.build([None, None, dimension])
        self.blocks = [
            TransformerBlock(dimension, heads, intermediate, dropout, causal=True, name=f"block_{i}")
            for i in range(layers)
        ]
        for block in self.blocks:
            block.build([None, None, dimension])
        self.built = True

    def encode_sequence(self, rows: tf.Tensor, mask: tf.Tensor, training: bool) -> tf.Tensor:
        places = tf.cast(self.places, self.compute_dtype)[self.max_history - tf.shape(rows)[1] :]
        embedded = tf.gather(tf.cast(self.item_embeddings, self.compute_dtype), rows) + places
        states = self.input_dropout(self.input_norm(embedded), training=training)
        for block in self.blocks:
            states = block(states, mask, training=training)
        return states

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "layers": self.layers_number,
            "heads": self.heads,
            "intermediate": self.intermediate,
        }


def build(options: SasRecOptions, sizes: Sizes, losses: LossOptions) -> SasRec:
    """An untrained SASRec of a shop's sizes."""
    del losses
    return SasRec(
        sizes.items,
        options.dimension,
        options.max_history,
        options.dropout,
        options.layers,
        options.heads,
        options.intermediate,
        name="sasrec",
    )


ENTRY = Entry(
    purpose="The next item of a sequence, by a causal Transformer over ids",
    task="ranking",
    gate_metric="ndcg@10",
    signatures=("rank", "recommend"),
    options=SasRecOptions,
    build=build,
)
