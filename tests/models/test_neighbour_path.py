"""NeighbourPath against counts by hand, and that no decision is scored by counts with its own answer in them."""

import numpy as np
import pytest
import tensorflow as tf

from models.neighbour_path import NeighbourPath
from models.shopper import Shopper

ITEMS = 6
SHOPPERS = [
    Shopper(np.array([0, 1, 0]), np.array([2]), key=10),
    Shopper(np.array([1, 3]), np.array([0, 2]), key=11),
    Shopper(np.array([4]), np.array([], int), key=12),
    Shopper(np.array([2, 0, 1, 3, 5]), np.array([4]), key=13),
]
POSITIONS = tf.constant([[0, -1, 3, -1], [-1, -1, -1, -1], [5, 1, 0, -1]])


def weights(shoppers):
    """w(i, j) by the formula, pair by pair."""
    sequences = [shopper.sequence for shopper in shoppers]
    events = np.bincount(np.concatenate(sequences), minlength=ITEMS)
    found = np.zeros([ITEMS, ITEMS])
    for sequence in sequences:
        for a, first in enumerate(sequence):
            for b in range(a + 1, len(sequence)):
                found[first, sequence[b]] += (b - a) ** -0.5
                found[sequence[b], first] += 0.5 * (b - a) ** -0.5
    found /= (1 + events)[:, None] ** 0.5 * (1 + events)[None, :] ** 0.25
    np.fill_diagonal(found, 0)
    return found


def expected(w, history):
    return sum(0.7 ** (len(history) - 1 - place) * w[item] for place, item in enumerate(history)) + np.zeros(ITEMS)


@pytest.fixture(scope="module")
def path():
    path = NeighbourPath(ITEMS, ITEMS, folds=2)
    path.count(SHOPPERS)
    path.scale.assign(2.0)
    return path


def test_scores_are_those_of_the_formula(path):
    w = weights(SHOPPERS)
    found = path(POSITIONS).numpy()
    for row, history in enumerate(([0, 3], [], [5, 1, 0])):
        np.testing.assert_allclose(found[row], 2 * expected(w, history), atol=1e-5)


def test_in_training_the_fold_of_the_user_is_left_out(path):
    users = tf.constant([10, 12, 13], tf.int64)
    found = path(POSITIONS, users, training=True).numpy()
    for row, (key, history) in enumerate(((10, [0, 3]), (12, []), (13, [5, 1, 0]))):
        others = [shopper for shopper in SHOPPERS if shopper.key % 2 != key % 2]
        np.testing.assert_allclose(found[row], 2 * expected(weights(others), history), atol=1e-5)


def test_a_sample_has_the_scores_of_its_items(path):
    rows = tf.constant([4, 0, 2])
    np.testing.assert_allclose(path(POSITIONS, rows=rows), path(POSITIONS).numpy()[:, [4, 0, 2]], atol=1e-6)


def test_only_the_nearest_are_kept():
    path = NeighbourPath(ITEMS, 2)
    path.count(SHOPPERS)
    w = weights(SHOPPERS)
    found = path(tf.constant([[1]])).numpy()[0] / path.scale.numpy()
    nearest = np.argsort(-w[1])[:2]
    np.testing.assert_allclose(found[nearest], w[1, nearest], atol=1e-5)
    assert np.count_nonzero(found) == 2


def test_fewer_than_two_folds_are_refused():
    with pytest.raises(ValueError, match="folds must be at least 2, not 1"):
        NeighbourPath(ITEMS, 2, folds=1)
