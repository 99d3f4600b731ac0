"""Weights at a multiple of the rate, against an optimizer whose rate is that multiple."""

import numpy as np
import pytest
import tensorflow as tf

from tfx_pipeline.averaging import averaged
from tfx_pipeline.optimizer import make_optimizer
from tfx_pipeline.settings import TrainSettings


class _Two(tf.keras.Model):
    """Two equal tables and two equal matrices; the second of each is at a rate of its own."""

    def __init__(self, settings, factor):
        super().__init__()
        first = np.linspace(-1, 1, 8, dtype=np.float32).reshape(4, 2)
        self.all = [tf.Variable(first, name=name) for name in ("table", "slow_table", "kernel", "slow_kernel")]
        factors = [(self.all[1], factor), (self.all[3], factor)] if factor else []
        self.optimizer = make_optimizer(settings, 40, factors)
        self.step = tf.function(self._step)

    def _step(self, number):
        rows = tf.IndexedSlices(tf.ones([3, 2]) * [[0.4], [-0.7], [0.3]] * number, tf.constant([1, 1, 3]), [4, 2])
        dense = tf.sin(number + tf.reshape(tf.range(8.0), [4, 2]))
        self.optimizer.apply_gradients(list(zip([rows, rows, dense, dense], self.all, strict=True)))


@pytest.mark.parametrize("name", ["adamw", "lazy_adam"])
@pytest.mark.parametrize(("policy", "averaging"), [("float32", "none"), ("float32", "ema"), ("mixed_float16", "none")])
def test_a_factor_is_a_learning_rate_of_its_own(name, policy, averaging):
    options = {"optimizer": name, "weight_decay": 0.5, "warmup_share": 0.1, "averaging": averaging}
    tf.keras.mixed_precision.set_global_policy(policy)
    try:
        model = _Two(TrainSettings(learning_rate=0.1, **options), 0.25)
        fast, slow = (_Two(TrainSettings(learning_rate=rate, **options), None) for rate in (0.1, 0.025))
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
    for number in range(1, 7):
        for one in (model, fast, slow):
            one.step(tf.constant(float(number)))

    def check():
        for place, source in enumerate([fast, slow, fast, slow]):
            np.testing.assert_allclose(model.all[place], source.all[place], atol=1e-6)
        assert np.abs(model.all[3].numpy() - model.all[2].numpy()).max() > 0.05

    check()
    if averaging == "ema":
        with averaged(model), averaged(fast), averaged(slow):
            check()
