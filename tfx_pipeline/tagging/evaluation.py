"""The gate of the task `tagging`: precision, recall and F1 of tags, words and sentiment as TFMA metrics."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import apache_beam as beam
import numpy as np
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.metrics import metric_types, metric_util

from models import features, tag_metrics, text_words
from models.tag_metrics import ClassCounts
from serving import contract
from tfx_pipeline.evaluation import config as evaluation_config
from tfx_pipeline.evaluation.metric import LEFT_OUT
from tfx_pipeline.settings import Settings
from tfx_pipeline.tagging.weak_labels import GIVEN

#: Features that Evaluator may slice by.
SLICES = (features.SLICE_SOURCE, features.SLICE_LANGUAGE)

_Counts = dict[str, list[int]]


def eval_config(settings: Settings) -> tfma.EvalConfig:
    """What Evaluator computes and what it blesses.

    Args:
      settings: of the pipeline; `evaluate` is read: metrics by the names of `models.tag_metrics.parse`.

    Raises:
      SettingsError: as `evaluation.config.eval_config`.
    """
    return evaluation_config.make(
        settings,
        metric=_metric_class,
        slices=SLICES,
        model=tfma.ModelSpec(
            signature_name=contract.SERVING_DEFAULT, label_key=features.TEXT_SENTIMENT, model_type=tfma.TF_GENERIC
        ),
    )


def _metric_class(name: str) -> type[tfma.metrics.Metric]:
    tag_metrics.parse(name)
    return TagMetric


class TagMetric(tfma.metrics.Metric):
    """A metric of `models.tag_metrics` as a TFMA metric, over the decisions about all texts of a slice.

    Labels and decisions are compared by name, so that models with different tags are measured alike. A second value,
    `NAME/left_out`, is the number of texts without a label: of sentiment, those whose author's is not known; of tags
    and words, those without any.

    Args:
      name: of the metric, such as `tag_macro_f1`.

    Raises:
      ValueError: for an unknown name.
    """

    def __init__(self, name: str) -> None:
        tag_metrics.parse(name)
        super().__init__(metric_util.merge_per_key_computations(_computations), name=name)


def _computations(name: str, model_name: str = "", output_name: str = "") -> tfma.metrics.MetricComputations:
    key, left_out = (
        tfma.metrics.MetricKey(name=part, model_name=model_name, output_name=output_name)
        for part in (name, name + LEFT_OUT)
    )
    head, average, measure = tag_metrics.parse(name)
    return [
        tfma.metrics.MetricComputation(
            keys=[key, left_out],
            preprocessors=[_CountsPreprocessor(head, model_name)],
            combiner=_CountsCombiner(key, left_out, average, measure),
        )
    ]


class _CountsPreprocessor(metric_types.Preprocessor):
    """Makes of one example the pair (counts of its classes, whether it has a label)."""

    def __init__(self, head: str, model_name: str) -> None:
        super().__init__(name=f"tagging:{head}:{model_name}")
        self._head, self._model_name = head, model_name

    def process(self, extracts: dict[str, Any]) -> Iterator[tuple[_Counts, bool]]:
        inputs, found = extracts[tfma.FEATURES_KEY], extracts[tfma.PREDICTIONS_KEY]
        if isinstance(found, Mapping) and self._model_name in found:
            found = found[self._model_name]
        counts = ClassCounts()
        if self._head == "tag":
            names, weights = _row(inputs[features.TEXT_TAGS]), _row(inputs[features.TEXT_TAG_WEIGHTS])
            true = {_text(name) for name, weight in zip(names, weights, strict=True) if weight >= GIVEN}
            decided = {_text(name) for name in _row(found[contract.TAGS])} - {""}
            counts.add(true, decided)
            yield counts.counts, bool(true)
        elif self._head == "word":
            labels = [_text(label) for label in _row(inputs[features.TEXT_WORD_LABELS])]
            answers = [_text(label) for label in _row(found[contract.WORD_LABELS])][: len(labels)]
            answers += [text_words.OUTSIDE] * (len(labels) - len(answers))
            counts.add_pairs(labels, answers, text_words.OUTSIDE)
            yield counts.counts, bool(labels)
        else:
            feeling = _text(_row(_labels(extracts[tfma.LABELS_KEY], self._model_name))[0])
            content = float(_row(found[contract.SENTIMENT])[0]) >= 0.5
            if feeling:
                counts.add({feeling}, {text_words.POSITIVE if content else text_words.NEGATIVE})
            yield counts.counts, bool(feeling)


def _labels(value: Any, model_name: str) -> Any:
    return value[model_name] if isinstance(value, Mapping) and model_name in value else value


def _row(value: Any) -> np.ndarray:
    """The values of one example, sparse ones too."""
    return np.asarray(getattr(value, "values", value)).reshape(-1)


def _text(value: Any) -> str:
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)


class _CountsCombiner(beam.CombineFn):
    """Adds counts; accumulates (counts, number with a label, number of all)."""

    def __init__(
        self, key: tfma.metrics.MetricKey, left_out: tfma.metrics.MetricKey, average: str, measure: str
    ) -> None:
        self._key, self._left_out = key, left_out
        self._average, self._measure = average, measure

    def create_accumulator(self) -> tuple[_Counts, int, int]:
        return {}, 0, 0

    def add_input(
        self, accumulator: tuple[_Counts, int, int], element: tuple[_Counts, bool]
    ) -> tuple[_Counts, int, int]:
        counts, labelled, rows = accumulator
        return _added(counts, element[0]), labelled + element[1], rows + 1

    def merge_accumulators(self, accumulators: Iterable[tuple[_Counts, int, int]]) -> tuple[_Counts, int, int]:
        total, labelled, rows = self.create_accumulator()
        for counts, some, more in accumulators:
            total, labelled, rows = _added(total, counts), labelled + some, rows + more
        return total, labelled, rows

    def extract_output(self, accumulator: tuple[_Counts, int, int]) -> dict[tfma.metrics.MetricKey, float]:
        counted, labelled, rows = ClassCounts(), accumulator[1], accumulator[2]
        counted.counts = accumulator[0]
        value = counted.value(self._average, self._measure)
        # TFMA refuses every candidate when the baseline is exactly 0 (its relative change is then NaN).
        return {self._key: value or sys.float_info.min, self._left_out: float(rows - labelled)}


def _added(counts: _Counts, more: _Counts) -> _Counts:
    """`counts` with `more` added in place."""
    for name, row in more.items():
        mine = counts.setdefault(name, [0, 0, 0])
        for column, number in enumerate(row):
            mine[column] += number
    return counts
