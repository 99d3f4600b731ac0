"""What decides about a canary by itself."""

from __future__ import annotations

from dataclasses import dataclass, field

from models.options import number
from serving.release.selector import Selector


@dataclass(frozen=True)
class ArmMetrics:
    """Where Prometheus' metrics of stable, or of the canary, are found.

    Attributes:
      pages: URLs of all that count its requests: gateways, or servers of its own; none to look at no metrics.
      requests: counter of its requests, as a selector, such as gateway_answers_total{arm="canary"}.
      errors: counter of those among them that failed.
      latency: histogram (or summary) of how long they took, in any unit; "" to look at no latency.

    Raises:
      ValueError: for what is no selector, or pages without selectors.
    """

    pages: tuple[str, ...] = ()
    requests: str = ""
    errors: str = ""
    latency: str = ""

    def __post_init__(self) -> None:
        for text in filter(None, (self.requests, self.errors, self.latency)):
            Selector.parse(text)
        if self.pages and not (self.requests and self.errors):
            raise ValueError("`pages` are given without `requests` or `errors`; expected a selector for both.")


@dataclass(frozen=True)
class WatchSettings:
    """What decides about a canary by itself.

    Attributes:
      stable, canary: their metrics; without them, errors and latency decide nothing.
      every_seconds: between looks at the servers and the metrics.
      least_requests: of each of the two, since the watch began, before errors and latency decide.
      max_more_errors: share of the canary's requests that may fail beyond stable's share.
      alpha: probability of ever rolling back a canary that fails no more than that.
      max_latency_ratio: of the canary's mean latency to stable's.
      exposures, outcomes: logs of the experiment (`serving.experiment`); without them it decides nothing, and nothing
        is promoted.
      experiment_seconds: between looks at them.

    Raises:
      ValueError: when the parts do not fit together.
    """

    stable: ArmMetrics = field(default_factory=ArmMetrics)
    canary: ArmMetrics = field(default_factory=ArmMetrics)
    every_seconds: float = number(30.0, 0.01, 86400)
    least_requests: int = number(200, 1, 1e9)
    max_more_errors: float = number(0.01, 0, 1)
    alpha: float = number(0.01, 1e-6, 0.5)
    max_latency_ratio: float = number(1.5, 1, 1000)
    exposures: str = ""
    outcomes: str = ""
    experiment_seconds: float = number(600.0, 0.01, 1e6)

    def __post_init__(self) -> None:
        if bool(self.stable.pages) != bool(self.canary.pages):
            raise ValueError("`watch` has metrics of one of stable and canary; expected those of both.")
        if bool(self.stable.latency) != bool(self.canary.latency):
            raise ValueError("`watch` has the latency of one of stable and canary; expected that of both.")
        if bool(self.exposures) != bool(self.outcomes):
            raise ValueError("`watch` has one of `exposures` and `outcomes`; expected both.")
