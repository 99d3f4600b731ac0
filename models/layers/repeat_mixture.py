"""Repeat or explore: two calibrated distributions in place of one softmax."""

from __future__ import annotations

import types
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from scipy import optimize

from models import losses
from models.paths import named_items

#: What is tried when the gate is balanced; places of a list that count, what each is worth, and a score below all.
_MOVES = np.linspace(-1, 1, 17)
_CUT = 10
_DISCOUNTS = 1 / np.log2(np.arange(2, _CUT + 2))
_FAR = -1e9


class RepeatMixture(tf.keras.layers.Layer):
    """log P(i|u), with P(i|u) = g(u)·P_r(i|u) on items of the user's history and (1-g(u))·P_e(i|u) on all others.

    P_e is the softmax of scores/T. T and an offset of the gate are 1 and 0 in training and are then fitted on held-out
    decisions: both to their likelihood (`calibrate`), because on them vectors are less sure than on what they were
    trained on, and the offset then to the ranking (`balance`).

    P_r and P_e are softmaxes of the scores over the two parts of the catalogue. One softmax over both lets what the
    vectors memorise of unseen items push repeats down (and the other way round); here the balance is g alone, learned
    from a few numbers: how long and how old the history is, and whether what is asked for lies in it.

    Args:
      slopes: what a unit of each of the n numbers that g is learned from adds to g's logit at the start; 1 suits
        evidence that is a log ratio already.
      hidden_dimension: of g's two layers, which come on top.

    Call arguments:
      scores: float [B, V].
      repeated: float [B, V], 1 for items of the history.
      user: float [B, n], the numbers, scaled to about 1.
      allowed: float [V] or [B, V], 1 for items that count; others get -1e9 and no probability.
      training: leave T and the offset out, so that a calibration between epochs changes nothing in training.

    Returns:
      (log-probabilities float32 [B, V], normalisers float32 [B]: an item outside the catalogue with score s compares
      as s/T - normaliser).

    Example:
      >>> mixture = RepeatMixture()
      >>> log_p, _ = mixture(tf.zeros([1, 4]), tf.constant([[1.0, 0.0, 0.0, 0.0]]), tf.zeros([1, 3]), tf.ones([4]))
      >>> round(float(tf.reduce_sum(tf.exp(log_p))), 5)
      1.0

    Reference: Ren et al., RepeatNet: A Repeat Aware Neural Recommendation Machine (2019); temperature after
    Guo et al., On Calibration of Modern Neural Networks (2017).
    """

    def __init__(self, slopes: Sequence[float] = (0.0, 0.0, 0.0), hidden_dimension: int = 16, **kwargs: Any) -> None:
        super().__init__(**{"dtype": "float32", **kwargs})
        self.slopes = tuple(float(slope) for slope in slopes)
        self.hidden_dimension = hidden_dimension
        self.inner = tf.keras.layers.Dense(hidden_dimension, activation="gelu", dtype="float32", name="inner")
        self.outer = tf.keras.layers.Dense(1, dtype="float32", name="outer")
        # A plain object, so that what is kept in it is no part of a SavedModel.
        self._compiled = types.SimpleNamespace(step=None)
        self.build([])

    def build(self, input_shape: Any) -> None:
        if self.built:
            return
        self.inner.build([None, len(self.slopes)])
        self.outer.build([None, self.hidden_dimension])
        initial = tf.constant_initializer(self.slopes)
        self.direct = self.add_weight(name="direct", shape=[len(self.slopes)], initializer=initial)
        self.log_temperature = self.add_weight(name="log_temperature", shape=[], initializer="zeros", trainable=False)
        self.offset = self.add_weight(name="offset", shape=[], initializer="zeros", trainable=False)
        super().build(input_shape)

    def call(
        self, scores: tf.Tensor, repeated: tf.Tensor, user: tf.Tensor, allowed: tf.Tensor, training: bool = False
    ) -> tuple[tf.Tensor, tf.Tensor]:
        gate = self.outer(self.inner(user)) + tf.linalg.matvec(user, self.direct)[:, tf.newaxis]
        inverse_temperature = tf.constant(1.0)
        if not training:
            gate += self.offset
            inverse_temperature = tf.exp(-self.log_temperature)
        # Nothing to repeat: all the probability explores; nothing else: all of it repeats.
        some_repeat = tf.reduce_max(repeated * allowed, 1, keepdims=True)
        some_other = tf.reduce_max((1 - repeated) * allowed, 1, keepdims=True)
        log_explore = tf.math.log_sigmoid(-gate) * some_repeat
        log_repeat = tf.math.log_sigmoid(gate) * some_other
        far = tf.constant(-1e9, scores.dtype)
        scores = tf.where(allowed > 0, scores, far)
        is_repeat = repeated > 0
        scores = tf.where(is_repeat, scores, scores * inverse_temperature)
        repeat = scores - tf.reduce_logsumexp(tf.where(is_repeat, scores, far), 1, keepdims=True)
        others = tf.reduce_logsumexp(tf.where(is_repeat, far, scores), 1, keepdims=True) * some_other
        normaliser = others - log_explore
        mixed = tf.where(is_repeat, repeat + log_repeat, scores - normaliser)
        return tf.where(allowed > 0, mixed, far), normaliser[:, 0]

    def calibration(self) -> tuple[float, float]:
        """(log T, offset of the gate)."""
        return float(tf.convert_to_tensor(self.log_temperature)), float(tf.convert_to_tensor(self.offset))

    def calibrate(
        self, decisions: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]], allowed: tf.Tensor
    ) -> float:
        """Fits T and the offset to held-out decisions by maximum likelihood.

        Args:
          decisions: batches of (scores [B, V], repeated [B, V], user [B, n], positives int [B, N], -1 for none).
          allowed: float [V], as in a call.

        Returns:
          The mean cross-entropy reached.
        """
        if self._compiled.step is None:
            self._compiled.step = tf.function(self._calibration_step, reduce_retracing=True)

        def objective(parameters: np.ndarray) -> tuple[float, np.ndarray]:
            self.log_temperature.assign(parameters[0])
            self.offset.assign(parameters[1])
            found = [self._compiled.step(*batch, allowed) for batch in decisions]
            return (
                float(np.mean([loss for loss, _ in found])),
                np.mean([[float(g) for g in gradients] for _, gradients in found], 0),
            )

        start = np.clip(self.calibration(), (-1, -4), (2, 4))  # `balance` may have moved the offset further
        best = optimize.minimize(
            objective, start, jac=True, method="L-BFGS-B", bounds=[(-1, 2), (-4, 4)], options={"maxiter": 15}
        )
        self.log_temperature.assign(best.x[0])
        self.offset.assign(best.x[1])
        return float(best.fun)

    def balance(
        self, decisions: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]], allowed: tf.Tensor
    ) -> float:
        """Moves the gate's offset, by at most 1, towards the highest NDCG@10 of the held-out decisions.

        The likelihood asks which item is chosen next, a list what of it is chosen at all: a basket's likely repeats are
        in it nearly always, but share one draw among them. What is moved is the same for everybody, and leaves the
        order among repeats and that among the others as it is. Of the moves on the way to the best one, the first is
        taken whose NDCG@10 is within a standard error (of the difference by decision): few decisions move little.

        Args:
          decisions, allowed: as for `calibrate`, after it; positives are allowed items.

        Returns:
          By how much the offset was moved.

        Reference: the rule of one standard error, Breiman et al., Classification and Regression Trees (1984).
        """
        gains = np.concatenate([self._gains(*batch, allowed) for batch in decisions])
        if not len(gains):
            return 0.0
        best = int(np.argmax(gains.mean(0)))
        behind = gains[:, best, np.newaxis] - gains
        error = behind.std(0, ddof=1) / np.sqrt(len(gains)) if len(gains) > 1 else 0.0
        on_the_way = np.abs(_MOVES) + np.abs(_MOVES[best] - _MOVES) <= np.abs(_MOVES[best])  # between it and none
        good = _MOVES[on_the_way & (behind.mean(0) <= error + 1e-9)]
        move = float(good[np.argmin(np.abs(good))])
        self.offset.assign_add(move)
        return move

    def _gains(
        self, scores: np.ndarray, repeated: np.ndarray, user: np.ndarray, positives: np.ndarray, allowed: tf.Tensor
    ) -> np.ndarray:
        """NDCG@10 of each decision with a positive after each of the moves, [n, moves]."""
        log_probability = self(scores, repeated, user, allowed)[0]
        labels = named_items(tf.constant(positives), tf.shape(log_probability)[1])
        found, hits = [], []
        for part in (repeated > 0, repeated <= 0):  # a move changes the order of neither
            among = tf.where(part, log_probability, _FAR)
            best = tf.math.top_k(among, tf.minimum(_CUT, tf.shape(among)[1]))
            found.append(best.values.numpy())
            hits.append(np.where(found[-1] > _FAR / 2, tf.gather(labels, best.indices, batch_dims=1), 0.0))
        numbers = tf.reduce_sum(labels, 1).numpy().astype(int)
        some = numbers > 0
        ideal = np.cumsum(_DISCOUNTS)[np.minimum(numbers[some], _CUT) - 1]
        gains = []
        for move in _MOVES:
            order = np.argsort(-np.concatenate([found[0] + move, found[1]], 1), 1, kind="stable")[:, :_CUT]
            reached = np.take_along_axis(np.concatenate(hits, 1), order, 1) @ _DISCOUNTS[: order.shape[1]]
            gains.append(reached[some] / ideal)
        return np.stack(gains, 1)

    def _calibration_step(
        self, scores: tf.Tensor, repeated: tf.Tensor, user: tf.Tensor, positives: tf.Tensor, allowed: tf.Tensor
    ) -> tuple[tf.Tensor, list[tf.Tensor]]:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch([self.log_temperature, self.offset])
            log_probability, _ = self(scores, repeated, user, allowed)
            loss = losses.catalogue_cross_entropy(log_probability, positives)
        return loss, tape.gradient(loss, [self.log_temperature, self.offset])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "slopes": self.slopes, "hidden_dimension": self.hidden_dimension}
