"""What Evaluator computes and what it blesses, from the settings."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import tensorflow_model_analysis as tfma

from models import features
from models.click_metrics import CLICK_METRICS, LOWER_IS_BETTER
from models.metrics import ranking_metric
from serving import contract
from tfx_pipeline.evaluation.click_metric import ClickMetric
from tfx_pipeline.evaluation.metric import RankingMetric
from tfx_pipeline.settings import Settings, SettingsError


def eval_config(settings: Settings) -> tfma.EvalConfig:
    """What Evaluator computes and what it blesses for the task `ranking`; see `make`.

    Args:
      settings: of the pipeline; `evaluate`, and `data.context` for slices on context columns.
    """
    return make(
        settings,
        metric=_ranking_class,
        slices=(*features.SLICE_FEATURES, *settings.data.context),
        model=tfma.ModelSpec(
            signature_name=contract.SERVING_DEFAULT,
            label_key=features.LABEL,
            prediction_key=contract.SCORES,
            model_type=tfma.TF_GENERIC,
        ),
    )


def make(
    settings: Settings,
    *,
    metric: Callable[[str], type[tfma.metrics.Metric]],
    slices: tuple[str, ...],
    model: tfma.ModelSpec,
) -> tfma.EvalConfig:
    """What Evaluator computes and what it blesses.

    Slices are reported; only those in `slice_thresholds` block. A threshold of a slice feature holds for each value
    that has examples; when no example has the feature at all, the model is refused.

    Args:
      settings: of the pipeline; `evaluate` is read.
      metric: the class of a metric by its name; raises a ValueError for a name that is none.
      slices: features that examples may be sliced by.
      model: how it is asked and what holds its labels.

    Raises:
      SettingsError: if there is no threshold (Evaluator would bless nothing), if a threshold is set for a metric or
        a slice that is not computed, or if a metric, slice or drop is unusable.
    """
    evaluate = settings.evaluate
    _check(settings, metric, slices)
    overall = tfma.SlicingSpec()
    specs = {name: tfma.SlicingSpec(feature_keys=[name]) for name in evaluate.slices}

    metrics = [tfma.MetricConfig(class_name="ExampleCount")]
    for name in evaluate.metrics:
        kind, lower = metric(name), name in LOWER_IS_BETTER
        computed = tfma.MetricConfig(
            class_name=kind.__name__, module=kind.__module__, config=json.dumps({"name": name})
        )
        threshold = tfma.MetricThreshold()
        if name in evaluate.thresholds:
            threshold.value_threshold.CopyFrom(_bound(evaluate.thresholds[name], lower))
        if name in evaluate.max_drop:
            direction = tfma.MetricDirection.LOWER_IS_BETTER if lower else tfma.MetricDirection.HIGHER_IS_BETTER
            threshold.change_threshold.direction = direction
            threshold.change_threshold.absolute.value = evaluate.max_drop[name] * (1 if lower else -1)
        if threshold.ByteSize():
            # As a threshold of the overall slice: `MetricConfig.threshold` would hold for every slice.
            computed.per_slice_thresholds.append(
                tfma.PerSliceMetricThreshold(slicing_specs=[overall], threshold=threshold)
            )
        for feature, bounds in evaluate.slice_thresholds.items():
            if name in bounds:
                threshold = tfma.MetricThreshold()
                threshold.value_threshold.CopyFrom(_bound(bounds[name], lower))
                computed.per_slice_thresholds.append(
                    tfma.PerSliceMetricThreshold(slicing_specs=[specs[feature]], threshold=threshold)
                )
        metrics.append(computed)

    config = tfma.EvalConfig(
        model_specs=[model],
        slicing_specs=[overall, *specs.values()],
        metrics_specs=[tfma.MetricsSpec(metrics=metrics)],
    )
    config.options.include_default_metrics.value = False
    return config


def _bound(value: float, lower_is_better: bool) -> tfma.GenericValueThreshold:
    threshold = tfma.GenericValueThreshold()
    (threshold.upper_bound if lower_is_better else threshold.lower_bound).value = value
    return threshold


def _ranking_class(name: str) -> type[tfma.metrics.Metric]:
    """The class of a metric of candidate lists, or of clicks; raises ValueError for any other name."""
    if name in CLICK_METRICS:
        return ClickMetric
    try:
        ranking_metric(name)
    except ValueError as error:
        raise ValueError(f"{str(error).rstrip('.')}; of clicks there are {', '.join(CLICK_METRICS)}.") from None
    return RankingMetric


def _check(settings: Settings, metric: Callable[[str], Any], slices: tuple[str, ...]) -> None:
    evaluate = settings.evaluate

    def known(where: str, names: Any, expected: Any) -> None:
        for name in names:
            if name not in expected:
                raise SettingsError(f"`{where}` names {name!r}; expected one of {', '.join(expected)}.")

    for name in evaluate.metrics:
        try:
            metric(name)
        except ValueError as error:
            raise SettingsError(f"`evaluate.metrics`: {error}") from None
    known("evaluate.slices", evaluate.slices, slices)
    known("evaluate.thresholds", evaluate.thresholds, evaluate.metrics)
    known("evaluate.max_drop", evaluate.max_drop, evaluate.metrics)
    known("evaluate.slice_thresholds", evaluate.slice_thresholds, evaluate.slices)
    for feature, lowest in evaluate.slice_thresholds.items():
        known(f"evaluate.slice_thresholds.{feature}", lowest, evaluate.metrics)
    for name, drop in evaluate.max_drop.items():
        if not drop >= 0:
            raise SettingsError(f"`evaluate.max_drop.{name}` is {drop}; expected a number from 0.")
    if not evaluate.thresholds:
        raise SettingsError("`evaluate.thresholds` is empty; expected at least one, or no model is ever blessed.")
