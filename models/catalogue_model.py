"""What the pipeline and the signatures ask of a model that ranks a catalogue."""

from __future__ import annotations

import abc
from typing import Any

import tensorflow as tf

from models import features
from models.candidate_model import CandidateModel, Tensors
from models.user_state import UserState


class CatalogueModel(CandidateModel):
    """A `CandidateModel` that scores the V items of a catalogue for the user part of a request."""

    # --- users, items, scores ------------------------------------------------------------------------------------

    @abc.abstractmethod
    def encode_user(self, inputs: Tensors, training: bool = False) -> UserState:
        """Everything about the user that scoring needs."""

    @abc.abstractmethod
    def raw_scores(self, state: Any) -> tf.Tensor:
        """Scores of all items before the mixture, if there is one, float32 [B, V]."""

    def score_catalogue(self, state: Any, training: bool = False) -> tf.Tensor:
        """Scores of all items, float32 [B, V]; -1e9 for items that may not be recommended."""
        del training
        return tf.where(self.servable > 0, self._all_scores(state), -1e9)

    def score_candidates(self, state: Any, inputs: Tensors, training: bool = False) -> tf.Tensor:
        """Scores of the candidates, float32 [B, N], on the scale of `score_catalogue`.

        A candidate that the catalogue does not know is ranked below all that it knows; one that may not be recommended
        counts as known.
        """
        del training
        rows = catalogue_rows(inputs[features.CANDIDATE_ITEMS_XF])
        scores = self._all_scores(state)
        found = tf.gather(scores, tf.maximum(rows, 0), batch_dims=1)
        return tf.where(rows >= 0, found, tf.reduce_min(scores, 1, keepdims=True) - 1)

    def _all_scores(self, state: Any) -> tf.Tensor:
        """`raw_scores`; items that came after training are below all others where nothing of theirs is read."""
        scores = self.raw_scores(state)
        if not self.spare_items or self.READS_ITEMS:
            return scores
        trained = scores[:, : self.items - self.spare_items]
        below = tf.reduce_min(trained, 1, keepdims=True) - 1
        return tf.concat([trained, tf.repeat(below, self.spare_items, 1)], 1)

    def item_vectors(self) -> tf.Tensor | None:
        """Vectors of the catalogue, float [V, d]; None if the model has none."""
        return None

    def call(self, inputs: Tensors, training: bool = False) -> tf.Tensor:
        state = self.encode_user(inputs, training=training)
        return self.score_candidates(state, inputs, training=training)


def catalogue_rows(ids: tf.Tensor) -> tf.Tensor:
    """Rows of the catalogue of item ids, int32; -1 for unknown items and padding."""
    return tf.maximum(tf.cast(ids, tf.int32) - features.FIRST_KNOWN_ID, -1)
