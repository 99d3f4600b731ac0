"""A trained model with room for items that come after training."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from models.candidate_model import CandidateModel

#: Key under which every `get_config` has the number of rows of the catalogue.
_ITEMS = "items"


def widen(model: CandidateModel, spare: int) -> CandidateModel:
    """A twin whose tables have more rows along the catalogue: those at the end are spare (`spare_items`).

    Nothing is known of a spare row: what is learned of an item is zero there, what is counted or described is as a
    model begins. No other row's score depends on it.

    Args:
      model: trained; it has no spare rows.
      spare: how many.

    Returns:
      The twin, of no distribution strategy.

    Raises:
      ValueError: if the model cannot have so many items.
    """
    config = _with_items(model.get_config(), model.items, model.items + spare)
    made: CandidateModel = type(model).from_config(config)
    assert made.items == model.items + spare
    # One after the other: some of these tables are a good part of the memory that there is.
    for ours, theirs in zip(model.weights, made.weights, strict=True):
        values = tf.convert_to_tensor(ours).numpy()
        if ours.shape != theirs.shape:
            wide = np.zeros(theirs.shape, values.dtype) if theirs.trainable else theirs.numpy()
            wide[tuple(slice(size) for size in values.shape)] = values
            values = wide
        theirs.assign(values)
    made.keep_spare(spare)
    return made


def _with_items(config: Any, before: int, after: int) -> Any:
    """A configuration in which the number of items is another one, wherever it stands."""
    if isinstance(config, dict):
        return {
            key: after if key == _ITEMS and value == before else _with_items(value, before, after)
            for key, value in config.items()
        }
    return config
