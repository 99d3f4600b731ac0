"""What is known of a user, from several sources, matched with items."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf

from models import features, losses, perturbation
from models.candidate_text import unknown_texts
from models.catalogue_model import CatalogueModel, Tensors, catalogue_rows
from models.described_items import DescribedItems, put_rows
from models.fusion import UserFusion
from models.item_encoder import ItemEncoder, ItemTable
from models.options import LossOptions, TextEncoderOptions
from models.profile_encoder import ProfileEncoder
from models.query_match import QueryMatch
from models.ranking_head import RankingHead
from models.recency_pooling import RecencyPooling
from models.sizes import Sizes
from models.slice_autoencoder import newest_positions
from models.source_gate import SourceGate
from models.user_state import UserState
from models.word_bag import WordBag
from models.zoo.profile_matcher import ProfileMatcherOptions

#: Types of events that are reviews, in the order in which the sentiment's encoder reads them.
_REVIEWS = (features.REVIEW_LIKED, features.REVIEW_NEUTRAL, features.REVIEW_DISLIKED)

_CONTEXT_WIDTH = 8


@dataclass
class MatcherState(UserState):
    """`UserState` with what scoring needs beside.

    Attributes:
      gates: float [B, S], how much each source counts, 0 where it is not there.
      items: float [V, d], vectors of the catalogue.
      query: float [B, d], the query's vector, zero without one.
      match: float [B, V], what the query adds to the scores by its words; None without the source `query`.
    """

    gates: tf.Tensor
    items: tf.Tensor
    query: tf.Tensor
    match: tf.Tensor | None


class ProfileMatcher(CatalogueModel):
    """score(i) = A + s·cos + match, with A = (W_u·U)·B·(W_r·R_i)ᵀ and cos of the same two vectors; B, W and s learn.

    U joins what the sources say of the user (`SourceGate`), each with an encoder of its own: the profile text (BERT and
    words), the query (`QueryMatch`, which also gives `match`), the history (`RecencyPooling` of its items' vectors),
    the context columns, and the sentiment of the user's reviews (mean vectors of the items liked, reviewed neutrally,
    and disliked). A source that is not there adds nothing. R is an item's id, text and attributes (`ItemEncoder`,
    `WordBag`), so a new item is matched by the latter two alone. B starts as the identity and the leading block of
    BERT's pooler.

    Args:
      sizes: of the shop, or their values in a dict.
      options: `models.zoo.profile_matcher.ProfileMatcherOptions`, or their values in a dict.
      loss_options: weights of the losses `catalogue` and `listwise`, or their values in a dict.
      text_encoder: of profile, query and item texts.

    Reference: the towers of Covington et al., Deep Neural Networks for YouTube Recommendations (2016), over several
    sources with gates.
    """

    LOSSES: ClassVar[tuple[str, ...]] = ("catalogue", "listwise")
    TRACKED: ClassVar[tuple[str, ...]] = ("catalogue", "listwise")
    READS_ITEMS: ClassVar[bool] = True
    COMPUTES_VECTORS: ClassVar[bool] = True

    text_encoder: ProfileEncoder

    def __init__(
        self,
        sizes: Sizes | dict[str, Any],
        options: ProfileMatcherOptions | dict[str, Any],
        loss_options: LossOptions | dict[str, Any],
        text_encoder: ProfileEncoder,
        **kwargs: Any,
    ) -> None:
        shop = Sizes(**sizes) if isinstance(sizes, Mapping) else sizes
        super().__init__(shop.items, **{"name": "profile_matcher", **kwargs})
        self._sizes = shop
        self._options = _options(options)
        self._losses = LossOptions(**loss_options) if isinstance(loss_options, Mapping) else loss_options
        self.text_encoder = text_encoder
        # A plain object, so that what is kept in it is no part of a SavedModel.
        self._compiled = types.SimpleNamespace(encode=None)
        chosen, width, hidden = self._options, self._options.dimension, text_encoder.hidden_size
        words = text_encoder.bert_config["vocab_size"]
        self.item_encoder = ItemEncoder(
            shop.items,
            width,
            hidden,
            shop.categories,
            shop.brands,
            shop.price_buckets,
            chosen.id_dropout,
            name="item_encoder",
            dtype="float32",
        )
        if chosen.use_words:
            self.word_bag = WordBag(words, width, shop.special_tokens, name="word_bag", dtype="float32")
        if self._reads("query"):
            text = (words, shop.items, shop.text_length, shop.special_tokens) if chosen.use_lexical else ()
            self.query_match = QueryMatch(width, hidden, *text, name="query_match")
        if self._reads("history"):
            self.pooling = RecencyPooling(
                width, shop.event_types, chosen.half_lives, name="recency_pooling", dtype="float32"
            )
        self.context_embeddings = {}
        if self._reads("context"):
            self.context_embeddings = {
                column: tf.keras.layers.Embedding(size, _CONTEXT_WIDTH, name=f"{column}_embedding")
                for column, size in sorted(shop.context.items())
            }
            for embedding in self.context_embeddings.values():
                embedding.build([None])
        self.encoders = {name: self._encoder(name, parts) for name, parts in self._widths().items()}
        self.gate = SourceGate(width, max(1, len(self._sources())), name="gate", dtype="float32")
        size = min(width, hidden)
        bilinear = np.eye(width, dtype=np.float32)
        bilinear[:size, :size] += text_encoder.pooler_kernel().numpy()[:size, :size]
        self.head = RankingHead(width, bilinear=bilinear.tolist(), name="head", dtype="float32")
        self.item_tokens = self.add_weight(
            name="item_tokens",
            shape=[shop.items, shop.text_length],
            dtype="int64",
            initializer="zeros",
            trainable=False,
        )
        self.built = True

    def _reads(self, source: str) -> bool:
        """Whether a source is asked for; without declared columns there is no context."""
        return source in self._options.sources and (source != "context" or bool(self._sizes.context))

    def _sources(self) -> list[str]:
        return [source for source in self._options.sources if self._reads(source)]

    def _reviews(self) -> list[int]:
        """Ids of the event types that are reviews; -1, which no event has, for one that the shop has not seen yet.

        Its place is kept, so that a later update, when it has been seen, finds weights of the same shapes.
        """
        return [self._sizes.type_ids.get(name, -1) for name in _REVIEWS]

    def _widths(self) -> dict[str, list[int]]:
        """Source -> widths of what enters its encoder."""
        width, words = self._options.dimension, int(self._options.use_words)
        widths = {
            "profile": [width] * (1 + words),
            "query": [width],
            "history": [width] * (1 + len(self._options.half_lives)),
            "context": [_CONTEXT_WIDTH] * len(self.context_embeddings),
            "sentiment": [width] * len(_REVIEWS),
        }
        return {source: widths[source] for source in self._sources()}

    def _encoder(self, name: str, widths: list[int]) -> UserFusion:
        width = self._options.dimension
        encoder = UserFusion(width, width, self._options.dropout, name=f"{name}_encoder", dtype="float32")
        encoder.build([[None, part] for part in widths])
        return encoder

    # --- the catalogue -------------------------------------------------------------------------------------------

    @property
    def pooled_texts(self) -> tuple[str, ...]:
        named = {"query": features.QUERY_TOKENS_XF, "profile": features.PROFILE_TOKENS_XF}
        return tuple(tokens for source, tokens in named.items() if self._reads(source))

    @property
    def token_texts(self) -> tuple[str, ...]:
        lexical, words = self._options.use_lexical, self._options.use_words
        named = {"query": (features.QUERY_TOKENS_XF, lexical), "profile": (features.PROFILE_TOKENS_XF, words)}
        return tuple(tokens for source, (tokens, wanted) in named.items() if wanted and self._reads(source))

    def set_catalogue(self, table: ItemTable, sales: np.ndarray, first_day: int) -> None:
        super().set_catalogue(table, sales, first_day)
        self.item_encoder.set_table(table)
        self.item_tokens.assign(table.tokens)
        if self._reads("query") and self._options.use_lexical:
            self.query_match.lexical_path.set_table(table.tokens)
        self.refresh_item_text()

    def refresh_item_text(self, batch_size: int = 64) -> None:
        if self._compiled.encode is None:
            signature = [tf.TensorSpec([None, self._sizes.text_length], tf.int64)]
            self._compiled.encode = tf.function(self.text_encoder.pool, input_signature=signature)
        tokens = self.item_tokens.numpy()
        chunks = [
            self._compiled.encode(tf.constant(tokens[i : i + batch_size])) for i in range(0, len(tokens), batch_size)
        ]
        self.item_encoder.set_text_vectors(tf.concat(chunks, 0))

    def put_items(self, rows: tf.Tensor, items: DescribedItems, texts: bool = True) -> None:
        self.item_encoder.put_rows(rows, items)
        if texts:
            self.item_encoder.put_texts(rows, self.text_encoder.pool(items.tokens))
            put_rows(self.item_tokens, rows, items.tokens)
            if self._reads("query") and self._options.use_lexical:
                self.query_match.lexical_path.put_rows(rows, items.tokens)
        super().put_items(rows, items, texts)

    # --- user and items ------------------------------------------------------------------------------------------

    def encode_user(self, inputs: Tensors, training: bool = False) -> MatcherState:
        through = training and self._options.item_text == "through"
        pooled = self.text_encoder.pool(self.item_tokens, training=True) if through else self.item_encoder.text_vectors
        items = self.kept_vectors
        items = self._vectors(pooled, None, training) if items is None else tf.convert_to_tensor(items)
        positions = catalogue_rows(inputs[features.HISTORY_ITEMS_XF])
        query, match = tf.zeros([tf.shape(positions)[0], self._options.dimension]), None
        if self._reads("query"):
            tokens = inputs[features.QUERY_TOKENS_XF] if self._options.use_lexical else None
            asked = self._pooled(inputs, features.QUERY_TOKENS_XF, features.QUERY_POOLED_XF, training)
            query, match = self.query_match(asked, tokens, items, pooled)
        vectors, present = [], []
        for source in self._sources():
            parts, there = self._parts(source, inputs, items, query, training)
            vectors.append(self.encoders[source]([tf.cast(part, tf.float32) for part in parts], training=training))
            present.append(there)
        there = tf.stack(present, 1)
        if training and self._options.source_dropout:
            shown = perturbation.uniform(tf.shape(there)) >= self._options.source_dropout
            there = tf.logical_and(there, shown)
        vector, gates = self.gate(tf.stack(vectors, 1), there)
        return MatcherState(vector=vector, positions=positions, gates=gates, items=items, query=query, match=match)

    def _parts(
        self, source: str, inputs: Tensors, items: tf.Tensor, query: tf.Tensor, training: bool
    ) -> tuple[list[tf.Tensor], tf.Tensor]:
        """What enters a source's encoder, and for whom there is something, bool [B]."""
        if source == "query":
            return [query], tf.reduce_any(query != 0, -1)
        if source == "profile":
            pooled = self._pooled(inputs, features.PROFILE_TOKENS_XF, features.PROFILE_POOLED_XF, training)
            parts = [self.text_encoder.project(pooled)]
            if self._options.use_words:
                parts.append(self.word_bag(inputs[features.PROFILE_TOKENS_XF]))
            return parts, tf.reduce_any(pooled != 0, -1)
        if source == "context":
            ids = {column: inputs[features.context_xf(column)] for column in self.context_embeddings}
            known = [value != features.PADDING_ID for value in ids.values()]
            parts = [embedding(ids[column]) for column, embedding in self.context_embeddings.items()]
            return parts, tf.reduce_any(known, 0)
        return self._events(source, inputs, items)

    def _events(self, source: str, inputs: Tensors, items: tf.Tensor) -> tuple[list[tf.Tensor], tf.Tensor]:
        """As `_parts`, of the newest events: all but reviews for `history`, reviews by their kind for `sentiment`."""
        ids = inputs[features.HISTORY_ITEMS_XF]
        longest = tf.reduce_max(tf.reduce_sum(tf.cast(ids > features.PADDING_ID, tf.int32), 1))
        kept = tf.clip_by_value(longest, 1, self._options.max_history)
        places = newest_positions(ids > features.PADDING_ID, kept)

        def newest(values: tf.Tensor) -> tf.Tensor:
            return tf.gather(values, tf.maximum(places, 0), batch_dims=1)

        rows, types_ = catalogue_rows(newest(ids)), newest(inputs[features.HISTORY_TYPES_XF])
        known = tf.logical_and(places >= 0, rows >= 0)
        events = tf.gather(items, tf.maximum(rows, 0))
        kinds = [tf.logical_and(known, types_ == kind) for kind in self._reviews()]
        if source == "sentiment":
            means = []
            for kind in kinds:
                counted = tf.cast(kind, events.dtype)[:, :, tf.newaxis]
                means.append(tf.math.divide_no_nan(tf.reduce_sum(events * counted, 1), tf.reduce_sum(counted, 1)))
            return means, tf.reduce_any(tf.reduce_any(kinds, 0), 1)
        lived = tf.logical_and(known, tf.logical_not(tf.reduce_any(kinds, 0)))
        pooled = self.pooling(events, types_, newest(inputs[features.HISTORY_GAPS_XF]), lived)
        # Right-aligned: the last event that counts is the newest.
        last = tf.reduce_max(tf.where(lived, tf.range(kept)[tf.newaxis, :], -1), 1)
        there = last >= 0
        newest_event = tf.gather(events, tf.maximum(last, 0), batch_dims=1)
        return [pooled, newest_event * tf.cast(there, events.dtype)[:, tf.newaxis]], there

    def _pooled(self, inputs: Tensors, tokens: str, pooled: str, training: bool) -> tf.Tensor:
        found = inputs[pooled] if pooled in inputs else self.text_encoder.pool(inputs[tokens], training=training)
        return tf.cast(found, tf.float32)

    def _vectors(self, pooled: tf.Tensor | None, rows: tf.Tensor | None, training: bool) -> tf.Tensor:
        items = self.item_encoder(None if pooled is None else tf.cast(pooled, tf.float32), rows, training=training)
        if not self._options.use_words:
            return items
        return items + self.word_bag(self.item_tokens if rows is None else tf.gather(self.item_tokens, rows))

    # --- scores --------------------------------------------------------------------------------------------------

    def raw_scores(self, state: MatcherState) -> tf.Tensor:
        scores = self.head(state.vector, state.items)
        return scores if state.match is None else scores + tf.cast(state.match, tf.float32)

    def score_candidates(self, state: MatcherState, inputs: Tensors, training: bool = False) -> tf.Tensor:
        """Scores of the candidates, float32 [B, N]; one that the catalogue does not know is scored by its text."""
        rows = catalogue_rows(inputs[features.CANDIDATE_ITEMS_XF])
        known = tf.gather(self.raw_scores(state), tf.maximum(rows, 0), batch_dims=1)
        texts, where, words = unknown_texts(inputs, self.text_encoder, training=training)
        items = tf.cast(self.item_encoder.from_text(tf.cast(texts, tf.float32)), tf.float32)
        if self._options.use_words:
            items = tf.tensor_scatter_nd_add(items, where, self.word_bag(words))
        cold = self.head(state.vector, items)
        if state.match is not None:
            tokens = inputs[features.QUERY_TOKENS_XF] if self._options.use_lexical else None
            cold += self.query_match.of_candidates(state.query, tokens, items, texts, where, words)
        return tf.where(rows >= 0, known, cold)

    def item_vectors(self, rows: tf.Tensor | None = None) -> tf.Tensor:
        return self._vectors(None, rows, training=False)

    # --- training ------------------------------------------------------------------------------------------------

    def compute_losses(self, inputs: Tensors, labels: tf.Tensor, training: bool) -> dict[str, tf.Tensor]:
        state = self.encode_user(inputs, training=training)
        found, total = {}, tf.constant(0.0)
        if self._losses.catalogue:
            rows = catalogue_rows(inputs[features.CANDIDATE_ITEMS_XF])
            usable = tf.logical_and(labels > 0, rows >= 0)
            usable = tf.logical_and(usable, tf.gather(self.servable, tf.maximum(rows, 0)) > 0)
            found["catalogue"] = losses.catalogue_cross_entropy(
                self.score_catalogue(state), tf.where(usable, rows, -1), self._losses.label_smoothing
            )
            total += self._losses.catalogue * found["catalogue"]
        if self._losses.listwise:
            found["listwise"] = losses.listwise_cross_entropy(self.score_candidates(state, inputs, training), labels)
            total += self._losses.listwise * found["listwise"]
        return {"loss": total, **found}

    def get_config(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "sizes": dataclasses.asdict(self._sizes),
            "options": dataclasses.asdict(self._options),
            "loss_options": dataclasses.asdict(self._losses),
            "text_encoder": self.text_encoder.get_config(),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> ProfileMatcher:
        del custom_objects
        return cls(**{**config, "text_encoder": ProfileEncoder.from_config(config["text_encoder"])})


def _options(values: ProfileMatcherOptions | dict[str, Any]) -> ProfileMatcherOptions:
    if isinstance(values, ProfileMatcherOptions):
        return values
    return ProfileMatcherOptions(**{**values, "text_encoder": TextEncoderOptions(**values["text_encoder"])})
