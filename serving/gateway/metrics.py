"""What the gateway counts and measures, named as Prometheus wants it; `METRICS` has all of it.

Beside these, /metrics has the `process_*` metrics of prometheus-client (memory, open files, time of the processor).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

COUNTER, GAUGE, HISTOGRAM = "counter", "gauge", "histogram"
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


@dataclass(frozen=True, eq=False)
class Metric:
    """One metric.

    Attributes:
      name: of its series, and of a histogram what stands before `_bucket` and the like (`series`).
      kind: counter, gauge or histogram.
      help: what it says.
      labels: names of its labels.
      buckets: upper limits of a histogram; () for those of scores, which are a setting (`score_buckets`).
    """

    name: str
    kind: str
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = field(default=_SECONDS, repr=False)

    @property
    def series(self) -> tuple[str, ...]:
        """Names that a query may have. A histogram that may have values below 0 has no sum: it might fall."""
        if self.kind == HISTOGRAM:
            parts = ("bucket", "sum", "count") if self.buckets else ("bucket", "count")
            return tuple(f"{self.name}_{part}" for part in parts)
        return (self.name,)


REQUESTS = Metric(
    "gateway_requests_total", COUNTER, "Requests by route and status of HTTP, refused ones too.", ("route", "status")
)
REQUEST_DURATION = Metric(
    "gateway_request_duration_seconds", HISTOGRAM, "From the head of a request to the end of its answer.", ("route",)
)
IN_PROGRESS = Metric("gateway_requests_in_progress", GAUGE, "Requests of /v1 that are being answered.")
RATE_LIMITED = Metric("gateway_rate_limited_total", COUNTER, "Requests beyond the rate of their token.", ("token",))

ANSWERS = Metric(
    "gateway_answers_total",
    COUNTER,
    "Answers of recommend and search, by arm of the experiment and by source: model, control in its place, rules (a "
    "list for new users), fallback.",
    ("arm", "source"),
)
FALLBACKS = Metric(
    "gateway_fallbacks_total",
    COUNTER,
    "Answers in place of those of the arm's model: new_user, control, model_timeout, model_unavailable, model_refused.",
    ("reason",),
)
EMPTY_ANSWERS = Metric("gateway_empty_answers_total", COUNTER, "Answers without an item.", ("route",))
HISTORY_MISSING = Metric(
    "gateway_history_missing_total", COUNTER, "Answers for a known user whose history the store did not give in time."
)
POPULAR_ITEMS = Metric(
    "gateway_popular_items", GAUGE, "Items to answer with when the model does not; 0 is no fallback."
)

MODEL_DURATION = Metric(
    "gateway_model_duration_seconds",
    HISTOGRAM,
    "Calls of the model server, by what is asked for (as gateway_model_version) and signature.",
    ("model", "label", "signature"),
)
MODEL_ERRORS = Metric(
    "gateway_model_errors_total", COUNTER, "Failed calls of the model server by gRPC's code.", ("model", "code")
)
MODEL_VERSION = Metric(
    "gateway_model_version",
    GAUGE,
    "Version that answers, by what is asked for: a label, a number, or newest.",
    ("model", "label"),
)
MODEL_TIMESTAMP = Metric(
    "gateway_model_version_timestamp_seconds",
    GAUGE,
    "When that version was pushed: its number where it is a time, as Pusher has it, else when it was first seen.",
    ("model", "label"),
)
SCORE = Metric("gateway_score", HISTOGRAM, "The model's scores of the items in answers.", ("model", "label"), ())

ITEMS_RANKED = Metric("gateway_items_ranked_total", COUNTER, "Items that rules were given to choose from.")
ITEMS_REJECTED = Metric("gateway_items_rejected_total", COUNTER, "Items among them that a rule took out.", ("rule",))
RULES_FIRED = Metric(
    "gateway_rules_fired_total", COUNTER, "Answers in which a rule made a difference.", ("rule", "kind")
)

STORE_DURATION = Metric("gateway_store_duration_seconds", HISTOGRAM, "Calls of the store of shoppers.", ("operation",))
STORE_ERRORS = Metric(
    "gateway_store_errors_total", COUNTER, "Calls of the store that failed or took too long.", ("operation",)
)
EVENTS = Metric(
    "gateway_events_total",
    COUNTER,
    "Events that came: stored ones, and skipped ones, which are no history (impressions, those of visitors).",
    ("result",),
)
EXPOSURES = Metric("gateway_exposures_total", COUNTER, "Exposures for the log: written or dropped.", ("result",))
OUTCOMES = Metric("gateway_outcomes_total", COUNTER, "Outcomes for the log: written or dropped.", ("result",))
DEPENDENCY_UP = Metric(
    "gateway_dependency_up",
    GAUGE,
    "Whether the model server, or the store, answered when last looked at.",
    ("dependency",),
)

METRICS: tuple[Metric, ...] = (
    REQUESTS,
    REQUEST_DURATION,
    IN_PROGRESS,
    RATE_LIMITED,
    ANSWERS,
    FALLBACKS,
    EMPTY_ANSWERS,
    HISTORY_MISSING,
    POPULAR_ITEMS,
    MODEL_DURATION,
    MODEL_ERRORS,
    MODEL_VERSION,
    MODEL_TIMESTAMP,
    SCORE,
    ITEMS_RANKED,
    ITEMS_REJECTED,
    RULES_FIRED,
    STORE_DURATION,
    STORE_ERRORS,
    EVENTS,
    EXPOSURES,
    OUTCOMES,
    DEPENDENCY_UP,
)

_KINDS: dict[str, Any] = {COUNTER: Counter, GAUGE: Gauge, HISTOGRAM: Histogram}


class Metrics:
    """The metrics of one gateway, in a registry of their own.

    Args:
      score_buckets: upper limits of the scores' histogram, rising.
    """

    def __init__(self, score_buckets: Sequence[float]) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._made: dict[Metric, Any] = {}
        for metric in METRICS:
            more = {"buckets": metric.buckets or tuple(score_buckets)} if metric.kind == HISTOGRAM else {}
            self._made[metric] = _KINDS[metric.kind](
                metric.name, metric.help, metric.labels, registry=self._registry, **more
            )

    def add(self, metric: Metric, *labels: str, amount: float = 1) -> None:
        """Raises a counter, or a gauge, by an amount."""
        self._series(metric, labels).inc(amount)

    def set(self, metric: Metric, value: float, *labels: str) -> None:
        """Sets a gauge."""
        self._series(metric, labels).set(value)

    def remove(self, metric: Metric, *labels: str) -> None:
        """Takes back what was said of something that is no longer there."""
        self._made[metric].remove(*labels)

    def observe(self, metric: Metric, value: float, *labels: str) -> None:
        """Counts a value in a histogram."""
        self._series(metric, labels).observe(value)

    def value(self, series: str, **labels: str) -> float | None:
        """What a series says now; None if it says nothing yet."""
        return self._registry.get_sample_value(series, labels)

    def text(self) -> bytes:
        """The page that Prometheus reads."""
        return generate_latest(self._registry)

    def _series(self, metric: Metric, labels: tuple[str, ...]) -> Any:
        made = self._made[metric]
        return made.labels(*labels) if labels else made
