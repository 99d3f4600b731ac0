"""InfoNCE, against its sum written out."""

import numpy as np
import pytest
import tensorflow as tf

from models import contrastive


def test_info_nce_is_the_sum_of_its_paper():
    rng = np.random.default_rng(0)
    one, other = rng.normal(size=(2, 5, 3))
    real = np.array([True, False, True, True, False])
    vectors = [(user, view / np.linalg.norm(view)) for part in (one, other) for user, view in enumerate(part)]
    vectors = [(user, view) for user, view in vectors if real[user]]
    losses = []
    for i, (user, view) in enumerate(vectors):
        rest = [(who, np.exp(view @ z / 0.3)) for j, (who, z) in enumerate(vectors) if j != i]
        losses.append(-np.log(sum(e for who, e in rest if who == user) / sum(e for _, e in rest)))
    found = contrastive.info_nce(tf.constant(one), tf.constant(other), tf.constant(real), 0.3)
    assert float(found) == pytest.approx(np.mean(losses), rel=1e-5)


def test_nobody_to_tell_from_costs_nothing():
    vectors = tf.constant([[1.0, 2], [3, 4]])
    for real in ([False, False], [True, False]):
        assert float(contrastive.info_nce(vectors, vectors, tf.constant(real), 0.1)) == pytest.approx(0, abs=1e-6)
