"""The linear path: its weights against the definition, its features by hand, and answers that it may not see."""

import numpy as np
import pytest
import tensorflow as tf

from models.item_regression import item_weights
from models.linear_path import LinearPath
from models.shopper import Shopper

RNG = np.random.default_rng(3)
SEQUENCES = [RNG.integers(0, 6, size) for size in (5, 3, 1, 7, 4, 2, 6, 0)]
KEYS = [3, 14, 15, 9, 26, 5, 35, 8]
SHOPPERS = [Shopper(sequence, np.array([], int), key) for sequence, key in zip(SEQUENCES, KEYS, strict=True)]


def had(sequences):
    found = np.zeros([len(sequences), 6])
    for row, sequence in enumerate(sequences):
        found[row, sequence] = 1
    return found


@pytest.fixture(scope="module")
def path():
    made = LinearPath(items=6, regularisation=0.7, half_lives=(10.0,), folds=3)
    made.count(SHOPPERS)
    return made


def test_weights_are_regressions_of_each_item_on_the_others():
    matrix, weights = had(SEQUENCES), item_weights(SEQUENCES, 6, 0.7)
    for item in range(6):
        others = [other for other in range(6) if other != item]
        x, y = matrix[:, others], matrix[:, item]
        expected = np.linalg.solve(x.T @ x + 0.7 * np.eye(5), x.T @ y)
        np.testing.assert_allclose(weights[others, item], expected, atol=1e-5)
        assert weights[item, item] == 0


def test_features_by_hand(path):
    positions = tf.constant([[2, 4, 2, -1], [-1, -1, -1, -1], [1, -1, 0, 0]])
    gaps = tf.constant([[30.0, 20, 10, 99], [1, 1, 1, 1], [5, 0, 20, 15]])
    weights = item_weights(SEQUENCES, 6, 0.7)
    sums = np.zeros([3, 6, 2])
    sums[0, :, 0], sums[0, :, 1] = weights[2] + weights[4], weights[2] / 2 + weights[4] / 4
    sums[2, :, 0] = weights[1] + weights[0]
    sums[2, :, 1] = weights[1] * 2**-0.5 + weights[0] * 2**-1.5
    expected = np.sign(sums) * np.sqrt(np.abs(sums))
    np.testing.assert_allclose(path(positions, gaps), expected, atol=1e-5)
    assert (expected < 0).any() and path.width == 2
    rows, kept = [5, 0, 3], [1.0, 0.0, 1.0]
    found = path(positions, gaps, kept=tf.constant(kept), rows=tf.constant(rows)).numpy()
    np.testing.assert_allclose(found, expected[:, rows] * np.array(kept)[:, np.newaxis], atol=1e-5)


def test_in_training_a_user_is_described_by_other_folds(path):
    positions, gaps = tf.constant([[2, 4], [2, 4]]), tf.zeros([2, 2])
    found = path(positions, gaps, users=tf.constant([7, 14], tf.int64), training=True).numpy()
    for row, fold in enumerate((1, 2)):
        others = [sequence for sequence, key in zip(SEQUENCES, KEYS, strict=True) if key % 3 != fold]
        sums = item_weights(others, 6, 0.7)[[2, 4]].sum(0)
        np.testing.assert_allclose(found[row, :, 0], np.sign(sums) * np.sqrt(np.abs(sums)), atol=1e-5)
    assert np.abs(found[0] - found[1]).max() > 0.01
    rows, users = [5, 0, 3], tf.constant([7, 14], tf.int64)
    part = path(positions, gaps, users=users, rows=tf.constant(rows), training=True)
    np.testing.assert_allclose(part, found[:, rows], atol=1e-6)


def test_training_needs_users_and_counts(path):
    positions, gaps = tf.constant([[2]]), tf.zeros([1, 1])
    expected = "own answers cannot be left out; expected `users`, and `count` before"
    with pytest.raises(ValueError, match=expected):
        path(positions, gaps, training=True)
    with pytest.raises(ValueError, match=expected):
        LinearPath(6, 1.0)(positions, gaps, users=tf.constant([7], tf.int64), training=True)


def test_it_comes_back_from_its_configuration(path):
    twin = LinearPath.from_config(path.get_config())
    twin.set_weights(path.get_weights())
    positions, gaps = tf.constant([[3, 1]]), tf.constant([[2.0, 1.0]])
    np.testing.assert_array_equal(twin(positions, gaps), path(positions, gaps))
    assert len(path.weights) == 1 and not path.trainable_weights


def test_what_cannot_be_is_one_sentence():
    with pytest.raises(ValueError, match="folds must be at least 2, not 1"):
        LinearPath(6, 1.0, folds=1)
    for regularisation, half_lives in ((0.0, (30.0,)), (1.0, (0.0,))):
        with pytest.raises(ValueError, match="expected numbers above 0"):
            LinearPath(6, regularisation, half_lives)
    with pytest.raises(ValueError, match="a number for each pair of them; expected at most 30,000 items, not 30,001"):
        LinearPath(30_001, 1.0)
