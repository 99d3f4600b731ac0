"""CooccurrencePath against sums written out one item at a time."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from models.cooccurrence_path import CooccurrencePath

ITEMS, WIDTH, DECAY = 5, 3, (7.0, 30.0)
histories = st.lists(st.tuples(st.integers(-1, ITEMS - 1), st.floats(0, 400, width=32)), min_size=0, max_size=6)


@pytest.fixture(scope="module")
def path():
    path = CooccurrencePath(ITEMS, WIDTH, DECAY)
    rng = np.random.default_rng(3)
    for weight in path.weights:
        weight.assign(rng.normal(size=weight.shape))
    return path


def by_hand(path, history, kept):
    vectors, kernel = path.vectors.numpy(), path.kernel.numpy().reshape([len(DECAY) + 1, WIDTH, WIDTH])
    newest = {}
    for row, age in history:
        if row >= 0:
            newest[row] = min(age, newest.get(row, np.inf))
    user = np.zeros(WIDTH)
    for row, age in newest.items():
        for weight, turn in zip([1, *(np.exp(-age / tau) for tau in DECAY)], kernel, strict=True):
            user += weight * (kept[row] * vectors[row]) @ turn
    return (vectors * kept[:, np.newaxis]) @ user / np.sqrt(1 + len(newest))


def run(path, history, width, kept=(1.0,) * ITEMS, asked=0.0, **options):
    filled = history + [(-1, 0.0)] * (width - len(history))
    rows, ages = zip(*filled, strict=True)
    inputs = tf.constant([rows], tf.int64), tf.constant([ages], tf.float32), tf.constant(kept), tf.constant([[asked]])
    return path(*inputs, **options)[0]


@settings(max_examples=30)
@given(histories, st.lists(st.sampled_from([0.0, 1.0]), min_size=ITEMS, max_size=ITEMS), st.randoms())
def test_scores_are_the_sums_and_neither_padding_nor_order_counts(path, history, kept, random):
    expected = by_hand(path, history, np.array(kept))
    shuffled = random.sample(history, len(history))
    for events, width in ((history, 6), (history, 9), (shuffled, 6)):
        np.testing.assert_allclose(run(path, events, width, kept), expected, rtol=1e-4, atol=1e-4)


def test_a_part_of_the_catalogue_scores_as_in_the_whole(path):
    whole = run(path, [(4, 3.0), (1, 50.0), (4, 90.0)], 4)
    rows = tf.constant([1, 4, 2])
    part = run(path, [(1, 3.0), (0, 50.0), (1, 90.0)], 4, (1.0,) * 3, rows=rows)
    np.testing.assert_allclose(part, tf.gather(whole, rows), rtol=1e-5)


def test_training_leaves_items_out_and_keeps_the_mean(path):
    dropping = CooccurrencePath(ITEMS, WIDTH, DECAY, dropout=0.5)
    dropping.set_weights(path.get_weights())
    history = [(0, 1.0), (2, 10.0), (3, 100.0)]
    tf.keras.utils.set_random_seed(1)
    many = tf.constant([[row for row, _ in history]] * 4000), tf.constant([[age for _, age in history]] * 4000)
    kept, asked = tf.ones([ITEMS]), tf.zeros([4000, 1])
    found = dropping(*many, kept, asked, training=True).numpy()
    assert 6 <= len(np.unique(found[:, 0].round(3))) <= 8  # each of three items in or out
    expected = run(path, history, 3).numpy()
    np.testing.assert_allclose(found.mean(0), expected, atol=5 * found.std(0).max() / 4000**0.5)
    np.testing.assert_allclose(dropping(*many, kept, asked)[0], expected, rtol=1e-5)


def test_with_a_query_the_scores_are_scaled(path):
    history = [(0, 1.0), (2, 10.0)]
    expected = float(path.asked_scale) * run(path, history, 2)
    np.testing.assert_allclose(run(path, history, 2, asked=1.0), expected, rtol=1e-5)


def test_time_constants_are_positive():
    with pytest.raises(ValueError, match=r"decay_days must be positive, not \(7.0, 0\)\."):
        CooccurrencePath(ITEMS, WIDTH, (7.0, 0))
