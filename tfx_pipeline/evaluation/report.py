"""What Evaluator found, read from its artifacts and printed for a person."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import tensorflow as tf
import tensorflow_model_analysis as tfma
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from tfx.components.evaluator import constants

from tfx_pipeline.evaluation.metric import LEFT_OUT

_ROWS = "example_count"  # of tfma.metrics.ExampleCount
_OVERALL = "overall"


@dataclass(frozen=True)
class SliceReport:
    """The metrics of one slice.

    Attributes:
      name: `overall` or `FEATURE = VALUE`.
      rows: examples in it.
      left_out: metric -> examples without a value.
      metrics: metric -> mean; NaN when no example has a value.
      change: metric -> difference from the last blessed model; empty without one.
    """

    name: str
    rows: int
    left_out: dict[str, int]
    metrics: dict[str, float]
    change: dict[str, float]


@dataclass(frozen=True)
class EvaluationReport:
    """What Evaluator found.

    Attributes:
      blessed: whether the model may be pushed.
      overall: all examples.
      slices: by name.
      failures: a sentence for each threshold that was missed; empty when blessed.
    """

    blessed: bool
    overall: SliceReport
    slices: tuple[SliceReport, ...]
    failures: tuple[str, ...]


def read_report(evaluation_uri: str, blessing_uri: str) -> EvaluationReport:
    """Reads what Evaluator wrote.

    Args:
      evaluation_uri: of its `evaluation` artifact.
      blessing_uri: of its `blessing` artifact.

    Raises:
      FileNotFoundError: if there is no evaluation or no blessing, good or bad.
    """
    blessed = _blessed(blessing_uri)
    if not tf.io.gfile.glob(f"{evaluation_uri}/metrics*"):
        raise FileNotFoundError(f"{evaluation_uri}: holds no metrics; expected the evaluation of an Evaluator.")
    reports = sorted(map(_slice_report, tfma.load_metrics(evaluation_uri)), key=lambda report: report.name)
    overall = next(report for report in reports if report.name == _OVERALL)
    slices = tuple(report for report in reports if report is not overall)
    return EvaluationReport(blessed, overall, slices, tuple(_failures(evaluation_uri)))


def print_report(report: EvaluationReport, console: Console | None = None) -> None:
    """Prints a report: the verdict, every failure, and a table of slices.

    `left out` is the number of rows without a value, of the metric that leaves out most.

    Args:
      report: of `read_report`.
      console: where to; the standard output by default.
    """
    console = console or Console()
    if report.blessed:
        console.print("[bold green]Blessed:[/] every threshold is met.")
    else:
        console.print("[bold red]Not blessed:[/]")
        for failure in report.failures:
            console.print(f"  • {escape(failure)}", highlight=False)
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    table.add_column("slice", no_wrap=True, min_width=16)
    for name in ("rows", "left out", *report.overall.metrics):
        table.add_column(name, justify="right")
    for part in (report.overall, *report.slices):
        cells = []
        for name in report.overall.metrics:
            change = f" ({part.change[name]:+.4f})" if name in part.change else ""
            cells.append(f"{part.metrics[name]:.4f}{change}")
        left_out = str(max(part.left_out.values()))
        style = "bold" if part is report.overall else None
        table.add_row(escape(part.name.removeprefix("slice_")), str(part.rows), left_out, *cells, style=style)
    console.print(table)
    if report.overall.change:
        console.print("In brackets: the change from the last blessed model.", style="dim", highlight=False)


def _blessed(blessing_uri: str) -> bool:
    for name, verdict in ((constants.BLESSED_FILE_NAME, True), (constants.NOT_BLESSED_FILE_NAME, False)):
        if tf.io.gfile.exists(f"{blessing_uri}/{name}"):
            return verdict
    raise FileNotFoundError(
        f"{blessing_uri}: holds neither {constants.BLESSED_FILE_NAME} nor {constants.NOT_BLESSED_FILE_NAME}; "
        "expected the blessing of an Evaluator."
    )


def _slice_name(key: Any) -> str:
    parts = []
    for part in key.single_slice_keys:
        value = getattr(part, part.WhichOneof("kind"))
        parts.append(f"{part.column} = {value.decode() if isinstance(value, bytes) else value}")
    return ", ".join(parts) or _OVERALL


def _slice_report(slice_metrics: Any) -> SliceReport:
    rows, left_out, metrics, change = 0, {}, {}, {}
    for item in slice_metrics.metric_keys_and_values:
        key, value = item.key, item.value.double_value.value
        if key.model_name == tfma.BASELINE_KEY:
            continue
        name = key.name.removesuffix(LEFT_OUT)
        if key.is_diff:
            if name == key.name and name != _ROWS:
                change[name] = value
        elif key.name == _ROWS:
            rows = int(value)
        elif name != key.name:
            left_out[name] = int(value)
        else:
            metrics[name] = value
    order = sorted(metrics)
    return SliceReport(
        name=_slice_name(slice_metrics.slice_key),
        rows=rows,
        left_out={name: left_out[name] for name in order},
        metrics={name: metrics[name] for name in order},
        change={name: change[name] for name in order if name in change},
    )


def _failures(evaluation_uri: str) -> Iterator[str]:
    result = tfma.load_validation_result(evaluation_uri)
    for part in result.metric_validations_per_slice:
        for failure in part.failures:
            yield _failure(_slice_name(part.slice_key), failure)
    for spec in result.missing_slices:
        yield f"no example has {', '.join(spec.feature_keys) or 'anything'}; its threshold needs at least one."


def _failure(slice_name: str, failure: Any) -> str:
    where = "overall" if slice_name == _OVERALL else f"where {slice_name}"
    subject = f"{failure.metric_key.name} {where}"
    threshold = failure.metric_threshold
    if not failure.HasField("metric_value"):
        return f"{subject} was not computed."
    value = failure.metric_value.double_value.value
    if threshold.HasField("change_threshold"):
        change = threshold.change_threshold
        word = "more" if change.direction == tfma.MetricDirection.LOWER_IS_BETTER else "less"
        rule = f"at most {abs(change.absolute.value):.4f} {word} is allowed"
        fact = f"is {abs(value):.4f} {word} than the last blessed model's"
    else:
        bounds = threshold.value_threshold
        rule = f"at least {bounds.lower_bound.value:.4f} is needed"
        if bounds.HasField("upper_bound"):
            rule = f"at most {bounds.upper_bound.value:.4f} is allowed"
        fact = f"is {value:.4f}"
    if math.isnan(value):
        fact = "has no value (no example counts, or a score is NaN)"
    return f"{subject} {fact}; {rule}."
