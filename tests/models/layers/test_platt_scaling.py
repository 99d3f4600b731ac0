"""Calibration of logits against a grid, and what it must not touch."""

import numpy as np
import tensorflow as tf

from models.layers.platt_scaling import PlattScaling


def sample(temperature, offset, number=50_000):
    """Logits whose calibrated form is s/T + b."""
    rng = np.random.default_rng(5)
    scores = rng.normal(-1.0, 2.0, number)
    labels = rng.random(number) < 1 / (1 + np.exp(-(scores / temperature + offset)))
    return labels.astype(np.float32), scores


def loss(labels, scores, temperature, offset):
    logits = scores / temperature + offset
    return np.mean(np.logaddexp(0, logits) - labels * logits)


def test_what_was_bent_is_straightened():
    labels, scores = sample(2.0, 0.7)
    scaling = PlattScaling()
    found = scaling.calibrate(labels, scores)
    log_temperature, offset = scaling.calibration()
    assert abs(np.exp(log_temperature) - 2.0) < 0.1 and abs(offset - 0.7) < 0.05
    grid = [loss(labels, scores, t, b) for t in np.linspace(1, 3, 21) for b in np.linspace(-1, 2, 31)]
    assert loss(labels, scores, 1, 0) - 0.05 > found <= min(grid) + 1e-6
    np.testing.assert_allclose(scaling(tf.constant([[3.0]])), [[3.0 * np.exp(-log_temperature) + offset]], rtol=1e-6)
    assert scaling(tf.constant([[3.0]]), training=True).numpy() == 3.0


def test_a_second_calibration_does_not_start_from_the_first():
    labels, scores = sample(0.5, -0.3, 2000)
    once, twice = PlattScaling(), PlattScaling()
    twice.calibrate(1 - labels, scores)
    assert once.calibrate(labels, scores) == twice.calibrate(labels, scores)
    assert once.calibration() == twice.calibration()


def test_without_a_click_it_stays_finite():
    scaling = PlattScaling()
    scaling.calibrate(np.zeros(10), np.linspace(-1, 1, 10))
    assert np.isfinite(scaling.calibration()).all()
