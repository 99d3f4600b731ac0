"""AffinityPath: attributes of the history counted out, in NumPy."""

import numpy as np
import pytest
import tensorflow as tf

from models.affinity_path import AffinityPath

CATEGORIES, BRANDS = np.array([1, 1, 2, 0, 2]), np.array([3, 0, 1, 2, 3])
DECAY = (5.0, 50.0)
POSITIONS = np.array([[0, 2, 4, -1], [3, -1, -1, -1]])
TYPES = np.array([[1, 2, 2, 0], [1, 0, 0, 0]])
GAPS = np.array([[9.0, 4.0, 0.5, 0.0], [2.0, 0, 0, 0]], np.float32)
WEIGHTS = np.array([9.0, 0.5, 2.0])  # of the event types
ASKED = np.array([[0.0], [1.0]], np.float32)


@pytest.fixture
def path():
    tf.keras.utils.set_random_seed(3)
    path = AffinityPath(sizes=(3, 4), event_types=3, decay_days=DECAY)
    rng = np.random.default_rng(1)
    for layer in path.outer:
        layer.kernel.assign(rng.normal(size=layer.kernel.shape))
    for counts in path.counts:
        counts.type_weights.assign(WEIGHTS)
    return path


def run(path, rows=None, positions=POSITIONS, asked=ASKED):
    attributes = [tf.constant(CATEGORIES), tf.constant(BRANDS)]
    history = tf.constant(positions), tf.constant(TYPES), tf.constant(GAPS)
    return path(attributes, *history, tf.constant(asked), None if rows is None else tf.constant(rows)).numpy()


def by_hand(path):
    expected = np.zeros([2, 5])
    for kind, values in enumerate((CATEGORIES, BRANDS)):
        inner, outer = path.inner[kind], path.outer[kind].kernel.numpy()
        for user in range(2):
            events = [event for event in zip(POSITIONS[user], TYPES[user], GAPS[user], strict=True) if event[0] >= 0]
            known = [(values[place], WEIGHTS[kind], age) for place, kind, age in events if values[place]]
            length = np.log1p(len(known)) / 5
            newest = np.log1p(min((age for *_, age in known), default=1e4)) / 4
            for item, value in enumerate(values):
                own = np.array([(weight, age) for other, weight, age in known if other == value])
                if not len(own):
                    continue
                weights, ages = own.T
                decayed = [np.log1p(3 * (weights * np.exp(-ages / days)).sum()) for days in DECAY]
                features = [np.log1p(weights.sum()), 1.0, *decayed, length, newest, ASKED[user, 0]]
                hidden = np.array(features) @ inner.kernel.numpy() + inner.bias.numpy()
                expected[user, item] += (tf.nn.gelu(hidden.astype(np.float32)).numpy() @ outer)[0]
    return expected


def test_scores_are_what_one_counts(path):
    found = run(path)
    np.testing.assert_allclose(found, by_hand(path), atol=1e-5)
    assert np.ptp(found[0]) > 0.1
    np.testing.assert_allclose(run(path, rows=[4, 0]), found[:, [4, 0]], atol=1e-6)


def test_what_an_item_shares_with_the_history_counts_and_nothing_else(path):
    # Item 1 has no event of its own, but the first user's category.
    other = np.array([[2, 2, 4, -1], [3, -1, -1, -1]])
    change = np.abs(run(path, positions=other) - run(path))
    assert change[0, 1] > 1e-3 and not change[1].any()
    asked = np.abs(run(path, asked=1 - ASKED) - run(path))
    assert asked[0, [0, 1, 2, 4]].min() > 1e-4
    assert not run(path)[1, [0, 1, 2, 4]].any()  # of the second user's one event only the brand is known, no other's


def test_it_starts_at_zero_and_learns():
    path = AffinityPath(sizes=(3, 4), event_types=3, decay_days=DECAY)
    with tf.GradientTape() as tape:
        score = path(
            [CATEGORIES, BRANDS], tf.constant(POSITIONS), tf.constant(TYPES), tf.constant(GAPS), tf.constant(ASKED)
        )
        loss = tf.reduce_sum(score[:, 0])
    assert not score.numpy().any()
    assert all(np.abs(gradient).max() > 0 for gradient in tape.gradient(loss, [layer.kernel for layer in path.outer]))


def test_config_and_errors(path):
    again = AffinityPath.from_config(path.get_config())
    again.set_weights(path.get_weights())
    np.testing.assert_allclose(run(again), run(path))
    with pytest.raises(ValueError, match="sizes are empty"):
        AffinityPath(sizes=(), event_types=3, decay_days=DECAY)
