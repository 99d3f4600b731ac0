"""The flagship: profile, slices, fusion and head joined to one model that ranks."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf

from models import features, losses, perturbation
from models.affinity_path import AffinityPath
from models.candidate_text import unknown_texts
from models.catalogue_model import CatalogueModel, Tensors, catalogue_rows
from models.catalogue_sampler import CatalogueSampler, Sample
from models.cooccurrence_path import CooccurrencePath
from models.described_items import DescribedItems, put_rows
from models.evidence_path import EvidencePath
from models.fusion import UserFusion
from models.item_encoder import ItemEncoder, ItemTable
from models.item_regression import MOST_ITEMS
from models.layers.repeat_mixture import RepeatMixture
from models.linear_path import LinearPath
from models.merge import MergeLayer
from models.paths import PopularityPath, RepeatPath, named_items
from models.profile_encoder import ProfileEncoder
from models.query_match import QueryMatch
from models.ranker_config import RankerConfig
from models.ranking_head import RankingHead
from models.shopper import Shopper
from models.slice_autoencoder import SliceAutoencoder
from models.user_state import RankerState
from models.word_bag import WordBag


class Ranker(CatalogueModel):
    """Ranks items for a user by RankingHead(u, r), u = UserFusion(p, X, newest slice, query, context).

    p is the profile text's vector, X the merged slices of the history (with `use_newest_event` the state of the newest
    event stands beside the newest slice), r an item's vector (id, text, attributes and, by switches of their own, image
    and related items; an item that the catalogue does not know has its text alone).
    With a query the score gains what `QueryMatch` finds, and with a history what `CooccurrencePath`, `EvidencePath` and
    `AffinityPath` say of items (with the copy path, of those that are not in it). The head's explicit paths see the
    whole history.

    With `config.tasks` each task has a score of its own, s_t: the head's (see there) and what all share, the match and
    what the history says. The repeat mixture's gate gains a number of each, linear in what it sees, 0 at the start. The
    catalogue loss is one for each task, over its positives (`losses.of_strength`). Served, calibrated, and seen by the
    other losses, is the mixture of s = Σ_t w_t·s_t, w_t = tasks[t] / Σ tasks, with the gate's number so averaged: one
    number an item, whose order is that of Σ_t tasks[t]·s_t among repeats and among the others.

    Args:
      config: sizes and switches.
      text_encoder: the (shared) encoder of profile, query and item texts.

    Call arguments:
      inputs: transformed features by the names of `models.features`: `profile_tokens_xf` [B, P] or
        `profile_pooled_xf` [B, h]; `query_tokens_xf` or `query_pooled_xf`; `history_*_xf` [B, H]; `request_day_xf` [B];
        one int [B] per context column; `candidate_items_xf` [B, N], `candidate_text_positions_xf` [B, M] (-1: none)
        and `candidate_tokens_xf` [B, M, T]; for the losses of tasks `label_strengths_xf` [B, N].

    Returns:
      float32 [B, N], one score a candidate; candidates that are padding get a score too.

    Reference: the parts' own; the whole follows the order of Covington et al., Deep Neural Networks for YouTube
    Recommendations (2016), user tower and candidate scoring over one item table.
    """

    text_encoder: ProfileEncoder
    mixture: RepeatMixture

    LOSSES: ClassVar[tuple[str, ...]] = ("catalogue", "listwise", "binary", "reconstruction")
    READS_ITEMS: ClassVar[bool] = True
    COMPUTES_VECTORS: ClassVar[bool] = True
    TRACKED: ClassVar[tuple[str, ...]] = (
        "catalogue",
        "listwise",
        "binary",
        "reconstruction_items",
        "reconstruction_vector",
    )

    def __init__(self, config: RankerConfig | dict[str, Any], text_encoder: ProfileEncoder, **kwargs: Any) -> None:
        if isinstance(config, Mapping):
            config = RankerConfig(**config)
        by_task = [losses.task_loss(task) for task in config.tasks] or ["catalogue"]
        super().__init__(config.items, tracked=[*by_task, *self.TRACKED[1:]], **kwargs)
        self.config = config
        self.text_encoder = text_encoder
        # A plain object, so that what is kept in it is no part of a SavedModel.
        self._compiled = types.SimpleNamespace(encode=None)
        width, hidden = config.dimension, text_encoder.hidden_size
        self.item_encoder = ItemEncoder(
            config.items,
            width,
            hidden,
            config.categories,
            config.brands,
            config.price_buckets,
            config.id_dropout,
            config.image_width if config.use_image_embedding else 0,
            config.relations if config.use_relations else 0,
            config.relation_neighbours,
            name="item_encoder",
            dtype="float32",
        )
        if config.use_words:
            words, special = text_encoder.bert_config["vocab_size"], config.special_tokens
            self.word_bag = WordBag(words, width, special, name="word_bag", dtype="float32")
        self.type_embeddings = tf.keras.layers.Embedding(config.event_types, width, name="type_embeddings")
        self.gap_embeddings = tf.keras.layers.Embedding(config.gap_buckets, width, name="gap_embeddings")
        self.context_embeddings = {
            column: tf.keras.layers.Embedding(size, 8, name=f"{column}_embedding")
            for column, size in sorted(config.context.items())
        }
        self.autoencoder = SliceAutoencoder(
            width,
            config.code_dimension,
            config.slice_length,
            config.slices,
            config.slice_layers,
            config.slice_heads,
            config.dropout,
            name="autoencoder",
        )
        self.merge = MergeLayer(config.merge, config.slices, name="merge")
        self.fusion = UserFusion(width, 2 * width, config.dropout, name="fusion", dtype="float32")
        if config.use_cooccurrence:
            self.cooccurrence_path = CooccurrencePath(
                config.items,
                width,
                config.decay_days,
                config.history_dropout,
                name="cooccurrence_path",
                dtype="float32",
            )
        if config.use_evidence:
            self.evidence_path = EvidencePath(
                config.items,
                config.neighbours,
                config.content_neighbours,
                max_history=config.slices * config.slice_length,
                name="evidence_path",
            )
        if config.use_affinity:
            sizes = (config.categories, config.brands, config.price_buckets)
            self.affinity_path = AffinityPath(sizes, config.event_types, config.decay_days, name="affinity_path")
        interactions = 0
        if config.use_copy or config.use_mixture:
            self.repeat_path = RepeatPath(
                config.items, config.event_types, config.decay_days, name="repeat_path", dtype="float32"
            )
        if config.use_copy:
            interactions += self.repeat_path.width
        if config.use_mixture:
            slopes = (0, 0, 0, 0, 1, *((1,) if config.tasks else ()))
            self.mixture = RepeatMixture(slopes, name="mixture", dtype="float32")
            if config.tasks:
                self.task_gates = tf.keras.layers.Dense(
                    len(config.tasks), kernel_initializer="zeros", name="task_gates", dtype="float32"
                )
                self.task_gates.build([None, 5])
        if config.use_popularity:
            self.popularity_path = PopularityPath(
                config.items, config.days, config.popularity_days, name="popularity_path", dtype="float32"
            )
            interactions += self.popularity_path.width
        if config.use_linear:
            self.linear_path = LinearPath(config.items, config.linear_regularisation, name="linear_path")
            interactions += self.linear_path.width
        words = (text_encoder.bert_config["vocab_size"], config.items, config.text_length, config.special_tokens)
        self.query_match = QueryMatch(width, hidden, *(words if config.use_lexical else ()), name="query_match")
        if config.sampled_items:
            self.sampler = CatalogueSampler(config.items, config.sampled_items)
        size = min(width, hidden)
        bilinear = np.eye(width, dtype=np.float32)
        bilinear[:size, :size] += text_encoder.pooler_kernel().numpy()[:size, :size]
        self.head = RankingHead(
            width,
            interactions,
            bilinear=bilinear.tolist(),
            tasks=tuple(config.tasks.values()),
            name="head",
            dtype="float32",
        )
        self._build_parts(hidden)

    def _build_parts(self, hidden: int) -> None:
        config, width = self.config, self.config.dimension
        self.type_embeddings.build([None])
        self.gap_embeddings.build([None])
        for embedding in self.context_embeddings.values():
            embedding.build([None])
        self.autoencoder.build([None, None, width])
        merged = config.code_dimension if config.merge_source == "codes" else width
        if not config.use_autoencoder:
            merged = width
        self.merge.build([None, config.slices, merged])
        merged_width = merged * (config.slices if config.use_merge and config.merge == "concat" else 1)
        parts = [[None, merged_width], *([None, width] for _ in range(3 if config.use_newest_event else 2))]
        if config.use_profile:
            parts.append([None, width])
        parts.extend([None, 8] for _ in self.context_embeddings)
        self.fusion.build(parts)
        self.item_tokens = self.add_weight(
            name="item_tokens",
            shape=[config.items, config.text_length],
            dtype="int64",
            initializer="zeros",
            trainable=False,
        )
        self.built = True

    # --- the catalogue -------------------------------------------------------------------------------------------

    @property
    def pooled_texts(self) -> tuple[str, ...]:
        return (features.QUERY_TOKENS_XF, *((features.PROFILE_TOKENS_XF,) if self.config.use_profile else ()))

    @property
    def token_texts(self) -> tuple[str, ...]:
        return (features.QUERY_TOKENS_XF,) if self.config.use_lexical else ()

    def set_catalogue(self, table: ItemTable, sales: np.ndarray, first_day: int) -> None:
        if not self.config.use_attributes:
            table = table.without_attributes()
        super().set_catalogue(table, sales, first_day)
        self.item_encoder.set_table(table)
        self.item_tokens.assign(table.tokens)
        if self.config.use_popularity:
            self.popularity_path.set_table(sales, first_day)
        if self.config.use_lexical:
            self.query_match.lexical_path.set_table(table.tokens)
        if self.config.use_evidence:
            self.evidence_path.set_texts(table.tokens, self.config.special_tokens)
        if self.config.sampled_items:
            self.sampler.set_table(sales.sum(0), table.servable)
        self.refresh_item_text()

    @property
    def counts(self) -> bool:
        return self.config.use_evidence or self.config.use_linear

    def count(self, shoppers: Iterable[Shopper]) -> None:
        known = list(shoppers)
        if self.config.use_evidence:
            self.evidence_path.count(known)
        if self.config.use_linear:
            self.linear_path.count(known)

    def refresh_item_text(self, batch_size: int = 64) -> None:
        """Encodes the texts of all items anew; needed after BERT has changed, and before export."""
        if self.config.item_text == "none":
            return  # their vectors stay zero
        if self._compiled.encode is None:
            signature = [tf.TensorSpec([None, self.config.text_length], tf.int64)]
            self._compiled.encode = tf.function(self.text_encoder.pool, input_signature=signature)
        tokens = self.item_tokens.numpy()
        chunks = [
            self._compiled.encode(tf.constant(tokens[i : i + batch_size])) for i in range(0, len(tokens), batch_size)
        ]
        self.item_encoder.set_text_vectors(tf.concat(chunks, 0))

    @property
    def most_items(self) -> int | None:
        return MOST_ITEMS if self.config.use_linear else None

    def put_items(self, rows: tf.Tensor, items: DescribedItems, texts: bool = True) -> None:
        if self.config.use_attributes:
            self.item_encoder.put_rows(rows, items)
        if texts:
            if self.config.item_text != "none":
                self.item_encoder.put_texts(rows, self.text_encoder.pool(items.tokens))
            put_rows(self.item_tokens, rows, items.tokens)
            if self.config.use_lexical:
                self.query_match.lexical_path.put_rows(rows, items.tokens)
        super().put_items(rows, items, texts)

    def _readers(self, rows: tf.Tensor) -> tf.Tensor:
        return self.item_encoder.readers(rows)

    # --- user and items ------------------------------------------------------------------------------------------

    def encode_user(self, inputs: Tensors, training: bool = False, sample: Sample | None = None) -> RankerState:
        """Everything about the user and the catalogue, or a sample of it, that scoring needs."""
        config = self.config
        rows = None if sample is None else sample.rows

        def wanted(table: tf.Tensor) -> tf.Tensor:
            return tf.convert_to_tensor(table) if rows is None else tf.gather(table, rows)

        if training and config.item_text == "through":
            item_pooled = self.text_encoder.pool(wanted(self.item_tokens), training=True)
        else:
            item_pooled = wanted(self.item_encoder.text_vectors)
        kept = self.item_encoder.kept(rows, training)
        items = self.kept_vectors
        items = self._vectors(item_pooled, rows, kept, training) if items is None else tf.convert_to_tensor(items)
        catalogue_positions = catalogue_rows(inputs[features.HISTORY_ITEMS_XF])
        positions = catalogue_positions if sample is None else sample.positions
        slices = self._slices(inputs, items, positions, training)
        query, match = self.query_match(
            self._pooled(inputs, features.QUERY_TOKENS_XF, features.QUERY_POOLED_XF, training),
            inputs[features.QUERY_TOKENS_XF] if config.use_lexical else None,
            items,
            item_pooled,
            rows,
        )
        parts = [*self._sequence_parts(slices), query]
        if config.use_profile:
            pooled = self._pooled(inputs, features.PROFILE_TOKENS_XF, features.PROFILE_POOLED_XF, training)
            parts.append(self.text_encoder.project(pooled))
        for column, embedding in self.context_embeddings.items():
            parts.append(embedding(inputs[features.context_xf(column)]))
        vector = self.fusion([tf.cast(part, tf.float32) for part in parts], training=training)
        asked = tf.cast(tf.reduce_any(query != 0, -1, keepdims=True), tf.float32)
        similar = None
        if config.use_cooccurrence:
            gaps = inputs[features.HISTORY_GAPS_XF]
            similar = self.cooccurrence_path(positions, gaps, kept, asked, rows, training=training)
        users = inputs[features.USER_KEY_XF] if training and self.counts else None
        if config.use_evidence:
            near = self.evidence_path(catalogue_positions, users, kept, rows, training=training)
            similar = near if similar is None else similar + near
        if config.use_affinity:
            encoder, gaps = self.item_encoder, inputs[features.HISTORY_GAPS_XF]
            tables = (encoder.item_categories, encoder.item_brands, encoder.item_price_buckets)
            types = inputs[features.HISTORY_TYPES_XF]
            alike = self.affinity_path(tables, catalogue_positions, types, gaps, asked, rows)
            similar = alike if similar is None else similar + alike
        servable = tf.cast(self.servable, tf.float32)
        if self.spare_items:  # outside of what is calibrated, as items that the catalogue does not know
            servable = servable * tf.cast(tf.range(self.items) < self.items - self.spare_items, tf.float32)
        servable = wanted(servable)
        interactions: list[tf.Tensor] = []
        repeated = None
        if config.use_copy or config.use_mixture:
            counted, repeated, numbers = self.repeat_path(
                positions,
                inputs[features.HISTORY_TYPES_XF],
                inputs[features.HISTORY_GAPS_XF],
                None if rows is None else tf.size(rows),
            )
            if config.use_copy:
                interactions.append(counted)
        habits = None
        if config.use_mixture:
            # No gradient: the gate would teach the query to match whatever belongs to its side.
            evidence = self._evidence(tf.stop_gradient(match), repeated, servable, sample)
            habits = self._gated(tf.concat([numbers, asked, asked * evidence], -1))
        if config.use_popularity:
            interactions.append(self.popularity_path(inputs[features.REQUEST_DAY_XF], rows))
        if config.use_linear:
            gaps = inputs[features.HISTORY_GAPS_XF]
            interactions.append(self.linear_path(catalogue_positions, gaps, users, kept, rows, training=training))
        return RankerState(
            vector=vector,
            query=query,
            features=tf.concat(interactions, -1) if interactions else None,
            repeated=repeated,
            habits=habits,
            match=match,
            similar=similar,
            slices=slices,
            positions=positions,
            items=items,
            servable=servable,
            sample=sample,
        )

    def _vectors(
        self, pooled: tf.Tensor | None, rows: tf.Tensor | None, kept: tf.Tensor | None, training: bool
    ) -> tf.Tensor:
        """Item vectors as `ItemEncoder` makes them, with the words of the items' texts where they count."""
        items = self.item_encoder(pooled, rows, kept, training=training)
        if not self.config.use_words:
            return items
        tokens = tf.convert_to_tensor(self.item_tokens) if rows is None else tf.gather(self.item_tokens, rows)
        return items + self.word_bag(tokens)

    def _evidence(self, match: tf.Tensor, repeated: tf.Tensor, servable: tf.Tensor, sample: Sample | None) -> tf.Tensor:
        """log of Σ exp(match) over the history by that over other items, [B, 1]; 0 where one of them has no item."""
        weights = tf.zeros_like(match) if sample is None else sample.corrections(self._own(sample))
        far = tf.constant(-1e9, match.dtype)
        weights = tf.where(servable > 0, weights, far)
        sums = [
            tf.reduce_logsumexp(tf.where(part, match + weights, far), -1, keepdims=True)
            for part in (repeated > 0, repeated == 0)
        ]
        return tf.where(tf.minimum(*sums) > -1e8, sums[0] - sums[1], 0)

    def _pooled(self, inputs: Tensors, tokens: str, pooled: str, training: bool) -> tf.Tensor:
        if pooled in inputs:
            return inputs[pooled]
        return self.text_encoder.pool(inputs[tokens], training=training)

    def _slices(self, inputs: Tensors, items: tf.Tensor, positions: tf.Tensor, training: bool) -> dict[str, tf.Tensor]:
        known = positions >= 0
        events = tf.gather(items, tf.maximum(positions, 0)) * tf.cast(known, items.dtype)[:, :, tf.newaxis]
        events = tf.cast(events, self.compute_dtype)
        events += self.type_embeddings(inputs[features.HISTORY_TYPES_XF])
        events = perturbation.embedded(events + self.gap_embeddings(inputs[features.HISTORY_GAP_BUCKETS_XF]))
        mask = inputs[features.HISTORY_ITEMS_XF] > 0
        if training and self.config.history_dropout:
            keep = perturbation.uniform(tf.shape(mask)) >= self.config.history_dropout
            events *= tf.cast(keep, events.dtype)[:, :, tf.newaxis] / (1 - self.config.history_dropout)
        return self.autoencoder(events, mask, training=training)

    def _sequence_parts(self, slices: dict[str, tf.Tensor]) -> list[tf.Tensor]:
        config = self.config
        use_codes = config.use_autoencoder and config.merge_source == "codes"
        source = slices["codes"] if use_codes else slices["vectors"]
        merged = self.merge(source, slices["slice_mask"]) if config.use_merge else source[:, -1, :]
        return [merged, slices["vectors"][:, -1, :], *([slices["newest"]] if config.use_newest_event else [])]

    # --- scores --------------------------------------------------------------------------------------------------

    def score_catalogue(self, state: RankerState, training: bool = False) -> tf.Tensor:
        """Scores of all items, float32 [B, V]; -1e9 for items that may not be recommended."""
        calibrated, normaliser = self._calibrated(state, training)
        if not self.spare_items:
            return calibrated
        first = self.items - self.spare_items
        similar = None if state.similar is None else state.similar[:, first:]
        scores = self._cold_scores(state, state.items[first:], state.match[:, first:], similar)
        scores = self._beside(state, scores, normaliser, training)
        return tf.concat([calibrated[:, :first], tf.where(self.servable[first:] > 0, scores, -1e9)], 1)

    def all_scores(self, state: RankerState) -> tf.Tensor:
        return self.score_catalogue(state)

    def raw_scores(self, state: RankerState, task: int | None = None) -> tf.Tensor:
        """Scores of all items before the repeat mixture, float32 [B, V]; those served, or those of one task."""
        repeated = state.repeated if self.config.use_copy else None
        scores = self.head(state.vector, state.items, state.features, repeated, task) + state.match
        if state.similar is not None:
            scores += state.similar if repeated is None else state.similar * (1 - repeated)
        return scores

    def score_task(self, state: RankerState, task: str, training: bool = False) -> tf.Tensor:
        """As `score_catalogue`, of one task alone."""
        return self._calibrated(state, training, list(self.config.tasks).index(task))[0]

    def _gated(self, habits: tf.Tensor, task: int | None = None) -> tf.Tensor:
        """What the mixture's gate sees, with what the tasks say of it, or one of them."""
        if not self.config.tasks:
            return habits
        said = tf.linalg.matvec(self.task_gates(habits), self.head.shares(task))
        return tf.concat([habits, said[:, tf.newaxis]], -1)

    def _calibrated(self, state: RankerState, training: bool, task: int | None = None) -> tuple[tf.Tensor, tf.Tensor]:
        """(scores of all items [B, V], what to take off the raw score of an item outside the catalogue [B])."""
        scores, allowed = self.raw_scores(state, task), state.servable
        if state.sample is not None:
            corrections = state.sample.corrections(self._own(state.sample))
            scores, allowed = scores + corrections, allowed * tf.cast(corrections > -1e8, tf.float32)
        if not self.config.use_mixture:
            return tf.where(allowed > 0, scores, -1e9), tf.zeros_like(scores[:, 0])
        habits = state.habits
        if habits is not None and task is not None:
            habits = self._gated(habits[:, :-1], task)
        return self.mixture(scores, state.repeated, habits, allowed, training=training)

    def _own(self, sample: Sample) -> tf.Tensor:
        """Float [B, R], 1 for items of the sample that are in the decision's own history or among its candidates."""
        named = tf.concat([sample.positions, sample.candidates], 1)
        return named_items(named, tf.size(sample.rows))

    def _candidate_rows(self, state: RankerState, inputs: Tensors) -> tf.Tensor:
        """Int [B, N], places of the candidates in `state.items`; -1 for unknown ones and padding."""
        return catalogue_rows(inputs[features.CANDIDATE_ITEMS_XF]) if state.sample is None else state.sample.candidates

    def score_candidates(self, state: RankerState, inputs: Tensors, training: bool = False) -> tf.Tensor:
        """Scores of the candidates, float32 [B, N], on the scale of `score_catalogue`.

        Items that the catalogue does not know, or may not recommend, are scored from what is known of them: the text
        that the request brings, or their row's text and attributes and what the history says of it, as of items that
        are not in it.
        """
        rows = self._candidate_rows(state, inputs)
        known = rows >= 0
        rows = tf.maximum(rows, 0)
        calibrated, normaliser = self._calibrated(state, training)
        warm = tf.logical_and(known, tf.gather(state.servable, rows) > 0)
        texts, where, words = unknown_texts(inputs, self.text_encoder, training=training)
        if self.config.item_text == "none":
            texts = tf.zeros_like(texts)
        in_table = tf.cast(known, tf.float32)[:, :, tf.newaxis]
        cold_item = tf.cast(self.item_encoder.from_text(texts), tf.float32)
        if self.config.use_words:
            cold_item = tf.tensor_scatter_nd_add(cold_item, where, tf.cast(self.word_bag(words), tf.float32))
        items = tf.gather(state.items, rows) * in_table + cold_item * (1 - in_table)
        query_tokens = inputs[features.QUERY_TOKENS_XF] if self.config.use_lexical else None
        match = self.query_match.of_candidates(state.query, query_tokens, cold_item, texts, where, words)
        match = tf.where(known, tf.gather(state.match, rows, batch_dims=1), match)
        similar = None
        if state.similar is not None:
            similar = tf.where(known, tf.gather(state.similar, rows, batch_dims=1), 0)
        cold = self._beside(state, self._cold_scores(state, items, match, similar), normaliser, training)
        return tf.where(warm, tf.gather(calibrated, rows, batch_dims=1), cold)

    def _cold_scores(
        self, state: RankerState, items: tf.Tensor, match: tf.Tensor, similar: tf.Tensor | None
    ) -> tf.Tensor:
        """Scores, [B, N], of items without events, by their vectors, [B, N, d], or [N, d] for the same in every row."""
        counted = None
        if state.features is not None:
            counted = tf.zeros([*tf.unstack(tf.shape(match)), state.features.shape[-1]])
        scores = self.head(state.vector, items, counted) + match
        return scores if similar is None else scores + similar

    def _beside(self, state: RankerState, scores: tf.Tensor, normaliser: tf.Tensor, training: bool) -> tf.Tensor:
        """Scores of items outside the calibrated catalogue, on its scale."""
        if state.habits is None:
            return scores
        if not training:
            scores = scores / tf.exp(self.mixture.log_temperature)
        return scores - normaliser[:, tf.newaxis]

    def item_vectors(self, rows: tf.Tensor | None = None) -> tf.Tensor:
        return self._vectors(None, rows, None, training=False)

    # --- training ------------------------------------------------------------------------------------------------

    def compute_losses(self, inputs: Tensors, labels: tf.Tensor, training: bool) -> dict[str, tf.Tensor]:
        """Every loss with a weight, unweighted, and their weighted sum under `loss`."""
        weights = self.config.loss_weights
        if training and self.config.query_dropout:
            inputs = self._some_unasked(inputs)
        sample = None
        if self.config.sampled_items and training:
            sample = self.sampler(
                catalogue_rows(inputs[features.HISTORY_ITEMS_XF]), catalogue_rows(inputs[features.CANDIDATE_ITEMS_XF])
            )
        state = self.encode_user(inputs, training=training, sample=sample)
        found: dict[str, tf.Tensor] = {}
        total = tf.constant(0.0)
        if weights.get("catalogue"):
            rows = self._candidate_rows(state, inputs)
            usable = tf.logical_and(labels > 0, tf.gather(state.servable, tf.maximum(rows, 0)) > 0)
            by_task = self._catalogue_losses(state, inputs, tf.where(usable, rows, -1), training)
            for name, (value, weight) in by_task.items():
                found[name] = value
                total += weights["catalogue"] * weight * value
        if weights.get("listwise") or weights.get("binary"):
            scores = self.score_candidates(state, inputs, training=training)
            for name, loss in (("listwise", losses.listwise_cross_entropy), ("binary", losses.binary_cross_entropy)):
                if weights.get(name):
                    found[name] = loss(scores, labels)
                    total += weights[name] * found[name]
        if weights.get("reconstruction") and self.config.use_autoencoder:
            places = state.slices["positions"]
            rows = tf.gather(state.positions, tf.maximum(places, 0), batch_dims=1)
            rows = tf.where(places >= 0, rows, -1)
            shape = [-1, self.config.slices, self.config.slice_length]
            by_item, by_vector = losses.reconstruction(
                state.slices["vectors"],
                state.slices["reconstructions"],
                state.slices["slice_mask"],
                state.items,
                tf.reshape(rows, shape),
                None if state.sample is None else state.sample.corrections(self._own(state.sample)),
            )
            found["reconstruction_items"], found["reconstruction_vector"] = by_item, by_vector
            total += weights["reconstruction"] * (by_item + by_vector)
        return {"loss": total, **found}

    def _some_unasked(self, inputs: Tensors) -> Tensors:
        """The inputs, in which `query_dropout` of the decisions have no query."""
        queries = [name for name in (features.QUERY_TOKENS_XF, features.QUERY_POOLED_XF) if name in inputs]
        asked = perturbation.uniform([tf.shape(inputs[queries[0]])[0], 1]) >= self.config.query_dropout
        return {**inputs, **{name: inputs[name] * tf.cast(asked, inputs[name].dtype) for name in queries}}

    def _catalogue_losses(
        self, state: RankerState, inputs: Tensors, positives: tf.Tensor, training: bool
    ) -> dict[str, tuple[tf.Tensor, float]]:
        """Name -> the catalogue loss, or that of a task, and its weight; `positives` int [B, N], -1 for none."""
        config = self.config
        if not config.tasks:
            logits = self.score_catalogue(state, training=training)
            return {"catalogue": (losses.catalogue_cross_entropy(logits, positives, config.label_smoothing), 1.0)}
        if features.LABEL_STRENGTHS_XF not in inputs:
            raise ValueError(
                f"inputs have no {features.LABEL_STRENGTHS_XF}; expected decisions that say what made a candidate "
                f"positive, for the tasks {', '.join(config.tasks)}."
            )
        found = {}
        for task, strength in config.task_strengths.items():
            logits = self.score_task(state, task, training=training)
            own = losses.of_strength(positives, inputs[features.LABEL_STRENGTHS_XF], strength)
            loss = losses.catalogue_cross_entropy(logits, own, config.label_smoothing)
            found[losses.task_loss(task)] = (loss, config.task_weights.get(task, 1.0))
        return found

    def get_config(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "config": dataclasses.asdict(self.config),
            "text_encoder": self.text_encoder.get_config(),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Ranker:
        del custom_objects
        encoder = ProfileEncoder.from_config(config["text_encoder"])
        return cls(config["config"], encoder, name=config["name"])
