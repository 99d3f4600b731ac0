"""The moving average around AdamW, against the same optimizer without it and NumPy."""

import numpy as np
import pytest
import tensorflow as tf

from tfx_pipeline.averaging import MovingAverage, averaged
from tfx_pipeline.optimizer import make_optimizer
from tfx_pipeline.settings import TrainSettings


class _Small(tf.keras.Model):
    """A matrix, a bias and a table of rows, a counter that is no weight, and gradients that are far too long."""

    def __init__(self, settings: TrainSettings) -> None:
        super().__init__()
        self.kernel = tf.Variable(np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3), name="kernel")
        self.bias = tf.Variable([3.0, -3.0], name="bias")
        self.table = tf.Variable(np.linspace(2, 3, 8, dtype=np.float32).reshape(4, 2), name="table")
        self.counter = tf.Variable(5, dtype=tf.int64, trainable=False)
        self.optimizer = make_optimizer(settings, total_steps=40)
        self.step = tf.function(self._step)

    def _step(self, number: tf.Tensor) -> None:
        rows = tf.IndexedSlices(tf.ones([3, 2]) * [[40.0], [-7.0], [3.0]] * number, tf.constant([1, 1, 3]), [4, 2])
        kernel = 100 * tf.sin(number + tf.reshape(tf.range(6.0), [2, 3]))
        self.optimizer.apply_gradients([(kernel, self.kernel), (tf.zeros([2]), self.bias), (rows, self.table)])


def _values(model: _Small) -> list[np.ndarray]:
    return [variable.numpy() for variable in (model.kernel, model.bias, model.table)]


@pytest.mark.parametrize("name", ["adamw", "lazy_adam"])
@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
def test_averaging_changes_no_step_and_is_the_mean_that_numpy_finds(name, policy):
    """Clipping, decay and its exceptions, sparse rows and the rate are those of the plain optimizer, to the bit."""
    tf.keras.mixed_precision.set_global_policy(policy)
    try:
        options = {"optimizer": name, "learning_rate": 0.1, "weight_decay": 0.5, "warmup_share": 0.1}
        plain = _Small(TrainSettings(**options))
        model = _Small(TrainSettings(**options, averaging="ema", average_decay=0.6))
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
    assert isinstance(getattr(model.optimizer, "inner_optimizer", model.optimizer), MovingAverage)
    mean = [value.astype(np.float64) for value in _values(model)]
    for number in range(12):
        before = _values(model)
        plain.step(tf.constant(float(number)))
        model.step(tf.constant(float(number)))
        for one, other in zip(_values(plain), _values(model), strict=True):
            np.testing.assert_array_equal(one, other)
        decay = min(0.6, (1 + number) / (10 + number))
        mean = [decay * old + (1 - decay) * new for old, new in zip(mean, _values(model), strict=True)]
    assert float(model.optimizer.learning_rate(model.optimizer.iterations)) == pytest.approx(
        float(plain.optimizer.learning_rate(plain.optimizer.iterations))
    )
    np.testing.assert_array_equal(before[1], [3.0, -3.0])
    raw = _values(model)
    with averaged(model) as exchanged:
        assert exchanged
        for found, expected in zip(_values(model), mean, strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-5)
        assert np.abs(model.kernel.numpy() - raw[0]).max() > 1e-3
        assert model.counter.numpy() == 5
    for one, other in zip(raw, _values(model), strict=True):
        np.testing.assert_array_equal(one, other)


def test_weights_come_back_after_an_error_and_without_averaging_nothing_is_exchanged():
    model = _Small(TrainSettings(averaging="ema", learning_rate=0.1, warmup_share=0.0))
    for number in range(3):
        model.step(tf.constant(float(number)))
    raw = _values(model)
    with pytest.raises(RuntimeError), averaged(model):
        raise RuntimeError
    np.testing.assert_array_equal(model.kernel.numpy(), raw[0])
    with averaged(_Small(TrainSettings())) as exchanged:
        assert not exchanged
