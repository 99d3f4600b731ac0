"""How an experiment is judged."""

from __future__ import annotations

from dataclasses import dataclass, field

from models.options import RANGE, choice, number
from serving.experiment import times
from serving.experiment.metrics import CONVERSION, METRICS


@dataclass(frozen=True)
class Analysis:
    """The metric that decides, what must not suffer, and how sure one wants to be.

    Attributes:
      primary: metric of `metrics.METRICS` that a treatment is promoted by.
      margin: share of control's value that a treatment may lose and still be promoted; 0 wants it to be better.
      guardrails: other metrics -> share of control's value past which a loss rolls a treatment back.
      alpha: probability of being wrong once, over all looks at a metric; treatments share it out evenly.
      planned_users: of a treatment and control together, where the sequential interval is tightest; `power` says how
        many. It holds for any other number too, and must not be chosen by what has been seen.
      least_users: of each arm before anything is concluded.
      least_days: since the first exposure before a treatment is promoted; a week has all its days in.
      attribution_hours: outcomes count until so long after the answer that they follow.

    Raises:
      ValueError: if a guardrail is no metric, or is the primary one.
    """

    primary: str = choice(*METRICS, default=CONVERSION)
    margin: float = number(0.0, 0, 0.99)
    guardrails: dict[str, float] = field(default_factory=dict, metadata={RANGE: (0, 0.99)})
    alpha: float = number(0.05, 1e-6, 0.5)
    planned_users: int = number(20_000, 2, 1e12)
    least_users: int = number(100, 2, 1e12)
    least_days: float = number(7.0, 0, 1000)
    attribution_hours: float = number(24.0, 0.001, 1e5)

    def __post_init__(self) -> None:
        for metric in self.guardrails:
            if metric not in METRICS:
                raise ValueError(f"`analysis.guardrails` names {metric!r}; expected some of {', '.join(METRICS)}.")
        if self.primary in self.guardrails:
            raise ValueError(
                f"`analysis.guardrails` names {self.primary}, the primary metric; expected `analysis.margin` to say "
                "what it may lose."
            )

    @property
    def attribution_seconds(self) -> float:
        """`attribution_hours` in seconds."""
        return self.attribution_hours * times.HOUR
