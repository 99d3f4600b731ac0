"""BERT4Rec: a Transformer that looks both ways and fills in hidden items of the history."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from models import features, perturbation
from models.catalogue_model import Tensors, catalogue_rows
from models.layers.sequence_transformer import SequenceTransformer
from models.options import LossOptions, SequenceTransformerOptions, number
from models.registry import Entry
from models.sequence_model import SequenceModel
from models.sizes import Sizes


@dataclass(frozen=True)
class Bert4RecOptions(SequenceTransformerOptions):
    """What a configuration says of `bert4rec`.

    Attributes:
      mask_share: share of events hidden in a training step.
    """

    entry: str = "bert4rec"
    dropout: float = number(0.2, 0, 0.99)
    mask_share: float = number(0.2, 0.01, 0.99)


class Bert4Rec(SequenceModel):
    """The user vector is the state of a hidden event put after the history.

    Training hides a share of the events, positives of the decision among them (one of them a step stands last), and
    asks for them with the softmax over the whole catalogue.

    Args:
      items, dimension, max_history, dropout: as for `SequenceModel`.
      layers, heads: of the Transformer.
      intermediate: width of its feed-forward part.
      mask_share: share of events hidden in a training step; the last one always is in one of five.

    Example:
      >>> model = Bert4Rec(items=5, dimension=8, max_history=4, dropout=0.0, layers=1, heads=2, intermediate=16,
      ...                  mask_share=0.2)
      >>> history = {features.HISTORY_ITEMS_XF: tf.constant([[2, 3, 0], [6, 0, 0]])}
      >>> model.score_catalogue(model.encode_user(history)).shape
      TensorShape([2, 5])

    Reference: Sun et al., BERT4Rec (2019).
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
        mask_share: float,
        **kwargs: Any,
    ) -> None:
        super().__init__(items, dimension, max_history, dropout, **kwargs)
        self.mask_share = mask_share
        small = tf.keras.initializers.RandomNormal(stddev=0.02)
        self.hidden_item = self.add_weight(name="hidden_item", shape=[dimension], initializer=small)
        self.bias = self.add_weight(name="bias", shape=[items], initializer="zeros")
        self.transformer = SequenceTransformer(
            max_history + 1, dimension, layers, heads, intermediate, dropout, name="transformer"
        )
        self.transformer.build([None, None, dimension])
        self.built = True

    def encode_sequence(self, rows: tf.Tensor, mask: tf.Tensor, training: bool) -> tf.Tensor:
        """As for `SequenceModel`, with a hidden event after the last."""
        rows = tf.pad(rows, [[0, 0], [0, 1]])
        mask = tf.pad(mask, [[0, 0], [0, 1]], constant_values=True)
        hidden = tf.one_hot(tf.fill([tf.shape(rows)[0]], tf.shape(rows)[1] - 1), tf.shape(rows)[1]) > 0
        return self._states(rows, mask, hidden, training)

    def raw_scores(self, state: Any) -> tf.Tensor:
        return super().raw_scores(state) + tf.cast(self.bias, tf.float32)

    def compute_losses(self, inputs: Tensors, labels: tf.Tensor, training: bool) -> dict[str, tf.Tensor]:
        rows, mask = self._newest(catalogue_rows(inputs[features.HISTORY_ITEMS_XF]))
        candidates = catalogue_rows(inputs[features.CANDIDATE_ITEMS_XF])
        usable = tf.logical_and(labels > 0, candidates >= 0)
        # One of the positives, at random, is the last event.
        chosen = tf.argmax(tf.where(usable, perturbation.uniform(tf.shape(labels)), -1.0), 1, tf.int32)
        last = tf.where(tf.reduce_any(usable, 1), tf.gather(candidates, chosen, batch_dims=1), -1)
        rows = tf.concat([rows, tf.maximum(last, 0)[:, tf.newaxis]], 1)
        mask = tf.concat([mask, (last >= 0)[:, tf.newaxis]], 1)
        if training:
            drawn = perturbation.uniform(tf.shape(mask)) < self.mask_share
            only_last = tf.logical_and(perturbation.uniform(tf.shape(last)) < 0.2, last >= 0)
        else:
            drawn = tf.zeros_like(mask)
            only_last = last >= 0
        at_end = tf.one_hot(tf.fill([tf.shape(rows)[0]], tf.shape(rows)[1] - 1), tf.shape(rows)[1]) > 0
        hidden = tf.where(only_last[:, tf.newaxis], at_end, drawn)
        hidden = tf.logical_and(hidden, mask)
        states = self._states(rows, mask, hidden, training)
        places = tf.where(hidden)
        loss = self.cross_entropy(tf.gather_nd(states, places), tf.gather_nd(rows, places))
        return {"loss": loss, "catalogue": loss}

    def cross_entropy(self, vectors: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
        one = tf.ones_like(vectors[:, :1], tf.float32)
        table = tf.concat([self._vectors(), tf.cast(self.bias, tf.float32)[:, tf.newaxis]], 1)
        logits = tf.matmul(tf.concat([tf.cast(vectors, tf.float32), one], 1), table, transpose_b=True)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=targets, logits=logits)
        return tf.math.divide_no_nan(tf.reduce_sum(losses), tf.cast(tf.size(targets), tf.float32))

    def _states(self, rows: tf.Tensor, mask: tf.Tensor, hidden: tf.Tensor, training: bool) -> tf.Tensor:
        dtype = self.compute_dtype
        embedded = tf.gather(tf.cast(self.item_embeddings, dtype), rows)
        embedded = tf.where(hidden[:, :, tf.newaxis], tf.cast(self.hidden_item, dtype), embedded)
        states: tf.Tensor = self.transformer(embedded, mask, training=training)
        return states

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "layers": self.transformer.layers_number,
            "heads": self.transformer.heads,
            "intermediate": self.transformer.intermediate,
            "mask_share": self.mask_share,
        }


def build(options: Bert4RecOptions, sizes: Sizes, losses: LossOptions) -> Bert4Rec:
    """An untrained BERT4Rec of a shop's sizes."""
    del losses
    return Bert4Rec(
        sizes.items,
        options.dimension,
        options.max_history,
        options.dropout,
        options.layers,
        options.heads,
        options.intermediate,
        options.mask_share,
        name="bert4rec",
    )


ENTRY = Entry(
    purpose="Items of a sequence, by a Transformer that looks both ways and fills in hidden ones",
    task="ranking",
    gate_metric="ndcg@10",
    signatures=("rank", "recommend"),
    options=Bert4RecOptions,
    build=build,
)
