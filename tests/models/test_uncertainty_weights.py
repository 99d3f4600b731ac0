"""Learned weights of losses: gradients written out, and the optimum that the paper has."""

import numpy as np
import pytest
import tensorflow as tf

from models.uncertainty_weights import UncertaintyWeights


def test_descent_ends_where_a_weight_is_half_the_inverse_of_its_loss():
    weigh, losses = UncertaintyWeights({"a": 1.0, "b": 0.2}), {"a": tf.constant(3.0), "b": tf.constant(0.1)}
    optimizer = tf.keras.optimizers.legacy.SGD(0.5)
    for _ in range(300):
        optimizer.minimize(lambda: weigh({**losses, "other": tf.constant(100.0)}), weigh.trainable_variables)
    weights = {name: float(tf.exp(-variable)) for name, variable in weigh.log_variances.items()}
    assert weights == pytest.approx({"a": 1 / 6, "b": 5.0}, rel=1e-3)
    assert float(weigh(losses)) == pytest.approx(1 + np.log(6) / 2 - np.log(5) / 2, rel=1e-4)


def test_a_weight_to_start_from_is_above_zero():
    with pytest.raises(ValueError, match=r"weights are \{'b': 0\.0\}; expected numbers above 0"):
        UncertaintyWeights({"a": 1.0, "b": 0.0})
