"""The sampled softmax against the whole one, and its weights against counting."""

import numpy as np
import pytest
import tensorflow as tf

from models import query_losses

WORDS_OF = np.array([[0, 9], [0, 1], [1, 9], [0, 2], [9, 9], [0, 9]], np.int32)


def test_what_holds_a_word():
    found = query_losses.holds(tf.constant(WORDS_OF), tf.constant([0, 2, 9]), 9).numpy()
    assert found.astype(int).tolist() == [[1, 1, 0, 1, 0, 1], [0, 0, 0, 1, 0, 0], [0] * 6]


def test_weights_by_hand():
    rows, positives = tf.constant([4, 0, 3, 2]), tf.constant([4, 2, 4])
    share, hard = tf.constant([0.2, 0.1, 0.3, 0.05]), tf.constant([[0, 3, 3], [0, 0, 0]])
    held = query_losses.holds(tf.constant(WORDS_OF[[4, 0, 3, 2]]), tf.constant([0, 9]), 9)
    found = query_losses.negative_weights(rows, positives, share, hard, tf.constant([4.0, 0]), held).numpy()
    outside = [-np.log(1 - 0.8**3), -np.log(1 - 0.95**3)]
    np.testing.assert_allclose(found[0], [outside[0], np.log(4 / 3), np.log(8 / 3), outside[1]], rtol=1e-5)
    np.testing.assert_allclose(found[1], [outside[0], -1e9, -1e9, outside[1]], rtol=1e-5)


def test_the_estimate_is_right_in_the_mean():
    """Σ w·f over samples averages to Σ f over the catalogue."""
    rng = np.random.default_rng(0)
    share, values = np.array([0.3, 0.1, 0.2, 0.15, 0.2, 0.05]), rng.uniform(1, 3, 6)
    holders, sums = np.array([0, 1, 3, 5]), []
    rank_1, rank_2 = tf.TensorSpec([None], tf.int32), tf.TensorSpec([None, None], tf.int32)

    @tf.function(input_signature=[rank_1, rank_2, rank_1, tf.TensorSpec([None]), rank_2])  # thousands of eager ops else
    def weights_of(rows, words, positives, shares, hard):
        held = query_losses.holds(words, tf.constant([0]), 9)
        return query_losses.negative_weights(rows, positives, shares, hard, tf.constant([4.0]), held)[0]

    for _ in range(3000):
        positives = rng.choice(6, 4, p=share)
        hard = rng.choice(holders, [1, 3])
        rows = np.unique(np.concatenate([positives, hard[0]]))
        drawn = [np.int32(rows), np.int32(WORDS_OF[rows]), np.int32(positives), np.float32(share[rows]), np.int32(hard)]
        sums.append(np.exp(weights_of(*map(tf.constant, drawn)).numpy()) @ values[rows])
    assert np.mean(sums) == pytest.approx(values.sum(), abs=4 * np.std(sums) / np.sqrt(3000))


def test_with_the_whole_catalogue_it_is_the_softmax():
    rng = np.random.default_rng(1)
    scores = rng.normal(size=[2, 5]).astype(np.float32)
    found = query_losses.sampled_cross_entropy(
        tf.constant(scores), tf.range(5), tf.zeros([2, 5]), tf.constant([[3, -1], [1, 4]])
    )
    log = lambda row, item, others: scores[row, item] - np.log(np.exp(scores[row, [item, *others]]).sum())  # noqa: E731
    expected = -np.mean([log(0, 3, [0, 1, 2, 4]), log(1, 1, [0, 2, 3]), log(1, 4, [0, 2, 3])])
    assert float(found) == pytest.approx(expected, abs=1e-5)
    none = query_losses.sampled_cross_entropy(
        tf.constant(scores), tf.range(5), tf.zeros([2, 5]), tf.constant([[-1], [-1]])
    )
    assert float(none) == 0
