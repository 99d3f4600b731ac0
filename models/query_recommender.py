"""The model of the entry `query_recommender`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf

from models import features, perturbation, query_losses
from models.catalogue_model import CatalogueModel, Tensors, catalogue_rows
from models.described_items import DescribedItems, put_rows
from models.evidence_path import EvidencePath
from models.item_encoder import ItemEncoder, ItemTable
from models.paths import named_items
from models.shopper import Shopper
from models.sizes import Sizes
from models.slice_autoencoder import newest_events
from models.user_state import UserState
from models.word_bag import WordBag
from models.word_match import QueryWords, WordMatch
from models.zero_attention import ZeroAttention
from models.zoo.query_recommender import QueryRecommenderOptions

#: Items whose vectors are made at once, for the table that serving reads.
_ITEMS_AT_ONCE = 4096
#: Counts of an item without events, and what keeps a logarithm finite.
_UNSEEN = 0.1


@dataclass
class QueryState(UserState):
    """`UserState` with the query's words, and what is counted of the history's neighbours (float [B, V] or [B, R])."""

    words: QueryWords
    near: tf.Tensor


class QueryRecommender(CatalogueModel):
    """score(u, q, i) = v·r_i + c·cover(q, i) - g·n_q·log n_i + p·log share_i + near(u, i) + b·[i in history].

    The dual encoder: r_i is `ItemEncoder`'s of id, attributes and the words of the item, W·Σ e_w/√n, and
    v = W_q·q + `ZeroAttention`(q, r of the history) + W_p·profile + context, with q = Σ share_w·e_w over the query's
    words. Beside it, cover is `WordMatch`'s, which outlasts a typo; n_q words of a query are less likely to be meant by
    an item of n_i words, the more it has; share_i is the item's share of all sales, what is likely to be chosen by
    anybody, and near is `EvidencePath`'s, what is likelier for this user. c, g, p and b (0 at the start: whether people
    choose again what they had) are learned. Without a query v and the last three terms are left, which is what
    `recommend` ranks by.

    Trained with the softmax over the other items of the batch, corrected for how often they are there (logQ), and over
    hard negatives: items drawn from those that hold the query's rarest word, see `models.query_losses`.

    Args:
      sizes: of the shop, or their values in a dict.
      options: `QueryRecommenderOptions`, or their values in a dict.

    Reference: Yi et al., Sampling-Bias-Corrected Neural Modeling (2019); hard negatives as in Huang et al.,
    Embedding-based Retrieval in Facebook Search (2020); personalised as in Ai et al., A Zero Attention Model for
    Personalized Product Search (2019); the query as drawn from the item's words, Ponte and Croft, A Language Modeling
    Approach to Information Retrieval (1998).
    """

    LOSSES: ClassVar[tuple[str, ...]] = ("catalogue",)
    READS_ITEMS: ClassVar[bool] = True

    def __init__(
        self, sizes: Sizes | dict[str, Any], options: QueryRecommenderOptions | dict[str, Any], **kwargs: Any
    ) -> None:
        shop = Sizes(**sizes) if isinstance(sizes, dict) else sizes
        super().__init__(shop.items, **{"name": "query_recommender", **kwargs})
        self._sizes = shop
        self._options = QueryRecommenderOptions(**options) if isinstance(options, dict) else options
        chosen = self._options
        width = chosen.dimension
        self.item_encoder = ItemEncoder(
            shop.items, width, width, shop.categories, shop.brands, shop.price_buckets, chosen.id_dropout, name="items"
        )
        self.word_match = WordMatch(shop.items, chosen.vocabulary, chosen.item_words, name="word_match")
        # One more word, which stands for none.
        self.words = WordBag(chosen.vocabulary + 1, width, (chosen.vocabulary,), name="words")
        self.attention = ZeroAttention(width, chosen.heads, chosen.max_history, name="attention")
        dense = tf.keras.layers.Dense
        self.query_projection = dense(width, use_bias=False, name="query_projection")
        self.query_projection.build([None, width])
        self.profile = None
        if chosen.use_profile:
            self.profile = WordBag(shop.wordpieces, width, shop.special_tokens, name="profile")
        self.context_embeddings = {
            column: tf.keras.layers.Embedding(size, width, name=f"{column}_embedding")
            for column, size in sorted(shop.context.items())
        }
        for embedding in self.context_embeddings.values():
            embedding.build([None])
        self.evidence_path = None
        if chosen.neighbours or chosen.content_neighbours:
            self.evidence_path = EvidencePath(
                shop.items,
                chosen.neighbours,
                chosen.content_neighbours,
                decay=chosen.decay,
                max_history=chosen.max_history,
                name="evidence_path",
            )
        self.input_dropout = tf.keras.layers.Dropout(chosen.dropout, name="input_dropout")

        def learned(name: str, value: float) -> tf.Variable:
            return self.add_weight(name=name, shape=[], initializer=tf.constant_initializer(value))

        # Where counting alone would put them.
        self.cover_scale = learned("cover_scale", 15.0)
        self.length_scale = learned("length_scale", 0.7)
        self.prior_scale = learned("prior_scale", 1.0)
        self.repeat_scale = learned("repeat_scale", 0.0)
        self.share = self.add_weight(
            name="share", shape=[shop.items], initializer=tf.constant_initializer(1.0 / shop.items), trainable=False
        )
        self.vectors = self.add_weight(name="vectors", shape=[shop.items, width], initializer="zeros", trainable=False)
        self.built = True

    # --- the catalogue -------------------------------------------------------------------------------------------

    @property
    def token_texts(self) -> tuple[str, ...]:
        return (features.QUERY_TEXT_XF, *((features.PROFILE_TOKENS_XF,) if self._options.use_profile else ()))

    @property
    def learns_text(self) -> bool:
        """Whether the table of item vectors follows from what training changes."""
        return True

    @property
    def counts(self) -> bool:
        return self.evidence_path is not None

    def count(self, shoppers: Iterable[Shopper]) -> None:
        if self.evidence_path is not None:
            self.evidence_path.count(list(shoppers))

    def set_catalogue(self, table: ItemTable, sales: np.ndarray, first_day: int) -> None:
        if table.texts is None:
            raise ValueError("the catalogue has no texts; expected `ItemTable.texts`, which queries are held against.")
        super().set_catalogue(table, sales, first_day)
        self.item_encoder.set_table(table)
        self.word_match.set_texts(table.texts)
        if self.evidence_path is not None:
            self.evidence_path.set_texts(self.word_match.words_of.numpy(), [self._options.vocabulary])
        counted = sales.sum(0) + _UNSEEN
        self.share.assign((counted / counted.sum()).astype(np.float32))
        self.refresh_item_text()

    def refresh_item_text(self) -> None:
        parts = [tf.range(i, min(i + _ITEMS_AT_ONCE, self.items)) for i in range(0, self.items, _ITEMS_AT_ONCE)]
        vectors = [tf.cast(self._encoded(rows, training=False), tf.float32) for rows in parts]
        self.vectors.assign(tf.concat(vectors, 0))

    def keep_spare(self, number: int) -> None:
        super().keep_spare(number)
        if number:  # an item to come sells what the one that sells least does
            known = self.share[: self.items - number]
            self.share.assign(tf.concat([known, tf.fill([number], tf.reduce_min(known))], 0))

    def put_items(self, rows: tf.Tensor, items: DescribedItems, texts: bool = True) -> None:
        self.item_encoder.put_rows(rows, items)
        if texts:
            self.word_match.put_rows(rows, items.texts)
        put_rows(self.vectors, rows, self._encoded(rows, training=False))

    def item_vectors(self, rows: tf.Tensor | None = None) -> tf.Tensor:
        return tf.convert_to_tensor(self.vectors) if rows is None else tf.gather(self.vectors, rows)

    def _encoded(self, rows: tf.Tensor, training: bool, kept: tf.Tensor | None = None) -> tf.Tensor:
        """Vectors of items, [R, d], from what they are made of."""
        texts = self.words(tf.gather(self.word_match.words_of, rows))
        return self.item_encoder(self.input_dropout(texts, training=training), rows, kept, training=training)

    # --- users, items, scores ------------------------------------------------------------------------------------

    def encode_user(self, inputs: Tensors, training: bool = False) -> QueryState:
        positions = catalogue_rows(inputs[features.HISTORY_ITEMS_XF])
        rows, mask = newest_events(positions, self._options.max_history)
        words = self.word_match.read(inputs[features.QUERY_TEXT_XF], training)
        vector = self._user(inputs, words, tf.gather(self.vectors, rows), mask, training)
        near = self._near(inputs, positions, self.item_encoder.kept())
        return QueryState(vector=vector, positions=positions, words=words, near=near)

    def raw_scores(self, state: QueryState) -> tf.Tensor:
        return self._scores(state, tf.convert_to_tensor(self.vectors))

    def _user(
        self, inputs: Tensors, words: QueryWords, events: tf.Tensor, mask: tf.Tensor, training: bool
    ) -> tf.Tensor:
        """v, [B, d]."""
        vectors = tf.gather(self.words.vectors, words.places)
        query = tf.einsum("bqc,bqcd->bd", tf.cast(words.shares, vectors.dtype), vectors)
        query = perturbation.embedded(tf.cast(query, self.compute_dtype))
        events = tf.cast(events, self.compute_dtype)
        events = perturbation.embedded(events * tf.cast(mask, events.dtype)[:, :, tf.newaxis])
        events = self.input_dropout(events, training=training)
        vector = self.query_projection(query) + self.attention(query, events, mask)
        if self.profile is not None:
            vector += self.input_dropout(self.profile(inputs[features.PROFILE_TOKENS_XF]), training=training)
        for column, embedding in self.context_embeddings.items():
            vector += embedding(inputs[features.context_xf(column)])
        return vector

    def _near(
        self,
        inputs: Tensors,
        positions: tf.Tensor,
        kept: tf.Tensor,
        rows: tf.Tensor | None = None,
        training: bool = False,
    ) -> tf.Tensor:
        if self.evidence_path is None:
            size = self.items if rows is None else tf.size(rows)
            return tf.zeros(tf.stack([tf.shape(positions)[0], size]))
        users = inputs[features.USER_KEY_XF] if training else None
        return self.evidence_path(positions, users, kept, rows, training=training)

    def _scores(self, state: QueryState, vectors: tf.Tensor, rows: tf.Tensor | None = None) -> tf.Tensor:
        """Scores of all items, or of some, float32 [B, R]; `vectors` are theirs."""

        def wanted(table: tf.Tensor) -> tf.Tensor:
            return tf.convert_to_tensor(table) if rows is None else tf.gather(table, rows)

        scores = tf.cast(tf.matmul(state.vector, tf.cast(vectors, state.vector.dtype), transpose_b=True), tf.float32)
        scores += tf.cast(self.cover_scale, tf.float32) * self.word_match(state.words, rows)
        lengths = tf.math.log(wanted(self.word_match.numbers))
        scores -= tf.cast(self.length_scale, tf.float32) * state.words.number[:, tf.newaxis] * lengths
        scores += tf.cast(self.prior_scale, tf.float32) * tf.math.log(wanted(self.share)) + state.near
        had = named_items(state.positions, self.items)
        had = had if rows is None else tf.gather(had, rows, axis=1)
        return scores + tf.cast(self.repeat_scale, tf.float32) * had

    # --- training ------------------------------------------------------------------------------------------------

    def compute_losses(self, inputs: Tensors, labels: tf.Tensor, training: bool) -> dict[str, tf.Tensor]:
        candidates = catalogue_rows(inputs[features.CANDIDATE_ITEMS_XF])
        known = tf.logical_and(labels > 0, candidates >= 0)
        positives = tf.where(known, candidates, -1)
        words = self.word_match.read(inputs[features.QUERY_TEXT_XF], training)
        hard, holders = self.word_match.holders(words.rarest, self._options.hard_negatives)
        there = tf.boolean_mask(candidates, known)
        rows, _ = tf.unique(tf.concat([there, tf.reshape(hard, [-1])], 0))
        history = catalogue_rows(inputs[features.HISTORY_ITEMS_XF])
        if training and self._options.history_dropout:
            hidden = perturbation.uniform([tf.shape(history)[0], 1]) < self._options.history_dropout
            history = tf.where(hidden, -1, history)
        newest, mask = newest_events(history, self._options.max_history)
        needed, places = tf.unique(tf.concat([rows, tf.reshape(newest, [-1])], 0))
        kept = self.item_encoder.kept(needed, training)
        encoded = self._encoded(needed, training, kept)
        events = tf.gather(encoded, tf.reshape(places[tf.size(rows) :], tf.shape(newest)))
        state = QueryState(
            vector=self._user(inputs, words, events, mask, training),
            positions=history,
            words=words,
            near=self._near(inputs, history, tf.gather(kept, places[: tf.size(rows)]), rows, training),
        )
        scores = self._scores(state, tf.gather(encoded, places[: tf.size(rows)]), rows)
        held = query_losses.holds(tf.gather(self.word_match.words_of, rows), words.rarest, self._options.vocabulary)
        weights = query_losses.negative_weights(rows, there, tf.gather(self.share, rows), hard, holders, held)
        loss = query_losses.sampled_cross_entropy(scores, rows, weights, positives)
        return {"loss": loss, "catalogue": loss}

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name, "sizes": vars(self._sizes).copy(), "options": vars(self._options).copy()}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> QueryRecommender:
        del custom_objects
        return cls(**config)
