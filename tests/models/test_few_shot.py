"""Few examples: prompts, calibration and small heads, against numbers from elsewhere."""

import numpy as np
import pytest
import scipy.optimize
import scipy.special
import tensorflow as tf

from models import few_shot

RNG = np.random.default_rng(0)


def cross_entropy(logits, labels):
    return -scipy.special.log_softmax(logits, 1)[np.arange(len(labels)), labels].sum()


def test_a_class_is_as_likely_as_its_words_are():
    log_probability = np.log(np.array([[0.1, 0.2, 0.3, 0.4], [0.4, 0.3, 0.2, 0.1]]))
    found = few_shot.verbalizer_scores(tf.constant(log_probability), [[0, 2], [3]]).numpy()
    np.testing.assert_allclose(np.exp(found), [[np.sqrt(0.03), 0.4], [np.sqrt(0.08), 0.1]], rtol=1e-6)


def test_the_prior_of_the_words_is_taken_off():
    unlabelled = np.array([[0.0, 4.0], [2.0, 2.0]])
    np.testing.assert_allclose(few_shot.without_prior(np.array([[1.0, 4.0]]), unlabelled), [[0.0, 1.0]])


def test_scale_and_bias_are_the_penalised_optimum():
    scores, labels = RNG.normal(size=(12, 3)), RNG.integers(0, 3, 12)
    scale, bias = few_shot.fit_scale_and_bias(scores, labels, strength=2.0)

    def objective(point):
        return cross_entropy(point[0] * scores + point[1:], labels) + (point[0] - 1) ** 2 + np.sum(point[1:] ** 2)

    expected = scipy.optimize.minimize(
        objective, [1.0, 0, 0, 0], method="Nelder-Mead", options={"xatol": 1e-7, "maxiter": 4000}
    ).x
    np.testing.assert_allclose([scale, *bias], expected, atol=1e-3)


def test_without_a_say_of_the_examples_scale_and_bias_stay():
    scale, bias = few_shot.fit_scale_and_bias(RNG.normal(size=(4, 2)), np.array([0, 1, 0, 1]), strength=1e9)
    assert scale == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(bias, 0, atol=1e-6)


def test_the_regression_has_no_gradient_left():
    vectors, labels = RNG.normal(size=(20, 4)), RNG.integers(0, 3, 20)
    weights, bias = few_shot.fit_logistic(vectors, labels, 3, strength=0.5)
    point = [tf.Variable(weights), tf.Variable(bias)]
    with tf.GradientTape() as tape:
        logits = tf.matmul(vectors, point[0]) + point[1]
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        loss = tf.reduce_sum(losses) + 0.25 * tf.reduce_sum(point[0] ** 2)
    for gradient in tape.gradient(loss, point):
        assert np.abs(gradient.numpy()).max() < 1e-3


def test_the_regression_separates_what_can_be():
    labels = np.repeat([0, 1, 2], 6)
    vectors = np.eye(3)[labels] + 0.05 * RNG.normal(size=(18, 3))
    weights, bias = few_shot.fit_logistic(vectors, labels, 3, strength=0.01)
    assert few_shot.macro_f1(labels, (vectors @ weights + bias).argmax(1), 3) == 1


def test_macro_f1_by_hand():
    labels, predicted = np.array([0, 0, 1, 1, 2]), np.array([0, 1, 1, 1, 0])
    # F1 of 0: 2·1/(2+2), of 1: 2·2/(2+3), of 2: 0
    assert few_shot.macro_f1(labels, predicted, 3) == pytest.approx((0.5 + 0.8 + 0) / 3)


def test_examples_are_drawn_alike_of_each_class():
    labels = np.array([0] * 30 + [1] * 5 + [2] * 7)
    found = few_shot.draw_examples(labels, 5, np.random.default_rng(3))
    assert np.bincount(labels[found]).tolist() == [5, 5, 5]
    assert len(set(found)) == 15
    with pytest.raises(ValueError, match="class 1 has 5 examples; expected 6 at least"):
        few_shot.draw_examples(labels, 6, np.random.default_rng(3))
