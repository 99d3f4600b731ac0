"""Learning the vectors that another text encoder gives texts."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from models.profile_encoder import ProfileEncoder
from models.text_learner import TextLearner


class TextDistiller(TextLearner):
    """mean(1 − cos(M·s_i, t_i)) + λ·mean((cos(s_i, s_j) − cos(t_i, t_j))²) over the texts i, j of a batch.

    s are the student's pooled vectors, t the teacher's, and M a matrix that is learned where their widths differ, and
    else the identity. The second part asks for what the vectors are for: which texts lie near each other.

    Args:
      encoder: the student.
      width: of the teacher's pooled vectors.
      relations: λ.

    Reference: Reimers and Gurevych, Making Monolingual Sentence Embeddings Multilingual Using Knowledge Distillation
    (2020); Park et al., Relational Knowledge Distillation (2019).
    """

    def __init__(self, encoder: ProfileEncoder, width: int, relations: float = 1.0, **kwargs: Any) -> None:
        super().__init__(encoder, **{"name": "text_distiller", **kwargs})
        self.width = width
        self.relations = relations
        self.map = None
        if width != encoder.hidden_size:
            self.map = tf.keras.layers.Dense(width, use_bias=False, name="map")
            self.map.build([None, encoder.hidden_size])
            self.own = self.map.weights

    def compute_text_loss(self, tokens: tf.Tensor, targets: tf.Tensor, training: bool) -> tf.Tensor:
        """The loss of one batch.

        Args:
          tokens: int32 [B, L], no empty text.
          targets: float [B, width], the teacher's pooled vectors.
          training: whether there is dropout.
        """
        pooled = self.encoder.pool_alone(tokens, training)
        mapped = pooled if self.map is None else self.map(pooled)
        student, mapped, teacher = (
            tf.math.l2_normalize(tf.cast(part, tf.float32), -1) for part in (pooled, mapped, targets)
        )
        apart = tf.reduce_mean(1 - tf.reduce_sum(mapped * teacher, -1))
        cosines = (tf.matmul(part, part, transpose_b=True) for part in (student, teacher))
        return apart + self.relations * tf.reduce_mean(tf.math.squared_difference(*cosines))
