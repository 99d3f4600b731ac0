"""What the zoo's models of item sequences share: ids in, the next item out."""

from __future__ import annotations

import abc
from typing import Any, ClassVar

import tensorflow as tf

from models import features
from models.catalogue_model import CatalogueModel, Tensors, catalogue_rows
from models.slice_autoencoder import newest_events
from models.user_state import UserState


class SequenceModel(CatalogueModel):
    """score(i) = u·e_i, with u made of the embeddings e of the newest events' items, oldest first.

    It is trained with the softmax over the whole catalogue: at each event of the newest history to find the next one,
    and at the last to find what the decision's positives say. So each user's newest decision holds all there is to be
    learned of them. Ids are all that it reads; an item that training has not seen keeps its random vector.

    Args:
      items: V.
      dimension: d, width of item and user vectors.
      max_history: L, newest events that are read.
      dropout: of the embeddings that enter, and within.

    Raises:
      ValueError: if a size is not positive.

    Reference: the full softmax in place of sampled negatives is from Klenitskiy and Vasilev, Turning Dross into Gold:
    Is BERT4Rec really better than SASRec? (2023).
    """

    LOSSES: ClassVar[tuple[str, ...]] = ("catalogue",)

    def __init__(self, items: int, dimension: int, max_history: int, dropout: float, **kwargs: Any) -> None:
        super().__init__(items, **kwargs)
        self.one_decision_a_user = True
        for name, value in (("dimension", dimension), ("max_history", max_history)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, not {value}.")
        self.dimension = dimension
        self.max_history = max_history
        self.dropout = dropout
        small = tf.keras.initializers.RandomNormal(stddev=0.02)
        self.item_embeddings = self.add_weight(name="item_embeddings", shape=[items, dimension], initializer=small)

    @abc.abstractmethod
    def encode_sequence(self, rows: tf.Tensor, mask: tf.Tensor, training: bool) -> tf.Tensor:
        """States of events, each made of nothing that comes after it.

        Args:
          rows: int [B, L], rows of the catalogue, right-aligned; 0 where the mask says that there is none.
          mask: bool [B, L].
          training: with dropout.

        Returns:
          float [B, L, d]; the last one is the user vector.
        """

    def encode_user(self, inputs: Tensors, training: bool = False) -> UserState:
        positions = catalogue_rows(inputs[features.HISTORY_ITEMS_XF])
        states = self.encode_sequence(*self._newest(positions), training=training)
        known = tf.cast(tf.reduce_any(positions >= 0, 1, keepdims=True), states.dtype)
        return UserState(vector=states[:, -1, :] * known, positions=positions)

    def raw_scores(self, state: UserState) -> tf.Tensor:
        return tf.matmul(tf.cast(state.vector, tf.float32), self._vectors(), transpose_b=True)

    def item_vectors(self, rows: tf.Tensor | None = None) -> tf.Tensor:
        return tf.convert_to_tensor(self.item_embeddings) if rows is None else tf.gather(self.item_embeddings, rows)

    def compute_losses(self, inputs: Tensors, labels: tf.Tensor, training: bool) -> dict[str, tf.Tensor]:
        rows, mask = self._newest(catalogue_rows(inputs[features.HISTORY_ITEMS_XF]))
        states = self.encode_sequence(rows, mask, training)
        follows = tf.where(tf.logical_and(mask[:, :-1], mask[:, 1:]))
        candidates = catalogue_rows(inputs[features.CANDIDATE_ITEMS_XF])
        bought = tf.where(tf.logical_and(tf.logical_and(labels > 0, candidates >= 0), mask[:, -1:]))
        vectors = tf.concat([tf.gather_nd(states, follows), tf.gather(states[:, -1, :], bought[:, 0])], 0)
        targets = tf.concat([tf.gather_nd(rows[:, 1:], follows), tf.gather_nd(candidates, bought)], 0)
        loss = self.cross_entropy(vectors, targets)
        return {"loss": loss, "catalogue": loss}

    def cross_entropy(self, vectors: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
        """Mean softmax cross-entropy over the catalogue of n targets: vectors [n, d], rows [n]; 0 without any."""
        logits = tf.matmul(tf.cast(vectors, tf.float32), self._vectors(), transpose_b=True)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=targets, logits=logits)
        return tf.math.divide_no_nan(tf.reduce_sum(losses), tf.cast(tf.size(targets), tf.float32))

    def _vectors(self) -> tf.Tensor:
        return tf.cast(self.item_embeddings, tf.float32)

    def _newest(self, positions: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return newest_events(positions, self.max_history)

    def get_config(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "items": self.items,
            "dimension": self.dimension,
            "max_history": self.max_history,
            "dropout": self.dropout,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> SequenceModel:
        del custom_objects
        return cls(**config)
