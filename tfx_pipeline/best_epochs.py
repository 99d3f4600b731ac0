"""One model of the weights after several epochs."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import tensorflow as tf


def average_greedily(
    model: tf.keras.Model,
    kept: Mapping[int, Callable[[], None]],
    evaluate: Callable[[], float],
) -> list[int]:
    """Gives a model the mean of the weights after some epochs, those by which validation gains.

    Beginning with the best epoch, each next one joins the mean if the metric then is no lower. So the result is no
    worse on validation than the best epoch alone. What is not trained stays as after the best epoch.

    Args:
      model: whose trainable variables are averaged.
      kept: epoch -> function that gives the model its weights; the best epoch first.
      evaluate: -> metric of the model as it stands, higher is better.

    Returns:
      The epochs that were averaged, in order.

    Reference: Wortsman et al., Model Soups (2022), greedy; Izmailov et al., Averaging Weights Leads to Wider Optima
    (2018).
    """
    weights = _weights(model, kept)
    first, *others = weights
    kept[first]()
    chosen, best = [first], evaluate()
    for epoch in others:
        _assign_mean(model, [weights[one] for one in [*chosen, epoch]])
        value = evaluate()
        if value >= best:
            chosen, best = [*chosen, epoch], value
    _assign_mean(model, [weights[one] for one in chosen])
    return sorted(chosen)


def average(model: tf.keras.Model, kept: Mapping[int, Callable[[], None]]) -> None:
    """Gives a model the mean of the weights after all epochs of `kept` (as for `average_greedily`); the last one's
    where nothing is trained."""
    weights = _weights(model, kept)
    kept[max(kept)]()
    _assign_mean(model, list(weights.values()))


def _weights(model: tf.keras.Model, kept: Mapping[int, Callable[[], None]]) -> dict[int, list[np.ndarray]]:
    found = {}
    for epoch, restore in kept.items():
        restore()
        found[epoch] = [variable.numpy() for variable in model.trainable_variables]
    return found


def _assign_mean(model: tf.keras.Model, several: list[list[np.ndarray]]) -> None:
    for variable, values in zip(model.trainable_variables, zip(*several, strict=True), strict=True):
        variable.assign(np.mean(values, 0, dtype=np.float64).astype(values[0].dtype))
