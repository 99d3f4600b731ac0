"""SequenceTransformer: places count from the end, what is not there counts nothing, causal ones see no later place."""

import numpy as np
import pytest
import tensorflow as tf

from models.layers.sequence_transformer import SequenceTransformer


@pytest.fixture(scope="module", params=[True, False])
def transformer(request, tools):
    layer = SequenceTransformer(6, 8, layers=2, heads=2, intermediate=16, causal=request.param)
    layer.build([None, None, 8])
    tools.shake(layer)
    return layer


@pytest.fixture(scope="module")
def states():
    return np.random.default_rng(1).normal(size=[1, 4, 8]).astype(np.float32)


def test_one_layer_of_norm_and_blocks_over_places_from_the_end(transformer, states):
    mask = tf.ones([1, 4], tf.bool)
    expected = transformer.input_norm(states + transformer.places.numpy()[2:])
    for block in transformer.blocks:
        expected = block(expected, mask)
    np.testing.assert_allclose(transformer(states, mask), expected, rtol=1e-5)


def test_what_is_not_there_counts_nothing(transformer, states):
    padded = np.concatenate([np.full([1, 2, 8], 9, np.float32), states], 1)
    mask = tf.constant([[False] * 2 + [True] * 4])
    np.testing.assert_allclose(transformer(padded, mask)[:, 2:], transformer(states, mask[:, 2:]), rtol=1e-3, atol=1e-5)


def test_a_causal_one_sees_nothing_later(transformer, states):
    changed = states.copy()
    changed[0, 3] *= -1  # a shift of all numbers alike would be lost in the norm
    mask = tf.ones([1, 4], tf.bool)
    same = np.isclose(transformer(states, mask), transformer(changed, mask), atol=1e-5).all(-1)[0]
    assert same.tolist() == ([True] * 3 + [False] if transformer.causal else [False] * 4)


def test_it_is_made_again_from_its_config(transformer, states):
    twin = SequenceTransformer.from_config(transformer.get_config())
    twin.build([None, None, 8])
    twin.set_weights(transformer.get_weights())
    mask = tf.ones([1, 4], tf.bool)
    np.testing.assert_array_equal(twin(states, mask), transformer(states, mask))
