"""The model of `profile_tagger`: one BERT, heads for tags, words and sentiment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import tensorflow as tf

from models import features, perturbation, text_words
from models.layers.attention_pooling import AttentionPooling
from models.profile_encoder import ProfileEncoder
from models.training_step import TrainingStep

Tensors = Mapping[str, tf.Tensor]

#: Labels of `compute_losses`.
TAGS, WORDS, SENTIMENT = "tags", "words", "sentiment"


class ProfileTagger(tf.keras.Model):
    """Reads tags, named words, sentiment and key words from a text.

    With H = BERT(x) the token states of a text x and α the attention of `AttentionPooling` over its words' tokens:
    p = W2·W1·Σ α_i·h_i is the text's vector; P(tag t) = σ(e_t·p + b_t); P(label of word w) = softmax(W·h_f(w) + b) at
    the word's first token f(w); P(positive) = σ(u·Σ α_i·h_i + c). The score of a word as a key word is the attention on
    its tokens: what the tags were read from.

    Args:
      encoder: BERT and projection (W1, W2).
      tags: T, number of tags.
      special_tokens: ids of tokens that are no words, padding first.
      mask_token: id that stands for hidden tokens in training.
      dropout: of states before the heads.
      word_dropout: share of tokens hidden in training.
      loss_weights: `tags`, `words`, `sentiment`.

    Call arguments:
      inputs: `TEXT_TOKENS_XF` int [B, L] and `TEXT_WORD_PLACES_XF` int [B, W]: the place of each word's first token, 0
        for none.

    Returns:
      dict of float32: `vector` [B, d], `tags` [B, T] and `sentiment` [B] (logits), `words` [B, W, labels] (logits in
      the order of `text_words.WORD_LABELS`), `attention` [B, W] (sum 1 over a text's words; 0 where there is none).

    Reference: BERT for sequence and token classification, Devlin et al. (2019).
    """

    TRACKED: ClassVar[tuple[str, ...]] = ("loss", TAGS, WORDS, SENTIMENT)

    def __init__(
        self,
        encoder: ProfileEncoder,
        tags: int,
        special_tokens: Sequence[int],
        mask_token: int,
        dropout: float = 0.1,
        word_dropout: float = 0.1,
        loss_weights: Mapping[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**{"name": "profile_tagger", **kwargs})
        self.text_encoder = encoder
        self.tags = tags
        self.special_tokens = tuple(int(token) for token in special_tokens)
        self.mask_token = mask_token
        self.dropout = dropout
        self.word_dropout = word_dropout
        self.loss_weights = dict(loss_weights or {TAGS: 1.0, WORDS: 1.0, SENTIMENT: 1.0})
        self.pooling = AttentionPooling(name="pooling")
        self.drop = tf.keras.layers.Dropout(dropout)
        # Few tags are true of a text, so they start out improbable.
        rare = tf.constant_initializer(-3.0)
        self.tag_head = tf.keras.layers.Dense(tags, bias_initializer=rare, dtype="float32", name="tag_head")
        self.word_head = tf.keras.layers.Dense(len(text_words.WORD_LABELS), dtype="float32", name="word_head")
        self.sentiment_head = tf.keras.layers.Dense(1, dtype="float32", name="sentiment_head")
        self.pooling.build([None, None, encoder.hidden_size])
        self.tag_head.build([None, encoder.dimension])
        self.word_head.build([None, None, encoder.hidden_size])
        self.sentiment_head.build([None, encoder.hidden_size])
        self.thresholds = self.add_weight(
            name="thresholds",
            shape=[tags],
            dtype="float32",
            initializer=tf.constant_initializer(0.5),
            trainable=False,
        )
        self.training_step = TrainingStep()
        self.trackers = {name: tf.keras.metrics.Mean(name=name) for name in self.TRACKED}

    def call(self, inputs: Tensors, training: bool = False) -> dict[str, tf.Tensor]:
        tokens = tf.cast(inputs[features.TEXT_TOKENS_XF], tf.int32)
        places = tf.cast(inputs[features.TEXT_WORD_PLACES_XF], tf.int32)
        special = tf.reduce_any(tf.equal(tokens[:, :, tf.newaxis], tf.constant(self.special_tokens)), -1)
        # A word that the vocabulary lacks counts as a word.
        unknown = tf.equal(tokens, self.special_tokens[1])
        real = tf.logical_or(tf.logical_not(special), unknown)
        if training and self.word_dropout:
            hidden = tf.logical_and(real, perturbation.uniform(tf.shape(tokens)) < self.word_dropout)
            tokens = tf.where(hidden, self.mask_token, tokens)
        states = self.drop(self.text_encoder.token_states(tokens, training=training), training=training)
        pooled, attention = self.pooling(states, real)
        vector = self.text_encoder.project(pooled)
        firsts = tf.gather(states, places, batch_dims=1)
        # Token j belongs to the last word that begins at or before it.
        begun = places > 0
        order = tf.range(tf.shape(tokens)[1])[tf.newaxis, :, tf.newaxis]
        number = tf.reduce_sum(
            tf.cast(tf.logical_and(begun[:, tf.newaxis, :], places[:, tf.newaxis, :] <= order), tf.int32), -1
        )
        rank = tf.cumsum(tf.cast(begun, tf.int32), axis=1) * tf.cast(begun, tf.int32)
        belongs = tf.equal(number[:, :, tf.newaxis], tf.where(begun, rank, -1)[:, tf.newaxis, :])
        return {
            "vector": tf.cast(vector, tf.float32),
            TAGS: self.tag_head(vector),
            WORDS: self.word_head(firsts),
            SENTIMENT: self.sentiment_head(pooled)[:, 0],
            "attention": tf.einsum("bl,blw->bw", attention, tf.cast(belongs, tf.float32)),
        }

    # --- training ------------------------------------------------------------------------------------------------

    @property
    def metrics(self) -> list[tf.keras.metrics.Metric]:
        return [*self.trackers.values(), *self.training_step.trackers.values()]

    def compute_losses(self, inputs: Tensors, labels: Tensors, training: bool) -> dict[str, tf.Tensor]:
        """The loss of each head, unweighted, and their weighted sum under `loss`.

        Args:
          inputs: of a call.
          labels: `tags` float [B, T], weights from 0 to 1, a row without any not counting; `words` int [B, W], -1 for
            none; `sentiment` int [B], -1 for unknown.
          training: whether dropout is on.
        """
        found = self(inputs, training=training)
        tags = tf.nn.sigmoid_cross_entropy_with_logits(labels[TAGS], found[TAGS])
        known = tf.cast(tf.reduce_any(labels[TAGS] > 0, 1), tf.float32)
        losses = {TAGS: _mean(tf.reduce_sum(tags, 1), known)}
        words = tf.cast(labels[WORDS], tf.int32)
        each = tf.nn.sparse_softmax_cross_entropy_with_logits(tf.maximum(words, 0), found[WORDS])
        losses[WORDS] = _mean(each, tf.cast(words >= 0, tf.float32))
        sentiment = tf.cast(labels[SENTIMENT], tf.float32)
        each = tf.nn.sigmoid_cross_entropy_with_logits(tf.maximum(sentiment, 0.0), found[SENTIMENT])
        losses[SENTIMENT] = _mean(each, tf.cast(sentiment >= 0, tf.float32))
        total = tf.add_n([self.loss_weights[name] * value for name, value in losses.items()])
        return {"loss": total, **losses}

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        inputs, labels = data
        found, gradients = self.training_step(self, inputs, labels)
        self.optimizer.apply_gradients(gradients)
        trackers = {**self.trackers, **self.training_step.trackers}
        for name, value in found.items():
            trackers[name].update_state(value)
        return {name: trackers[name].result() for name in found}

    def get_config(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "encoder": self.text_encoder.get_config(),
            "tags": self.tags,
            "special_tokens": list(self.special_tokens),
            "mask_token": self.mask_token,
            "dropout": self.dropout,
            "word_dropout": self.word_dropout,
            "loss_weights": dict(self.loss_weights),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> ProfileTagger:
        del custom_objects
        return cls(**{**config, "encoder": ProfileEncoder.from_config(config["encoder"])})


def _mean(values: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    return tf.math.divide_no_nan(tf.reduce_sum(values * weights), tf.reduce_sum(weights))
