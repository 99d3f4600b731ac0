"""ZeroAttention against its formula in NumPy."""

import numpy as np
import pytest
import tensorflow as tf

from models.zero_attention import ZeroAttention

ARGUMENTS = dict(dimension=4, heads=2, max_history=5)
MASK = np.array([[False, True, True], [True, True, True], [False, False, False]])


@pytest.fixture(scope="module")
def values():
    rng = np.random.default_rng(0)
    return [tf.constant(rng.normal(size=shape), tf.float32) for shape in ([3, 4], [3, 3, 4])]


def test_the_contract_of_a_part(tools, values, tmp_path):
    tools.check_part(ZeroAttention, ARGUMENTS, (*values, tf.constant(MASK)), tmp_path)


def test_numbers_are_those_of_the_formula(tools, values):
    part = ZeroAttention(**ARGUMENTS)
    tools.shake(part)
    query, events = (value.numpy() for value in values)
    asked = query @ part.query_projection.kernel.numpy() + part.query_projection.bias.numpy()
    keys, held = (events @ layer.kernel.numpy() for layer in (part.key_projection, part.value_projection))
    found = part(*values, tf.constant(MASK)).numpy()
    for b in range(3):
        for head in range(2):
            place = slice(2 * head, 2 * head + 2)
            weights = np.zeros(3)
            for e in range(3):
                logit = asked[b, place] @ keys[b, e, place] / np.sqrt(2) + part.ages.numpy()[head, 2 - e]
                weights[e] = MASK[b, e] * np.exp(logit)
            expected = weights @ held[b][:, place] / (1 + weights.sum())
            np.testing.assert_allclose(found[b, place], expected, atol=1e-5)
    assert not found[2].any()


def test_heads_share_the_dimension():
    with pytest.raises(ValueError, match="heads must share 4 out evenly, which 3 cannot"):
        ZeroAttention(4, 3, 2)
