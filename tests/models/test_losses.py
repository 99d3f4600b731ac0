"""Every loss by hand, one decision at a time."""

import math

import numpy as np
import pytest
import tensorflow as tf

from models import losses

LOGITS = np.array([[1.0, 2.0, -1.0], [0.5, 0.0, 3.0], [2.0, 2.0, 0.0]], np.float32)


def log_softmax(x):
    x = np.asarray(x, np.float64)
    return x - np.log(np.exp(x).sum())


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_catalogue_cross_entropy(smoothing):
    positives = np.array([[1, -1], [0, 2], [-1, -1]])
    first, second = log_softmax(LOGITS[0]), log_softmax(LOGITS[1])
    one = -(1 - smoothing) * first[1] - smoothing * first.mean()
    two = -(1 - smoothing) * (second[0] + second[2]) / 2 - smoothing * second.mean()
    expected = (one + math.sqrt(2) * two) / (1 + math.sqrt(2))
    logits = tf.Variable(LOGITS)
    with tf.GradientTape() as tape:
        loss = losses.catalogue_cross_entropy(logits, positives, smoothing)
    assert float(loss) == pytest.approx(expected, rel=1e-5)
    target = (1 - smoothing) * np.array([[0, 1, 0], [0.5, 0, 0.5]]) + smoothing / 3
    gradient = np.exp([first, second]) - target
    gradient *= np.array([[1], [math.sqrt(2)]]) / (1 + math.sqrt(2))
    np.testing.assert_allclose(tape.gradient(loss, logits), [*gradient, [0] * 3], atol=1e-6)


def test_smoothing_leaves_out_items_that_may_not_be_recommended():
    masked = np.concatenate([LOGITS, np.full([3, 2], -1e9, np.float32)], 1)
    positives = np.array([[1], [0], [2]])
    expected = float(losses.catalogue_cross_entropy(LOGITS, positives, 0.2))
    assert float(losses.catalogue_cross_entropy(masked, positives, 0.2)) == pytest.approx(expected, rel=1e-5)


def test_listwise_cross_entropy():
    labels = np.array([[0.0, 1, 1], [1, 0, -1], [0, 0, 0]], np.float32)
    first, second = log_softmax(LOGITS[0]), log_softmax(LOGITS[1, :2])
    expected = (-(first[1] + first[2]) / 2 - second[0]) / 2
    assert float(losses.listwise_cross_entropy(LOGITS, labels)) == pytest.approx(expected, rel=1e-5)


def test_binary_cross_entropy():
    labels = np.array([[0.0, 1, 1], [1, 0, -1], [-1, -1, -1]], np.float32)
    terms = []
    for score, label in zip(LOGITS.ravel(), labels.ravel(), strict=True):
        if label >= 0:
            p = 1 / (1 + math.exp(-score))
            terms.append(-math.log(p if label else 1 - p))
    assert float(losses.binary_cross_entropy(LOGITS, labels)) == pytest.approx(np.mean(terms), rel=1e-5)


def test_reconstruction():
    rng = np.random.default_rng(0)
    vectors, rebuilt = rng.normal(size=(2, 2, 3)), rng.normal(size=(2, 2, 3))
    catalogue, items = rng.normal(size=(5, 3)), np.array([[[-1, -1], [4, 0]], [[-1, 2], [1, 1]]])
    filled = np.array([[False, True], [True, True]])
    entropies, squares = [], []
    for b in range(2):
        for s in range(2):
            squares += [np.mean((vectors[b, s] - rebuilt[b, s]) ** 2)] if filled[b, s] else []
            entropies += [-log_softmax(catalogue @ rebuilt[b, s])[item] for item in items[b, s] if item >= 0]
    found = losses.reconstruction(*(tf.constant(x) for x in (vectors, rebuilt, filled, catalogue, items)))
    np.testing.assert_allclose([float(x) for x in found], [np.mean(entropies), np.mean(squares)], rtol=1e-5)


def test_only_the_reconstruction_is_pulled_towards_the_vector():
    vectors, rebuilt = tf.Variable(tf.ones([1, 1, 3])), tf.Variable(tf.zeros([1, 1, 3]))
    with tf.GradientTape() as tape:
        _, loss = losses.reconstruction(vectors, rebuilt, tf.constant([[True]]), tf.eye(3), tf.constant([[[-1]]]))
    pulled, target = tape.gradient(loss, [rebuilt, vectors])
    np.testing.assert_allclose(pulled[0, 0], [-2 / 3] * 3, rtol=1e-6)
    assert target is None


def test_a_batch_with_nothing_to_learn_from_is_zero_with_finite_gradients():
    scores = tf.Variable(LOGITS)
    with tf.GradientTape() as tape:
        parts = [
            losses.catalogue_cross_entropy(scores, np.full([3, 2], -1)),
            losses.listwise_cross_entropy(scores, np.full([3, 3], -1, np.float32)),
            losses.binary_cross_entropy(scores, np.full([3, 3], -1, np.float32)),
            *losses.reconstruction(
                scores[None], scores[None], tf.zeros([1, 3], tf.bool), tf.eye(3), -tf.ones([1, 3, 1], tf.int32)
            ),
        ]
        total = tf.add_n(parts)
    assert [float(part) for part in parts] == [0.0] * 5
    assert np.isfinite(tf.convert_to_tensor(tape.gradient(total, scores))).all()
