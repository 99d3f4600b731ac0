"""SASRec: a causal Transformer over the items of the history."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from models.layers.sequence_transformer import SequenceTransformer
from models.options import LossOptions, SequenceTransformerOptions
from models.registry import Entry
from models.sequence_model import SequenceModel
from models.sizes import Sizes


@dataclass(frozen=True)
class SasRecOptions(SequenceTransformerOptions):
    """What a configuration says of `sasrec`."""

    entry: str = "sasrec"


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
        self.transformer = SequenceTransformer(
            max_history, dimension, layers, heads, intermediate, dropout, causal=True, name="transformer"
        )
        self.transformer.build([None, None, dimension])
        self.built = True

    def encode_sequence(self, rows: tf.Tensor, mask: tf.Tensor, training: bool) -> tf.Tensor:
        embedded = tf.gather(tf.cast(self.item_embeddings, self.compute_dtype), rows)
        states: tf.Tensor = self.transformer(embedded, mask, training=training)
        return states

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "layers": self.transformer.layers_number,
            "heads": self.transformer.heads,
            "intermediate": self.transformer.intermediate,
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
