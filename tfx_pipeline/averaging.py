"""Averaged weights, from tensorflow-addons."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import tensorflow as tf
import tensorflow_addons as tfa


class MovingAverage(tfa.optimizers.MovingAverage):
    """tensorflow-addons' moving average of the weights, with decoupled decay around it and an exact exchange.

    After step t = 0, 1, … the average a of each weight w becomes δ·a + (1-δ)·w; with `dynamic_decay`
    δ = min(`average_decay`, (1+t)/(10+t)), so that the initial weights' share falls as t^-9.

    Clipping and decoupled weight decay belong outside, `extend_with_decoupled_weight_decay(MovingAverage)(optimizer=…,
    clipnorm=…)`: the wrapper calls the inner optimizer's updates alone, which neither clip nor know the names that are
    not decayed.

    Reference: Polyak and Juditsky, Acceleration of Stochastic Approximation by Averaging (1992).
    """

    # Filled with the first step; half precision may skip that.
    _model_weights: Any = ()
    _average_weights: Any = ()

    def _resource_apply_sparse_duplicate_indices(self, grad: Any, var: Any, indices: Any, **kwargs: Any) -> Any:
        # tensorflow-addons hands this to the inner optimizer, past the decay around this one.
        plain = tf.keras.optimizers.legacy.Optimizer
        return plain._resource_apply_sparse_duplicate_indices(self, grad, var, indices, **kwargs)

    def exchange(self) -> None:
        """Puts the averages in the weights' place and the other way round; twice restores every bit.

        The inherited `swap_weights` adds and subtracts, which loses bits.
        """
        for weight, average in zip(self._model_weights, self._average_weights, strict=True):
            raw, mean = weight.read_value(), average.read_value()
            weight.assign(mean)
            average.assign(raw)


@contextlib.contextmanager
def averaged(model: tf.keras.Model) -> Iterator[bool]:
    """Within it the model has its averaged weights; yields whether its optimizer keeps any."""
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    if not isinstance(optimizer, MovingAverage):
        yield False
        return
    optimizer.exchange()
    try:
        yield True
    finally:
        optimizer.exchange()
