"""Ranking metrics for TFMA, one candidate list an example.

TFMA's own ranking metrics need a `query_key` and break ties by the order of the input, which rates a constant model
1.0. Here one example is one list: its labels [N] and scores [N] go to `models.metrics`, so Evaluator, Trainer and
benchmarks compute the same numbers.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import apache_beam as beam
import numpy as np
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.metrics import metric_types, metric_util

from models.metrics import ranking_metric
from serving import contract

#: Behind a metric's name: the number of examples without a value.
LEFT_OUT = "/left_out"


class RankingMetric(tfma.metrics.Metric):
    """A metric of `models.metrics` as a TFMA metric: its mean over the examples of a slice.

    A second value, `NAME/left_out`, is the number of examples without a value (no positive, say). Without any example
    that counts the mean is NaN, and NaN passes no threshold.

    Args:
      name: of the metric, such as `ndcg@10`.

    Raises:
      ValueError: for an unknown name.
    """

    def __init__(self, name: str) -> None:
        ranking_metric(name)
        super().__init__(metric_util.merge_per_key_computations(_computations), name=name)


def _computations(name: str, model_name: str = "", output_name: str = "") -> tfma.metrics.MetricComputations:
    key, left_out = (
        tfma.metrics.MetricKey(name=part, model_name=model_name, output_name=output_name)
        for part in (name, name + LEFT_OUT)
    )
    return [
        tfma.metrics.MetricComputation(
            keys=[key, left_out],
            preprocessors=[_RankingPreprocessor(name, model_name)],
            combiner=_MeanCombiner(key, left_out),
        )
    ]


class _RankingPreprocessor(metric_types.Preprocessor):
    """Makes of one example the pair (value, counted), once, before it is handed to every slice it belongs to."""

    def __init__(self, name: str, model_name: str) -> None:
        super().__init__(name=f"ranking:{name}:{model_name}")
        self._metric_name = name
        self._model_name = model_name
        self._metric: Callable | None = None

    def process(self, extracts: dict[str, Any]) -> Iterator[tuple[float, bool]]:
        self._metric = self._metric or ranking_metric(self._metric_name)
        labels, scores = (
            candidate_row(extracts[part], self._model_name) for part in (tfma.LABELS_KEY, tfma.PREDICTIONS_KEY)
        )
        values, counted = self._metric(labels, scores)
        yield float(values[0]), bool(counted[0])

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_metric": None}


def candidate_row(value: Any, model_name: str) -> np.ndarray:
    """The list [N] of one example, wherever TFMA has put it.

    Two models give a mapping by model. Labels whose lengths differ within a batch arrive sparse; their values go on,
    so that the metric's error names both lengths. TFMA's own helper is of no use here: it takes a list that is all -1
    for unknown classes and replaces it.
    """
    for key in (model_name, contract.SCORES):
        if isinstance(value, Mapping) and key in value:
            value = value[key]
    return np.asarray(getattr(value, "values", value)).reshape(-1)


class _MeanCombiner(beam.CombineFn):
    """Mean of the values that count; accumulates (sum, number that count, number of all)."""

    def __init__(self, key: tfma.metrics.MetricKey, left_out: tfma.metrics.MetricKey) -> None:
        self._key = key
        self._left_out = left_out

    def create_accumulator(self) -> tuple[float, int, int]:
        return 0.0, 0, 0

    def add_input(self, accumulator: tuple[float, int, int], element: tuple[float, bool]) -> tuple[float, int, int]:
        total, counted, rows = accumulator
        return total + element[0], counted + element[1], rows + 1

    def merge_accumulators(self, accumulators: Any) -> tuple[float, int, int]:
        total, counted, rows = zip(*accumulators, strict=True)
        return sum(total), sum(counted), sum(rows)

    def extract_output(self, accumulator: tuple[float, int, int]) -> dict[tfma.metrics.MetricKey, float]:
        total, counted, rows = accumulator
        mean = total / counted if counted else float("nan")
        # TFMA refuses every candidate when the baseline is exactly 0 (its relative change is then NaN).
        return {self._key: mean or sys.float_info.min, self._left_out: float(rows - counted)}
