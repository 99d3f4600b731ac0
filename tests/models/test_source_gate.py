"""SourceGate against the formula in NumPy."""

import numpy as np
import pytest
import tensorflow as tf

from models.source_gate import SourceGate

VECTORS = np.random.default_rng(3).normal(size=(4, 3, 5)).astype(np.float32)
PRESENT = np.array([[1, 1, 1], [0, 1, 0], [0, 0, 0], [1, 0, 1]], bool)
INPUTS = [tf.constant(VECTORS), tf.constant(PRESENT)]


def test_part(tools, tmp_path):
    tools.check_part(SourceGate, {"dimension": 5, "sources": 3}, INPUTS, tmp_path)


def test_sources_add_up_as_their_gates_say(tools):
    gate = SourceGate(5, 3)
    tools.shake(gate)
    user, gates = (out.numpy() for out in gate(*INPUTS))
    kernel, bias, nobody = gate.kernel.numpy(), gate.bias.numpy(), gate.nobody.numpy()
    for row in range(4):
        expected = nobody.copy()
        for source in np.flatnonzero(PRESENT[row]):
            logit = bias[source] + kernel[source] @ np.concatenate([VECTORS[row, source], PRESENT[row]])
            assert gates[row, source] == pytest.approx(1 / (1 + np.exp(-logit)), abs=1e-6)
            expected += VECTORS[row, source] / (1 + np.exp(-logit))
        np.testing.assert_allclose(user[row], expected, atol=1e-5)
    assert (gates[~PRESENT] == 0).all()


def test_what_an_absent_source_says_changes_nothing(tools):
    gate = SourceGate(5, 3)
    tools.shake(gate)
    other = np.where(PRESENT[:, :, None], VECTORS, 9.0).astype(np.float32)
    np.testing.assert_array_equal(gate(tf.constant(other), INPUTS[1])[0], gate(*INPUTS)[0])


def test_no_source_is_an_error():
    with pytest.raises(ValueError, match="sources must be at least 1, not 0"):
        SourceGate(5, 0)
