"""AdamW with warm-up and cosine decay, from tensorflow-addons."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import tensorflow as tf
import tensorflow_addons as tfa

from tfx_pipeline.averaging import MovingAverage
from tfx_pipeline.layer_rates import LayerRates
from tfx_pipeline.settings import TrainSettings

#: Variables whose names match are not decayed: biases, norms, and single numbers that are no matrices of a model.
NOT_DECAYED = [
    "bias",
    "gamma",
    "beta",
    "norm",
    "LayerNorm",
    "log_decay",
    "type_weights",
    "slice_weights",
    "scale",
    "log_variance",
]


class WarmupCosine(tf.keras.optimizers.schedules.LearningRateSchedule):
    """Rises in a line from 0 to `peak` over `warmup` steps, then falls as half a cosine to 0 at `total`.

    Args:
      peak: the highest value.
      total: steps in all.
      warmup: steps of the rise, fewer than `total`.

    Reference: Loshchilov and Hutter, SGDR (2017).
    """

    def __init__(self, peak: float, total: int, warmup: int) -> None:
        if not 0 <= warmup < total:
            raise ValueError(f"warmup must lie between 0 and the {total} steps in all, not {warmup}.")
        self.peak, self.total, self.warmup = peak, total, warmup

    def __call__(self, step: Any) -> tf.Tensor:
        step = tf.cast(step, tf.float32)
        rise = step / max(1.0, float(self.warmup))
        progress = (step - self.warmup) / max(1.0, float(self.total - self.warmup))
        fall = 0.5 * (1 + tf.cos(math.pi * tf.clip_by_value(progress, 0.0, 1.0)))
        return self.peak * tf.where(step < self.warmup, rise, fall)

    def get_config(self) -> dict[str, Any]:
        return {"peak": self.peak, "total": self.total, "warmup": self.warmup}


class _LazyAdam(tfa.optimizers.LazyAdam):
    """LazyAdam that takes the rate of sparse rows from what the decoupled weight decay hands on to every optimizer."""

    _rate: Any = None

    def _decayed_lr(self, var_dtype: Any) -> Any:
        return super()._decayed_lr(var_dtype) if self._rate is None else self._rate

    def _resource_apply_sparse(self, grad: Any, var: Any, indices: Any, apply_state: Any = None) -> Any:
        self._rate = (apply_state or {}).get((var.device, var.dtype.base_dtype), {}).get("lr_t")
        try:
            return super()._resource_apply_sparse(grad, var, indices)
        finally:
            self._rate = None


def make_optimizer(
    settings: TrainSettings, total_steps: int, factors: Iterable[tuple[tf.Variable, float]] = ()
) -> tf.keras.optimizers.legacy.Optimizer:
    """The optimizer of a run.

    `lazy_adam` moves only the rows of an embedding that a batch touches: it pays where gradients are sparse, not under
    a full softmax over the catalogue, whose gradients are dense. Weight decay is decoupled and follows the schedule.
    With `averaging` it also keeps a moving average of the weights (`averaging.averaged` puts it in their place).

    Args:
      settings: of the training.
      total_steps: of all epochs.
      factors: weights whose learning rate and decay are multiplied, and by what.
    """
    warmup = min(int(settings.warmup_share * total_steps), total_steps - 1)
    rate = WarmupCosine(settings.learning_rate, total_steps, warmup)
    # tensorflow-addons takes the decay itself off the weights, not decay times rate, so the rate is put in here.
    decay = WarmupCosine(settings.weight_decay * settings.learning_rate, total_steps, warmup)
    base = _LazyAdam if settings.optimizer == "lazy_adam" else tf.keras.optimizers.legacy.Adam
    around: dict[str, Any] = {"weight_decay": decay, "exclude_from_weight_decay": NOT_DECAYED, "clipnorm": 5.0}
    decoupled = tfa.optimizers.extend_with_decoupled_weight_decay
    if settings.averaging == "ema":
        around.update(average_decay=settings.average_decay, dynamic_decay=True, optimizer=base(learning_rate=rate))
        kind = decoupled(MovingAverage)
    else:
        around.update(learning_rate=rate)
        kind = decoupled(base)
    optimizer = type("AdamW", (LayerRates, kind), {})(**around)
    optimizer.set_factors(factors)
    if tf.keras.mixed_precision.global_policy().name == "mixed_float16":
        optimizer = tf.keras.mixed_precision.LossScaleOptimizer(optimizer)
    return optimizer
