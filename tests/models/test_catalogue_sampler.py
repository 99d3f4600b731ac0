"""The sampler's probabilities by hand, what it must and must not draw, and that its corrections are without bias."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from models.catalogue_sampler import CatalogueSampler

ITEMS = 9
EVENTS = np.array([0, 1, 3, 0, 80, 15, 2, 0, 7])
ALLOWED = np.array([1, 1, 0, 1, 1, 1, 1, 1, 1])


def make(samples, power=0.75):
    sampler = CatalogueSampler(ITEMS, samples, power)
    sampler.set_table(EVENTS, ALLOWED)
    return sampler


def none(shape=(1, 1)):
    return tf.fill(shape, -1)


@pytest.mark.parametrize("power", [0.0, 0.75])
def test_the_mean_of_the_corrected_sums_is_the_sum_over_the_catalogue(power):
    tf.keras.utils.set_random_seed(0)
    sampler, scores = make(4, power), np.random.default_rng(0).normal(0, 1, ITEMS)
    own = [4, 7]  # counted for certain

    @tf.function
    def draw():
        sample = sampler(tf.constant([[own[0]]]), tf.constant([[own[1]]]))
        mine = tf.reduce_any(sample.rows[:, tf.newaxis] == own, 1)
        return sample.rows, sample.corrections(tf.cast(mine, tf.float32)[tf.newaxis])[0]

    found = []
    for _ in range(800):
        rows, corrections = draw()
        found.append(np.exp(scores[rows.numpy()] + corrections.numpy()).sum())
    expected = np.exp(scores[ALLOWED > 0]).sum()
    error = np.std(found) / np.sqrt(len(found))
    assert abs(np.mean(found) - expected) < 4 * error
    assert error < 0.1 * expected


def test_items_are_drawn_as_often_as_their_probability_says_and_forbidden_ones_never():
    tf.keras.utils.set_random_seed(1)
    odds = (1.0 + EVENTS) ** 0.75 * ALLOWED
    odds /= odds.sum()
    sample = make(20_000)(none(), none())
    drawn = np.exp(sample.log_weights.numpy()) * odds[sample.rows.numpy()] * 20_000  # times drawn, by the weights
    counts = np.zeros(ITEMS)
    counts[sample.rows.numpy()] = drawn
    np.testing.assert_allclose(counts / 20_000, odds, atol=0.012)
    assert 2 not in sample.rows.numpy()


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.lists(st.integers(-1, ITEMS - 1), min_size=3, max_size=3), min_size=1, max_size=3),
    st.integers(1, 12),
)
def test_what_the_batch_names_is_there_once_and_padding_adds_nothing(named, samples):
    positions = np.array(named, np.int32)
    sample = make(samples)(tf.constant(positions), tf.constant(positions[:, :2]))
    rows = sample.rows.numpy()
    assert len(set(rows)) == len(rows)
    for given_rows, local in ((positions, sample.positions.numpy()), (positions[:, :2], sample.candidates.numpy())):
        np.testing.assert_array_equal(np.where(local >= 0, rows[np.maximum(local, 0)], -1), given_rows)
    drawn = np.isfinite(sample.log_weights.numpy())
    assert set(rows[~drawn]) <= set(positions.ravel())
    assert 1 <= drawn.sum() <= samples


def test_an_item_that_was_not_drawn_counts_for_its_own_decision_only():
    tf.keras.utils.set_random_seed(2)
    sample = make(1)(tf.constant([[2], [-1]]), none((2, 1)))
    place = sample.positions.numpy()[0, 0]
    corrections = sample.corrections(tf.one_hot([place, -1], len(sample.rows))).numpy()
    assert corrections[0, place] == 0 and corrections[1, place] == np.float32(-1e9)


def test_steps_of_a_million_items_are_kept_apart():
    items = 1_000_000
    sampler = CatalogueSampler(items, 50, 0.0)
    sampler.set_table(np.zeros(items), np.ones(items))
    sample = sampler(none(), none())
    # An even draw of 50 of a million: every one was to be drawn 50 / 1,000,000 times.
    times = np.exp(sample.log_weights.numpy().astype(np.float64)) * 50 / items
    np.testing.assert_allclose(times, np.round(times), rtol=1e-5)


def test_no_samples_are_refused():
    with pytest.raises(ValueError, match="at least 1, not 0"):
        CatalogueSampler(ITEMS, 0)
