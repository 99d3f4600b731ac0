"""RecencyPooling against the formula in NumPy."""

import numpy as np
import pytest
import tensorflow as tf

from models.recency_pooling import RecencyPooling

RNG = np.random.default_rng(5)
EVENTS = RNG.normal(size=(3, 4, 6)).astype(np.float32)
TYPES = np.array([[2, 1, 2, 0], [1, 1, 0, 0], [0, 0, 0, 0]])
GAPS = np.array([[40.0, 8, 0.5, 0], [1, 0, 0, 0], [0, 0, 0, 0]], np.float32)
MASK = np.array([[1, 1, 1, 0], [1, 1, 0, 0], [0, 0, 0, 0]], bool)
ARGUMENTS = {"dimension": 6, "event_types": 3, "half_lives": (2.0, 30.0)}


def inputs():
    return [tf.constant(EVENTS), tf.constant(TYPES), tf.constant(GAPS), tf.constant(MASK)]


def test_part(tools, tmp_path):
    tools.check_part(RecencyPooling, ARGUMENTS, inputs(), tmp_path)


def test_heads_weigh_by_content_type_and_age(tools):
    layer = RecencyPooling(**ARGUMENTS)
    tools.shake(layer)
    found = layer(*inputs()).numpy().reshape(3, 2, 6)
    queries, types, lives = layer.queries.numpy(), layer.type_weights.numpy(), np.exp(layer.log_decay.numpy())
    for row in range(2):
        real = np.flatnonzero(MASK[row])
        for head in range(2):
            logits = EVENTS[row, real] @ queries[head] + types[TYPES[row, real], head]
            weights = np.exp(logits) * 2.0 ** (-GAPS[row, real] / lives[head])
            expected = weights @ EVENTS[row, real] / weights.sum()
            np.testing.assert_allclose(found[row, head], expected, atol=1e-5)
    assert (found[2] == 0).all()


def test_at_first_an_event_of_a_half_lifes_age_weighs_half():
    layer = RecencyPooling(2, 3, (7.0,))
    events = tf.constant([[[1.0, 0.0], [0.0, 1.0]]])
    found = layer(events, tf.constant([[2, 2]]), tf.constant([[7.0, 0.0]]), tf.constant([[True, True]])).numpy()
    np.testing.assert_allclose(found, [[1 / 3, 2 / 3]], atol=1e-6)


def test_very_old_events_count_among_themselves():
    layer = RecencyPooling(2, 3, (0.5,))
    events = tf.constant([[[1.0, 0.0], [0.0, 1.0]]])
    found = layer(events, tf.constant([[2, 2]]), tf.constant([[4000.5, 4000.0]]), tf.constant([[True, True]])).numpy()
    np.testing.assert_allclose(found, [[1 / 3, 2 / 3]], atol=1e-3)


@pytest.mark.parametrize("half_lives", [(), (7.0, 0.0)])
def test_wrong_half_lives_are_named(half_lives):
    with pytest.raises(ValueError, match="half_lives must be positive numbers of days"):
        RecencyPooling(2, 3, half_lives)
