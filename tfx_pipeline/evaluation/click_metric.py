"""Click metrics for TFMA, over the candidates of all examples of a slice together."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam
import numpy as np
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.metrics import metric_types, metric_util

from models import features
from models.click_metrics import ClickMetrics
from tfx_pipeline.evaluation.metric import LEFT_OUT, candidate_row

#: One example: labels [N], scores [N], user.
_List = tuple[np.ndarray, np.ndarray, bytes]


class ClickMetric(tfma.metrics.Metric):
    """A metric of `models.click_metrics` as a TFMA metric, of a slice's candidates.

    A second value, `NAME/left_out`, is the number of examples without a candidate. Without a candidate that counts the
    value is NaN, and NaN passes no threshold.

    Args:
      name: of the metric, such as `log_loss`.

    Raises:
      ValueError: for an unknown name.
    """

    def __init__(self, name: str) -> None:
        ClickMetrics([name])
        super().__init__(metric_util.merge_per_key_computations(_computations), name=name)


def _computations(name: str, model_name: str = "", output_name: str = "") -> tfma.metrics.MetricComputations:
    key, left_out = (
        tfma.metrics.MetricKey(name=part, model_name=model_name, output_name=output_name)
        for part in (name, name + LEFT_OUT)
    )
    return [
        tfma.metrics.MetricComputation(
            keys=[key, left_out],
            preprocessors=[_ListPreprocessor(model_name)],
            combiner=_ClickCombiner(name, key, left_out),
        )
    ]


class _ListPreprocessor(metric_types.Preprocessor):
    """Takes what the metrics read out of an example."""

    def __init__(self, model_name: str) -> None:
        super().__init__(name=f"clicks:{model_name}")
        self._model_name = model_name

    def process(self, extracts: dict[str, Any]) -> Iterator[_List]:
        labels, scores = (
            candidate_row(extracts[part], self._model_name) for part in (tfma.LABELS_KEY, tfma.PREDICTIONS_KEY)
        )
        users = np.asarray(extracts[tfma.FEATURES_KEY][features.USER_ID]).reshape(-1)
        yield labels, scores, users[0]


class _ClickCombiner(beam.CombineFn):
    """Accumulates (metrics, examples without a candidate)."""

    def __init__(self, name: str, key: tfma.metrics.MetricKey, left_out: tfma.metrics.MetricKey) -> None:
        self._name = name
        self._key = key
        self._left_out = left_out

    def create_accumulator(self) -> tuple[ClickMetrics, int]:
        return ClickMetrics([self._name]), 0

    def add_input(self, accumulator: tuple[ClickMetrics, int], element: _List) -> tuple[ClickMetrics, int]:
        metrics, left_out = accumulator
        labels, scores, user = element
        metrics.update(labels, scores, [user])
        return metrics, left_out + int(not (labels >= 0).any())

    def merge_accumulators(self, accumulators: Iterable[tuple[ClickMetrics, int]]) -> tuple[ClickMetrics, int]:
        merged, left_out = self.create_accumulator()
        for metrics, number in accumulators:
            merged.merge(metrics)
            left_out += number
        return merged, left_out

    def extract_output(self, accumulator: tuple[ClickMetrics, int]) -> dict[tfma.metrics.MetricKey, float]:
        metrics, left_out = accumulator
        # TFMA refuses every candidate when the baseline is exactly 0 (its relative change is then NaN).
        return {self._key: metrics.result()[self._name] or sys.float_info.min, self._left_out: float(left_out)}
