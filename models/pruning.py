"""Parts of a trained model taken out."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from models.candidate_model import CandidateModel


def prune_kernels(model: tf.keras.Model, share: float) -> None:
    """Sets the smallest numbers of each trained or frozen dense kernel to 0, a share of each, by absolute value.

    Args:
      model: trained.
      share: in [0, 1).

    Reference: Han et al., Learning both Weights and Connections for Efficient Neural Networks (2015), without the
    training after it.
    """
    for variable in model.weights:
        if "kernel" in variable.name and variable.shape.rank >= 2:
            values = variable.numpy()
            number = int(share * values.size)
            smallest = np.argsort(np.abs(values), axis=None, kind="stable")[:number]
            values.reshape(-1)[smallest] = 0
            variable.assign(values)


def twin(model: CandidateModel) -> CandidateModel:
    """A model of its own with the same weights, of no distribution strategy."""
    made: CandidateModel = type(model).from_config(model.get_config())
    made.keep_spare(model.spare_items)
    made.set_weights(model.get_weights())
    return made


def keep_text_layers(model: CandidateModel, number: int) -> CandidateModel:
    """A twin that has the first `number` Transformer layers of the text encoder, and has read the items' texts anew.

    Raises:
      ValueError: if it has no text encoder, or no more layers than that.
    """
    made = twin(model)
    if made.text_encoder is None:
        raise ValueError("the model has no text encoder; expected `export.text_layers: 0` for it.")
    encoder = made.text_encoder.bert.bert.encoder
    if number >= len(encoder.layer):
        raise ValueError(f"`export.text_layers` is {number}; expected fewer than the {len(encoder.layer)} there are.")
    encoder.layer = list(encoder.layer[:number])
    made.refresh_item_text()
    return made
