"""Weights of several losses, learned beside the model."""

from __future__ import annotations

import math
from collections.abc import Mapping

import tensorflow as tf


class UncertaintyWeights(tf.Module):
    """L = Σ_i exp(-s_i)·L_i + s_i/2, with s_i = log σ_i² the learned log variance of task i.

    A loss that stays large gets a small weight, and the second term keeps weights from vanishing: at the optimum
    exp(-s_i) = 1/(2·L_i).

    Args:
      weights: name of each loss -> its weight at the start, exp(-s_i), above 0.

    Call arguments:
      found: name -> loss, float32 scalars; names that have no weight are passed over.

    Returns:
      float32 scalar.

    Raises:
      ValueError: for a weight that is not above 0.

    Example:
      >>> weigh = UncertaintyWeights({"catalogue": 1.0, "listwise": 0.5})
      >>> round(float(weigh({"catalogue": tf.constant(2.0), "listwise": tf.constant(4.0)})), 4)
      4.3466

    Reference: Kendall, Gal and Cipolla, Multi-Task Learning Using Uncertainty to Weigh Losses (2018).
    """

    def __init__(self, weights: Mapping[str, float]) -> None:
        super().__init__(name="uncertainty_weights")
        wrong = {name: weight for name, weight in weights.items() if weight <= 0}
        if wrong:
            raise ValueError(f"weights are {wrong}; expected numbers above 0 to start from.")
        self.log_variances = {
            name: tf.Variable(-math.log(weight), name=f"{name}_log_variance", dtype=tf.float32)
            for name, weight in weights.items()
        }

    def __call__(self, found: Mapping[str, tf.Tensor]) -> tf.Tensor:
        total = tf.constant(0.0)
        for name, log_variance in self.log_variances.items():
            if name in found:
                total += tf.exp(-log_variance) * found[name] + log_variance / 2
        return total
