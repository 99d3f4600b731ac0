"""What learns a text encoder's BERT from texts alone, before a model is fitted."""

from __future__ import annotations

import abc
from typing import Any

import tensorflow as tf

from models.profile_encoder import ProfileEncoder


class TextLearner(tf.keras.Model, metaclass=abc.ABCMeta):
    """A loss over batches of texts that trains all weights of a BERT but its pooler, and weights of its own.

    Args:
      encoder: whose BERT learns, whatever its `fine_tuning` says.

    Attributes:
      own: the weights beside the BERT's, set by the subclass; they are left behind.
    """

    def __init__(self, encoder: ProfileEncoder, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.encoder = encoder
        self.own: list[tf.Variable] = []
        self.tracker = tf.keras.metrics.Mean(name="loss")

    @property
    def metrics(self) -> list[tf.keras.metrics.Metric]:
        return [self.tracker]

    @property
    def learned(self) -> list[tf.Variable]:
        """The weights that are trained."""
        pooler = self.encoder.bert.bert.pooler
        without = {id(weight) for weight in (pooler.weights if pooler is not None else ())}
        return [*(weight for weight in self.encoder.bert_weights if id(weight) not in without), *self.own]

    @abc.abstractmethod
    def compute_text_loss(self, tokens: tf.Tensor, targets: tf.Tensor, training: bool) -> tf.Tensor:
        """The loss of one batch, a float32 number."""

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        tokens, targets = data
        variables, optimizer = self.learned, self.optimizer
        with tf.GradientTape() as tape:
            loss = self.compute_text_loss(tokens, targets, training=True)
            # Gradients are summed over replicas, so each brings its share.
            scaled = loss / tf.distribute.get_strategy().num_replicas_in_sync
            if hasattr(optimizer, "get_scaled_loss"):
                scaled = optimizer.get_scaled_loss(scaled)
        gradients = tape.gradient(scaled, variables)
        if hasattr(optimizer, "get_unscaled_gradients"):
            gradients = optimizer.get_unscaled_gradients(gradients)
        optimizer.apply_gradients((g, v) for g, v in zip(gradients, variables, strict=True) if g is not None)
        self.tracker.update_state(loss)
        return {"loss": self.tracker.result()}
