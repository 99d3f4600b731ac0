"""RepeatMixture: probabilities by NumPy, and a calibration that finds what was hidden in the data."""

import math

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from models.layers.repeat_mixture import RepeatMixture
from models.metrics import ranking_metric


@pytest.fixture(scope="module")
def mixture(tools):
    mixture = RepeatMixture((0.3, -0.2, 1.0), 4)
    tools.shake(mixture)
    mixture.log_temperature.assign(0.5)
    mixture.offset.assign(-0.3)
    return mixture


def gate(mixture, user):
    """P(repeat) of one user, from the weights."""
    inner, bias = mixture.inner.get_weights()
    outer, last = mixture.outer.get_weights()
    x = np.asarray(user, np.float64) @ inner + bias
    hidden = 0.5 * x * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))
    direct = np.asarray(user, np.float64) @ mixture.direct.numpy()
    return 1 / (1 + math.exp(-float((hidden @ outer + last)[0] + direct + mixture.offset.numpy())))


def test_probabilities_are_the_two_softmaxes_weighed_by_the_gate(mixture):
    scores, user = np.array([2.0, 0.5, -1.0, 1.5, 3.0]), np.array([0.4, 0.9, 0.2])
    repeated, allowed = np.array([1, 0, 1, 0, 0]), np.array([1, 1, 1, 1, 0])
    log_probability, normaliser = mixture(
        *(tf.constant([x], tf.float32) for x in (scores, repeated, user)), tf.constant(allowed, tf.float32)
    )
    found, g, temperature = np.exp(log_probability[0]), gate(mixture, user), math.exp(0.5)
    repeat = {i: math.exp(scores[i]) for i in (0, 2)}
    explore = {i: math.exp(scores[i] / temperature) for i in (1, 3)}
    expected = {i: g * value / sum(repeat.values()) for i, value in repeat.items()}
    expected |= {i: (1 - g) * value / sum(explore.values()) for i, value in explore.items()}
    np.testing.assert_allclose(found, [expected.get(i, 0) for i in range(5)], atol=1e-6)
    assert log_probability[0, 4] == -1e9
    # An item outside the catalogue with the score of item 3 compares as item 3 does.
    assert scores[3] / temperature - float(normaliser[0]) == pytest.approx(float(log_probability[0, 3]), abs=1e-5)


places = st.lists(st.tuples(st.floats(-20, 20, width=32), st.booleans(), st.booleans()), min_size=2, max_size=6)


@settings(deadline=None, max_examples=40)
@given(places)
def test_probabilities_sum_to_one(mixture, items):
    scores, repeated, allowed = (np.array(x, np.float32) for x in zip(*items, strict=True))
    log_probability, _ = mixture(scores[None], repeated[None], tf.constant([[0.4, 0.9, 0.2]]), tf.constant(allowed))
    total = float(tf.reduce_sum(tf.exp(log_probability)))
    assert total == pytest.approx(1.0 if allowed.any() else 0.0, abs=1e-4)


def test_with_nothing_to_repeat_all_the_probability_explores(mixture):
    scores = np.array([[1.0, -2.0, 0.5]], np.float32)
    log_probability, _ = mixture(scores, tf.zeros([1, 3]), tf.zeros([1, 3]), tf.ones([3]))
    scaled = np.exp(scores[0] / math.exp(0.5))
    np.testing.assert_allclose(np.exp(log_probability[0]), scaled / scaled.sum(), atol=1e-6)


def test_calibration_finds_the_temperature_and_the_share_of_repeats():
    """Held-out choices are drawn with scores three times too sure and one repeat in ten; both are found again."""
    rng = np.random.default_rng(0)
    decisions, items = 4000, 8
    scores = rng.normal(0, 3, (decisions, items)).astype(np.float32)
    repeated = np.zeros([decisions, items], np.float32)
    repeated[:, :2] = 1
    positives = np.zeros([decisions, 1], np.int32)
    for row in range(decisions):
        first, last, divisor = (0, 2, 1) if rng.random() < 0.1 else (2, items, 3)
        odds = np.exp(scores[row, first:last] / divisor)
        positives[row, 0] = first + rng.choice(last - first, p=odds / odds.sum())
    mixture = RepeatMixture()
    user = np.zeros([decisions, 3], np.float32)
    held_out = [
        tuple(x[half] for x in (scores, repeated, user, positives)) for half in (slice(0, 2000), slice(2000, 4000))
    ]

    def likelihood():
        log_probability, _ = mixture(scores, repeated, user, tf.ones([items]))
        return float(np.mean(np.take_along_axis(log_probability.numpy(), positives, 1)))

    before = likelihood()
    reached = mixture.calibrate(held_out, tf.ones([items]))
    assert likelihood() > before + 0.2
    assert reached == pytest.approx(-likelihood(), abs=1e-3)
    assert math.exp(mixture.log_temperature) == pytest.approx(3.0, rel=0.1)
    assert gate(mixture, np.zeros(3)) == pytest.approx(0.1, abs=0.02)


def baskets(rng, decisions, items, repeats):
    """Held-out baskets in which repeats are more alike than their scores say."""
    scores = rng.normal(0, 0.7, (decisions, items)).astype(np.float32)
    repeated = np.zeros([decisions, items], np.float32)
    repeated[:, :repeats] = 1
    chance = np.where(repeated > 0, 0.3, 0.1 * np.exp(scores))
    positives = np.full([decisions, items], -1, np.int32)
    for row in range(decisions):
        chosen = np.flatnonzero(rng.random(items) < chance[row])
        positives[row, : len(chosen)] = chosen
    return scores, repeated, rng.random((decisions, 3)).astype(np.float32), positives


def test_the_balance_is_within_a_standard_error_of_the_best_ndcg():
    rng = np.random.default_rng(4)
    whole = baskets(rng, 600, 30, 12)
    assert (whole[3] < 0).all(1).any()  # nothing to be found
    allowed = tf.constant((np.arange(30) % 7 > 0).astype(np.float32))
    usable = np.where((whole[3] >= 0) & (allowed.numpy()[whole[3]] > 0), whole[3], -1)
    decisions = [tuple(x[half] for x in (*whole[:3], usable)) for half in (slice(0, 250), slice(250, 600))]
    mixture = RepeatMixture()
    mixture.calibrate(decisions, allowed)
    before = mixture.calibration()[1]
    metric = ranking_metric("ndcg@10")

    def ndcg(offset):
        mixture.offset.assign(offset)
        values = []
        for *inputs, positives in decisions:
            labels = np.zeros([len(positives), 30], np.float32)
            for row, places in enumerate(positives):
                labels[row, places[places >= 0]] = 1
            labels[:, allowed.numpy() == 0] = -1
            found, counted = metric(labels, mixture(*inputs, allowed)[0].numpy())
            values += found[counted > 0].tolist()
        return np.array(values)

    by_hand = {move: ndcg(before + move) for move in np.linspace(-1, 1, 17)}
    top = max(by_hand, key=lambda move: by_hand[move].mean())
    behind = {move: by_hand[top] - by_hand[move] for move in by_hand if 0 <= move / top <= 1}
    good = [move for move, values in behind.items() if values.mean() <= values.std(ddof=1) / len(values) ** 0.5 + 1e-9]
    mixture.offset.assign(before)
    move = mixture.balance(decisions, allowed)
    assert move == min(good, key=abs) and 0 < abs(move) < abs(top) < 1
    assert by_hand[move].mean() > by_hand[0].mean() + 0.001
    assert mixture.calibration()[1] == pytest.approx(before + move)


def test_where_no_move_is_better_nothing_moves():
    mixture = RepeatMixture()
    nothing = (np.zeros([2, 4], np.float32), np.zeros([2, 4], np.float32), np.zeros([2, 3], np.float32))
    for positives in ([[1], [2]], [[-1], [-1]]):  # no history; nothing to be found
        assert mixture.balance([(*nothing, np.array(positives, np.int32))], tf.ones([4])) == 0


def test_a_calibration_changes_nothing_in_training(mixture):
    inputs = (
        tf.constant([[2.0, 0.5, -1.0]]),
        tf.constant([[1.0, 0.0, 0.0]]),
        tf.constant([[0.4, 0.9, 0.2]]),
        tf.ones([3]),
    )
    fresh = RepeatMixture(hidden_dimension=4)
    fresh.set_weights(mixture.get_weights())
    fresh.log_temperature.assign(0.0)
    fresh.offset.assign(0.0)
    np.testing.assert_allclose(mixture(*inputs, training=True)[0], fresh(*inputs)[0], atol=1e-6)
    assert not np.allclose(mixture(*inputs)[0], fresh(*inputs)[0], atol=1e-3)
