"""From logits to calibrated logits: a slope and an offset fitted on held-out decisions."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
from scipy import optimize


class PlattScaling(tf.keras.layers.Layer):
    """s' = s/T + b, so that sigmoid(s') is the share of candidates with the logit s that are clicked.

    T and b are 1 and 0 until `calibrate` fits them. T is positive: the order of scores stays.

    Call arguments:
      scores: float, logits of any shape.
      training: leave T and b out, so that a calibration between epochs changes nothing in training.

    Returns:
      Of the shape and dtype of `scores`.

    Example:
      >>> scaling = PlattScaling()
      >>> scaling.offset.assign(0.5).numpy(), scaling(tf.constant([[2.0]])).numpy().tolist()
      (0.5, [[2.5]])

    Reference: Platt, Probabilistic Outputs for Support Vector Machines (1999); temperature after Guo et al., On
    Calibration of Modern Neural Networks (2017).
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"dtype": "float32", **kwargs})
        self.build([])

    def build(self, input_shape: Any) -> None:
        if self.built:
            return
        self.log_temperature = self.add_weight(name="log_temperature", shape=[], initializer="zeros", trainable=False)
        self.offset = self.add_weight(name="offset", shape=[], initializer="zeros", trainable=False)
        super().build(input_shape)

    def call(self, scores: tf.Tensor, training: bool = False) -> tf.Tensor:
        if training:
            return scores
        return scores * tf.exp(-self.log_temperature) + self.offset

    def calibration(self) -> tuple[float, float]:
        """(log T, b)."""
        return float(tf.convert_to_tensor(self.log_temperature)), float(tf.convert_to_tensor(self.offset))

    def calibrate(self, labels: np.ndarray, scores: np.ndarray) -> float:
        """Fits T and b to held-out candidates by maximum likelihood, from T = 1 and b = 0.

        Args:
          labels: [n], 1 or 0.
          scores: [n], logits as they are before this layer; finite.

        Returns:
          The mean cross-entropy reached.
        """
        scores, labels = np.asarray(scores, np.float64), np.asarray(labels, np.float64)

        def objective(parameters: np.ndarray) -> tuple[float, np.ndarray]:
            scaled = scores * np.exp(-parameters[0])
            logits = scaled + parameters[1]
            loss = np.logaddexp(0, logits) - labels * logits
            error = np.exp(-np.logaddexp(0, -logits)) - labels
            return float(loss.mean()), np.array([-(error * scaled).mean(), error.mean()])

        best = optimize.minimize(objective, np.zeros(2), jac=True, method="L-BFGS-B", bounds=[(-2, 2), (-8, 8)])
        self.log_temperature.assign(best.x[0])
        self.offset.assign(best.x[1])
        return float(best.fun)
