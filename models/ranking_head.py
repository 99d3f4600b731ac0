"""From a user vector and item vectors to scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf


class RankingHead(tf.keras.layers.Layer):
    """score(u, r) = (1 - g)·(A + s·cos) + MLP(f), with A = (W_u·u)·B·(W_r·r)ᵀ.

    A is bilinear, cos the cosine of the two projected vectors with a learned scale s, f the candidate-history
    interactions (repeats, popularity, what the linear path says), and g marks items of the user's own history: there
    the explicit path decides alone, because training on overlapping windows lets vectors memorise what a user is about
    to repeat.

    With T tasks (click, purchase, ...) task t has a score of its own: W_u·u is W_u·u + D_t·u + b_t in it, and the last
    layer of the MLP gains o_t; D_t, b_t and o_t start at 0. Each of these scores is linear in what the task changes
    once the left side is normalised, so that their weighted mean Σ_t w_t·score_t, w_t = weight_t / Σ weights, which is
    the score that is served, is still one product with the items.

    Args:
      dimension: d, of user and item vectors.
      interactions: F, number of interaction features; 0 for none.
      hidden_dimension: of the MLP.
      bilinear: initial B, [d, d] nested lists; the identity when None. A pretrained pooler's leading block may serve.
      tasks: weight of each task in the mean, none below 0 and one above it; () for one score without tasks.

    Call arguments:
      user: float [B, d].
      items: float [V, d] (the same for every row) or [B, N, d].
      features: float [B, V or N, F], or None when F is 0.
      repeated: float [B, V or N], 1 for items of the user's history, or None.
      task: place of the task whose score is asked for; None for the weighted mean.

    Returns:
      float32 [B, V or N].

    Raises:
      ValueError: if `bilinear` is not [d, d], weights of tasks have no mean, or `features` are missing.

    Example:
      >>> RankingHead(2)(tf.ones([1, 2]), tf.ones([3, 2])).shape
      TensorShape([1, 3])

    Reference: one shared representation with light parts per task, Caruana, Multitask Learning (1997); click and
    purchase over the same items, Ma et al., Entire Space Multi-Task Model (2018).
    """

    def __init__(
        self,
        dimension: int,
        interactions: int = 0,
        hidden_dimension: int = 24,
        bilinear: Any = None,
        tasks: Sequence[float] = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.dimension = dimension
        self.interactions = interactions
        self.hidden_dimension = hidden_dimension
        self.bilinear = bilinear
        self.tasks = tuple(float(weight) for weight in tasks)
        if self.tasks and (min(self.tasks) < 0 or not sum(self.tasks)):
            raise ValueError(f"tasks are {self.tasks}; expected weights of 0 and more, at least one of them above 0.")
        if bilinear is not None and tf.TensorShape(tf.shape(bilinear)) != [dimension, dimension]:
            raise ValueError(f"bilinear must be [{dimension}, {dimension}], not {tf.shape(bilinear).numpy().tolist()}.")
        self.user_projection = tf.keras.layers.Dense(dimension, dtype=self.dtype_policy, name="user_projection")
        self.item_projection = tf.keras.layers.Dense(
            dimension, use_bias=False, dtype=self.dtype_policy, name="item_projection"
        )
        if interactions:
            self.inner = tf.keras.layers.Dense(
                hidden_dimension, activation="gelu", dtype=self.dtype_policy, name="inner"
            )
            self.outer = tf.keras.layers.Dense(1, use_bias=False, dtype=self.dtype_policy, name="outer")
        self.build([])

    def build(self, input_shape: Any) -> None:
        if self.built:
            return
        self.user_projection.build([None, self.dimension])
        self.item_projection.build([None, self.dimension])
        initial = "identity" if self.bilinear is None else tf.constant_initializer(self.bilinear)
        self.kernel = self.add_weight(name="kernel", shape=[self.dimension, self.dimension], initializer=initial)
        self.cosine_scale = self.add_weight(name="cosine_scale", shape=[], initializer="ones")
        if self.interactions:
            self.inner.build([None, self.interactions])
            self.outer.build([None, self.hidden_dimension])
        if self.tasks:
            number, d = len(self.tasks), self.dimension
            self.task_kernels = self.add_weight(name="task_kernels", shape=[number, d, d], initializer="zeros")
            self.task_biases = self.add_weight(name="task_biases", shape=[number, d], initializer="zeros")
            if self.interactions:
                shape = [number, self.hidden_dimension]
                self.task_outers = self.add_weight(name="task_outers", shape=shape, initializer="zeros")
        super().build(input_shape)

    def call(
        self,
        user: tf.Tensor,
        items: tf.Tensor,
        features: tf.Tensor | None = None,
        repeated: tf.Tensor | None = None,
        task: int | None = None,
    ) -> tf.Tensor:
        left = self.user_projection(user)
        right = self.item_projection(items)
        cosine_right = tf.math.l2_normalize(right, -1, epsilon=1e-6)
        # One product serves both, [turned, s·left/|left|]·[right, right/|right|], and any mean of such left sides.
        if self.tasks:
            weights = tf.cast(self.shares(task), left.dtype)
            kernels, biases = tf.cast(self.task_kernels, left.dtype), tf.cast(self.task_biases, left.dtype)
            lefts = left[:, tf.newaxis] + tf.einsum("bd,tde->bte", tf.cast(user, left.dtype), kernels) + biases
            joined_left = tf.einsum("t,btd->bd", weights, self._joined(lefts))
        else:
            joined_left = self._joined(left)
        joined_right = tf.concat([right, cosine_right], -1)
        if len(right.shape) == 2:
            scores = tf.matmul(joined_left, joined_right, transpose_b=True)
        else:
            scores = tf.einsum("bd,bnd->bn", joined_left, joined_right)
        scores = tf.cast(scores, tf.float32)
        if repeated is not None:
            scores *= 1 - repeated
        if self.interactions:
            if features is None:
                raise ValueError(f"features are missing; expected [B, N, {self.interactions}].")
            hidden = self.inner(features)
            scores += tf.cast(self.outer(hidden)[:, :, 0], tf.float32)
            if self.tasks:
                outer = tf.einsum("t,th->h", self.shares(task), tf.cast(self.task_outers, tf.float32))
                scores += tf.cast(tf.linalg.matvec(hidden, tf.cast(outer, hidden.dtype)), tf.float32)
        return scores

    def shares(self, task: int | None = None) -> tf.Tensor:
        """Shares of the tasks in a score, float32 [T] with the sum 1: of one task's, or of the mean that is served."""
        if task is not None:
            return tf.one_hot(task, len(self.tasks))
        return tf.constant(self.tasks) / sum(self.tasks)

    def _joined(self, left: tf.Tensor) -> tf.Tensor:
        turned = tf.matmul(left, tf.cast(self.kernel, left.dtype))
        scaled = tf.math.l2_normalize(left, -1, epsilon=1e-6) * tf.cast(self.cosine_scale, left.dtype)
        return tf.concat([turned, scaled], -1)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "dimension": self.dimension,
            "interactions": self.interactions,
            "hidden_dimension": self.hidden_dimension,
            "bilinear": self.bilinear,
            "tasks": self.tasks,
        }
