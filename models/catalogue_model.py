"""What the pipeline and the signatures ask of a model that ranks a catalogue."""

from __future__ import annotations

import abc
from typing import Any

import tensorflow as tf

from models import features
from models.candidate_model import CandidateModel, Tensors
from models.described_items import DescribedItems, put_rows
from models.user_state import UserState

#: Items whose vectors are computed at once.
_ITEMS_AT_ONCE = 4096


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
        return tf.where(self.servable > 0, self.all_scores(state), -1e9)

    def score_candidates(self, state: Any, inputs: Tensors, training: bool = False) -> tf.Tensor:
        """Scores of the candidates, float32 [B, N], on the scale of `score_catalogue`.

        A candidate that the catalogue does not know is ranked below all that it knows; one that may not be recommended
        counts as known.
        """
        del training
        rows = catalogue_rows(inputs[features.CANDIDATE_ITEMS_XF])
        scores = self.all_scores(state)
        found = tf.gather(scores, tf.maximum(rows, 0), batch_dims=1)
        return tf.where(rows >= 0, found, tf.reduce_min(scores, 1, keepdims=True) - 1)

    def all_scores(self, state: Any) -> tf.Tensor:
        """As `score_catalogue`, but any number for items that may not be recommended.

        Items that came after training are below all others where nothing of theirs is read.
        """
        scores = self.raw_scores(state)
        if not self.spare_items or self.READS_ITEMS:
            return scores
        trained = scores[:, : self.items - self.spare_items]
        below = tf.reduce_min(trained, 1, keepdims=True) - 1
        return tf.concat([trained, tf.repeat(below, self.spare_items, 1)], 1)

    # --- vectors of items ----------------------------------------------------------------------------------------

    def item_vectors(self, rows: tf.Tensor | None = None) -> tf.Tensor | None:
        """Vectors of the catalogue, float [V, d], or of some rows of it, int [n]; None if the model has none."""
        del rows
        return None

    def keep_item_vectors(self) -> None:
        if not self.COMPUTES_VECTORS:
            return
        starts = range(0, self.items, _ITEMS_AT_ONCE)
        parts = [self.item_vectors(tf.range(start, min(start + _ITEMS_AT_ONCE, self.items))) for start in starts]
        self._kept.vectors = tf.Variable(tf.concat(parts, 0), trainable=False, name="item_vectors")

    def put_items(self, rows: tf.Tensor, items: DescribedItems, texts: bool = True) -> None:
        """As of any model; to be called last, since what is kept is computed from what was written."""
        super().put_items(rows, items, texts)
        if self.kept_vectors is not None:
            rows = self._readers(rows)
            put_rows(self.kept_vectors, rows, self.item_vectors(rows))

    def _readers(self, rows: tf.Tensor) -> tf.Tensor:
        """Int64 [m], the items whose vectors read what is known of some, int64 [n]."""
        return rows

    def call(self, inputs: Tensors, training: bool = False) -> tf.Tensor:
        state = self.encode_user(inputs, training=training)
        return self.score_candidates(state, inputs, training=training)


def catalogue_rows(ids: tf.Tensor) -> tf.Tensor:
    """Rows of the catalogue of item ids, int32; -1 for unknown items and padding."""
    return tf.maximum(tf.cast(ids, tf.int32) - features.FIRST_KNOWN_ID, -1)
