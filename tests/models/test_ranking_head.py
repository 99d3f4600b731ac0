"""RankingHead against its formula, one pair at a time."""

import math

import numpy as np
import pytest
import tensorflow as tf

from models.ranking_head import RankingHead

rng = np.random.default_rng(0)
USER, ITEMS = (rng.normal(size=shape).astype(np.float32) for shape in ([2, 3], [4, 3]))
FEATURES = rng.normal(size=(2, 4, 2)).astype(np.float32)
REPEATED = np.array([[1, 0, 0, 1], [0, 1, 0, 0]], np.float32)
START = rng.normal(size=(3, 3)).astype(np.float32)


def cosine(a, b):
    return a @ b / math.sqrt((a @ a) * (b @ b))


def by_hand(head, user, item, features, repeated):
    (left, bias), (right,) = head.user_projection.get_weights(), head.item_projection.get_weights()
    u, r = user @ left + bias, item @ right
    score = (1 - repeated) * (u @ head.kernel.numpy() @ r + head.cosine_scale.numpy() * cosine(u, r))
    (inner, inner_bias), (outer,) = head.inner.get_weights(), head.outer.get_weights()
    x = features @ inner + inner_bias
    return score + float((0.5 * x * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))) @ outer)


@pytest.fixture(scope="module")
def head(tools):
    head = RankingHead(3, interactions=2, hidden_dimension=5, bilinear=START.tolist())
    np.testing.assert_array_equal(head.kernel, START)
    tools.shake(head)
    return head


def test_equals_the_formula_with_one_catalogue_and_with_candidates_of_each_row(head):
    expected = [[by_hand(head, USER[b], ITEMS[i], FEATURES[b, i], REPEATED[b, i]) for i in range(4)] for b in range(2)]
    np.testing.assert_allclose(head(USER, ITEMS, FEATURES, REPEATED), expected, atol=1e-4)
    each = np.stack([ITEMS, ITEMS[::-1]])
    order = np.stack([FEATURES[0], FEATURES[1, ::-1]]), np.stack([REPEATED[0], REPEATED[1, ::-1]])
    found = head(USER, each, *order).numpy()
    np.testing.assert_allclose(found, [expected[0], expected[1][::-1]], atol=1e-4)


def test_an_item_of_nothing_scores_nothing_but_its_features(head):
    zero = np.zeros([1, 3], np.float32)
    found = head(USER, zero, FEATURES[:, :1], REPEATED[:, 1:2])
    expected = [[by_hand(head, USER[b], ITEMS[0], FEATURES[b, 0], 1)] for b in range(2)]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_b_is_the_identity_unless_said_otherwise():
    head = RankingHead(3)
    head.cosine_scale.assign(0.0)
    left, right = head.user_projection(USER).numpy(), head.item_projection(ITEMS).numpy()
    np.testing.assert_allclose(head(tf.constant(USER), tf.constant(ITEMS)), left @ right.T, atol=1e-5)


def test_each_task_has_its_score_by_the_formula_and_the_mean_weighs_them(tools):
    head = RankingHead(3, interactions=2, hidden_dimension=5, bilinear=START.tolist(), tasks=(1, 0, 4))
    tools.shake(head)
    shares = [0.2, 0.0, 0.8]
    expected = np.zeros([3, 2, 4])
    (left, bias), (right,) = head.user_projection.get_weights(), head.item_projection.get_weights()
    (inner, inner_bias), (outer,) = head.inner.get_weights(), head.outer.get_weights()
    for t, b, i in np.ndindex(3, 2, 4):
        u = USER[b] @ left + bias + USER[b] @ head.task_kernels.numpy()[t] + head.task_biases.numpy()[t]
        r = ITEMS[i] @ right
        pair = u @ head.kernel.numpy() @ r + head.cosine_scale.numpy() * cosine(u, r)
        x = FEATURES[b, i] @ inner + inner_bias
        hidden = 0.5 * x * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))
        expected[t, b, i] = (1 - REPEATED[b, i]) * pair + hidden @ (outer[:, 0] + head.task_outers.numpy()[t])
    for t in range(3):
        np.testing.assert_allclose(head(USER, ITEMS, FEATURES, REPEATED, t), expected[t], atol=1e-4)
    assert np.abs(expected[0] - expected[2]).max() > 0.1
    mean = np.tensordot(shares, expected, 1)
    np.testing.assert_allclose(head(USER, ITEMS, FEATURES, REPEATED), mean, atol=1e-4)
    each = np.stack([ITEMS, ITEMS])
    np.testing.assert_allclose(head(USER, each, FEATURES, REPEATED), mean, atol=1e-4)
