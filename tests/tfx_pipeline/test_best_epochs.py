"""Means of the weights after several epochs, with an evaluation that NumPy repeats."""

import numpy as np
import pytest
import tensorflow as tf

from tfx_pipeline.best_epochs import average, average_greedily

TARGET = np.array([1.0, 1.0])


class _Model(tf.keras.Model):
    def __init__(self):
        super().__init__()
        self.w = tf.Variable([0.0, 0.0])
        self.table = tf.Variable([0.0], trainable=False)


def _kept(model, weights):
    """Best first: weights by epoch, and a table that is not trained, which holds the epoch."""

    def restore(epoch):
        def put():
            model.w.assign(weights[epoch])
            model.table.assign([float(epoch)])

        return put

    order = sorted(weights, key=lambda epoch: np.linalg.norm(np.array(weights[epoch]) - TARGET))
    return {epoch: restore(epoch) for epoch in order}


def _value(model):
    return -float(np.linalg.norm(model.w.numpy() - TARGET))


def test_an_epoch_joins_only_where_validation_does_not_fall():
    model = _Model()
    # 4 is the best; with 2 it meets the target; 7 would pull it away.
    chosen = average_greedily(model, _kept(model, {4: [1.5, 1.0], 2: [0.5, 1.0], 7: [3.0, 3.0]}), lambda: _value(model))
    assert chosen == [2, 4]
    np.testing.assert_allclose(model.w.numpy(), [1.0, 1.0])
    assert model.table.numpy() == [4.0], "what is not trained is the best epoch's"


def test_the_best_epoch_alone_is_left_as_it_was():
    model = _Model()
    kept = _kept(model, {3: [1.1, 1.0], 5: [1.3, 1.0]})
    assert average_greedily(model, kept, lambda: _value(model)) == [3]
    np.testing.assert_array_equal(model.w.numpy(), np.float32([1.1, 1.0]))


def test_without_an_evaluation_all_are_averaged():
    model = _Model()
    average(model, _kept(model, {4: [1.5, 1.0], 2: [0.5, 1.0], 7: [4.0, 1.0]}))
    np.testing.assert_allclose(model.w.numpy(), [2.0, 1.0])
    assert model.table.numpy() == [7.0]


@pytest.mark.parametrize("seed", range(3))
def test_the_mean_is_never_worse_than_the_best_epoch(seed):
    rng, model = np.random.default_rng(seed), _Model()
    weights = {epoch: rng.normal(1, 0.5, 2).tolist() for epoch in range(1, 6)}
    kept = _kept(model, weights)
    best = max(-np.linalg.norm(np.array(w) - TARGET) for w in weights.values())
    average_greedily(model, kept, lambda: _value(model))
    assert _value(model) >= best - 1e-6
