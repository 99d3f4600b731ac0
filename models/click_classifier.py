"""The model of the zoo's entry `click_classifier`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf

from models import features, losses, perturbation
from models.candidate_model import CandidateModel, Tensors
from models.catalogue_model import catalogue_rows
from models.click_evidence import ClickEvidence, UserSide
from models.described_items import DescribedItems, put_rows
from models.item_encoder import ItemTable
from models.layers.platt_scaling import PlattScaling
from models.pair_encoder import PairEncoder
from models.pair_tokens import pair_tokens
from models.sizes import Sizes
from models.slice_autoencoder import newest_positions


class ClickClassifier(CandidateModel):
    """logit P(click | user, item) = BERT([CLS] query [SEP] profile text [SEP] item text [SEP]) + evidence(user, item).

    The probability is the sigmoid of a score. The item's text is that of the catalogue; a candidate that the catalogue
    does not know has the text that the request brings, or none. BERT runs once for each real candidate, so a whole
    catalogue is too dear. Scores go through `PlattScaling`, fitted on held-out decisions.

    Args:
      sizes: of the shop, or their values in a dict.
      encoder: the BERT of pairs, or its `get_config()`; None leaves it out.
      evidence: what is not text, or its `get_config()`; None leaves it out.
      train_candidates: at most so many candidates of a decision are learned from in a step, drawn evenly.
      max_history: newest events that are read.
      text_rate: what the learning rate is multiplied by for the weights of `encoder`.

    Call arguments:
      inputs: transformed features by the names of `models.features`: `profile_tokens_xf` [B, L], `query_tokens_xf`,
        `history_*_xf` [B, H], `request_day_xf` [B], one int [B] per context column, `candidate_items_xf` [B, N],
        `candidate_text_positions_xf` [B, M] (-1: none) and `candidate_tokens_xf` [B, M, T].

    Returns:
      float32 [B, N], logits; 0 for padding.

    Raises:
      ValueError: if both `encoder` and `evidence` are None.

    Reference: the parts' own; a cross-encoder with behaviour features after Nogueira and Cho (2019) and Cheng et al.,
    Wide & Deep Learning for Recommender Systems (2016).
    """

    LOSSES: ClassVar[tuple[str, ...]] = ("binary",)
    TRACKED: ClassVar[tuple[str, ...]] = ("binary",)
    READS_ITEMS: ClassVar[bool] = True

    def __init__(
        self,
        sizes: Sizes | dict[str, Any],
        encoder: PairEncoder | dict[str, Any] | None,
        evidence: ClickEvidence | dict[str, Any] | None,
        train_candidates: int = 16,
        max_history: int = 64,
        text_rate: float = 1.0,
        **kwargs: Any,
    ) -> None:
        shop = Sizes(**sizes) if isinstance(sizes, dict) else sizes
        super().__init__(shop.items, **{"name": "click_classifier", **kwargs})
        if encoder is None and evidence is None:
            raise ValueError("encoder and evidence are None; expected one of them.")
        self._sizes = shop
        self.encoder = PairEncoder.from_config(encoder) if isinstance(encoder, dict) else encoder
        self.evidence = ClickEvidence.from_config(evidence) if isinstance(evidence, dict) else evidence
        self.train_candidates = train_candidates
        self.max_history = max_history
        self.text_rate = text_rate
        self.platt = PlattScaling(name="platt")
        self.item_tokens = self.add_weight(
            name="item_tokens",
            shape=[shop.items, shop.text_length],
            dtype="int32",
            initializer="zeros",
            trainable=False,
        )
        self.built = True

    @property
    def token_texts(self) -> tuple[str, ...]:
        return (features.PROFILE_TOKENS_XF, features.QUERY_TOKENS_XF)

    def rate_factors(self) -> Iterator[tuple[tf.Variable, float]]:
        if self.encoder is not None and self.text_rate != 1:
            yield from ((weight, self.text_rate) for weight in self.encoder.trainable_weights)

    def set_catalogue(self, table: ItemTable, sales: np.ndarray, first_day: int) -> None:
        super().set_catalogue(table, sales, first_day)
        self.item_tokens.assign(table.tokens)
        if self.evidence is not None:
            self.evidence.set_table(table, sales, first_day)

    def put_items(self, rows: tf.Tensor, items: DescribedItems, texts: bool = True) -> None:
        if texts:
            put_rows(self.item_tokens, rows, items.tokens)
        if self.evidence is not None:
            self.evidence.put_rows(rows, items, texts)

    def call(self, inputs: Tensors, training: bool = False) -> tf.Tensor:
        places = tf.where(inputs[features.CANDIDATE_ITEMS_XF] > features.PADDING_ID)
        logits = self._logits(inputs, places, training)
        if self.platt is not None:
            logits = self.platt(logits, training=training)
        return tf.scatter_nd(places, logits, tf.shape(inputs[features.CANDIDATE_ITEMS_XF], tf.int64))

    def compute_losses(self, inputs: Tensors, labels: tf.Tensor, training: bool) -> dict[str, tf.Tensor]:
        """The binary cross-entropy of the scores before calibration."""
        real = labels >= 0
        if training:
            drawn = tf.where(real, perturbation.uniform(tf.shape(labels)), -1.0)
            kept = tf.minimum(self.train_candidates, tf.shape(labels)[1])
            real = tf.logical_and(real, drawn >= tf.math.top_k(drawn, kept).values[:, -1:])
        places = tf.where(real)
        logits = self._logits(inputs, places, training)
        loss = losses.binary_cross_entropy(logits[tf.newaxis], tf.gather_nd(labels, places)[tf.newaxis])
        return {"loss": loss, "binary": loss}

    def _logits(self, inputs: Tensors, places: tf.Tensor, training: bool) -> tf.Tensor:
        """Logits before calibration of the candidates at `places`, int64 [P, 2] -> float32 [P]."""
        owners = tf.cast(places[:, 0], tf.int32)
        rows = tf.gather_nd(catalogue_rows(inputs[features.CANDIDATE_ITEMS_XF]), places)
        tokens = tf.gather_nd(self._brought(inputs), places)
        known = tf.gather(self.item_tokens, tf.maximum(rows, 0))
        tokens = tf.where(rows[:, tf.newaxis] >= 0, known, tokens)
        query, profile = inputs[features.QUERY_TOKENS_XF], inputs[features.PROFILE_TOKENS_XF]
        logits = tf.zeros_like(rows, tf.float32)
        if self.encoder is not None:
            cls, sep = self._sizes.special_tokens[2:4]
            first = [tf.gather(query, owners), tf.gather(profile, owners)]
            ids, types = pair_tokens(first, tokens, cls, sep)
            # Cut to the longest pair there is: of a batch without queries a good part would be padding.
            longest = tf.maximum(1, tf.reduce_max(tf.reduce_sum(tf.cast(ids != features.PADDING_ID, tf.int32), 1)))
            logits += tf.cast(self.encoder(ids[:, :longest], types[:, :longest], training=training), tf.float32)
        if self.evidence is not None:
            logits += self.evidence(self._user(inputs), owners, rows, tokens, training=training)
        return logits

    def _brought(self, inputs: Tensors) -> tf.Tensor:
        """Tokens of the texts that come with candidates, int32 [B, N, T]; zero for the others."""
        texts = inputs[features.CANDIDATE_TOKENS_XF]
        places = tf.cast(inputs[features.CANDIDATE_TEXT_POSITIONS_XF], tf.int32)
        found = tf.where(places >= 0)
        where = tf.stack([tf.cast(found[:, 0], tf.int32), tf.gather_nd(places, found)], 1)
        batch, number = tf.unstack(tf.shape(inputs[features.CANDIDATE_ITEMS_XF]))
        return tf.scatter_nd(where, tf.cast(tf.gather_nd(texts, found), tf.int32), [batch, number, tf.shape(texts)[2]])

    def _user(self, inputs: Tensors) -> UserSide:
        positions = catalogue_rows(inputs[features.HISTORY_ITEMS_XF])
        order = tf.argsort(tf.cast(positions < 0, tf.int32), stable=True)  # events of unknown items leave no gap
        places = newest_positions(tf.gather(positions, order, batch_dims=1) >= 0, self.max_history)
        chosen = tf.gather(order, tf.maximum(places, 0), batch_dims=1)

        def newest(values: tf.Tensor) -> tf.Tensor:
            return tf.gather(values, chosen, batch_dims=1)

        return UserSide(
            positions=tf.where(places >= 0, newest(positions), -1),
            types=newest(inputs[features.HISTORY_TYPES_XF]),
            gaps=newest(inputs[features.HISTORY_GAPS_XF]),
            query=inputs[features.QUERY_TOKENS_XF],
            profile=inputs[features.PROFILE_TOKENS_XF],
            context={column: inputs[features.context_xf(column)] for column in self._sizes.context},
            day=inputs[features.REQUEST_DAY_XF],
            shown=catalogue_rows(inputs[features.CANDIDATE_ITEMS_XF]),
        )

    def get_config(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "sizes": vars(self._sizes).copy(),
            "encoder": None if self.encoder is None else self.encoder.get_config(),
            "evidence": None if self.evidence is None else self.evidence.get_config(),
            "train_candidates": self.train_candidates,
            "max_history": self.max_history,
            "text_rate": self.text_rate,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> ClickClassifier:
        del custom_objects
        return cls(**config)
