"""What happens after each epoch of a model of clicks: its probabilities are measured, and calibrated."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from models import features
from models.candidate_model import CandidateModel
from models.click_metrics import CLICK_METRICS, ClickMetrics
from tfx_pipeline.callbacks import Validation, traced_once


class ClickValidation(Validation):
    """A `Validation` of the probabilities of held-out candidates, by the metrics of `models.click_metrics`.

    Before that it fits the model's `PlattScaling`, if there is one, to the very candidates that are then measured:
    two numbers, which flatter `log_loss` and `ece` a little, and nothing else.

    Args:
      model: the one in training; construct this outside its strategy's scope.
      decisions: dataset of (inputs, labels).
    """

    def __init__(self, model: CandidateModel, decisions: tf.data.Dataset) -> None:
        super().__init__(model, decisions)
        self._function: Any = None

    def evaluate(self) -> dict[str, float]:
        model = self.model
        if model.learns_text:
            model.refresh_item_text()
        if self._function is None:
            self._function = traced_once(lambda batch: model(batch, training=False), self._decisions)
        if model.platt is not None:
            model.platt.log_temperature.assign(0.0)
            model.platt.offset.assign(0.0)
        batches = [
            (labels.numpy(), self._function(inputs).numpy(), inputs[features.USER_KEY_XF].numpy())
            for inputs, labels in self._decisions
        ]
        temperature = offset = 0.0
        if model.platt is not None:
            labels, scores = (np.concatenate([batch[part][batch[0] >= 0] for batch in batches]) for part in (0, 1))
            if np.isfinite(scores).all():  # a fit that has gone astray is told by its metrics
                model.platt.calibrate(labels, scores)
            temperature, offset = model.platt.calibration()
        metrics = ClickMetrics(CLICK_METRICS)
        for labels, scores, users in batches:
            metrics.update(labels, scores * np.exp(-temperature) + offset, users)
        return metrics.result()
