"""How often experiments on made-up traffic are right and wrong, looked at every day."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import stats

from serving.experiment.confidence_sequence import ConfidenceSequence
from serving.experiment.errors import ExperimentError
from serving.experiment.metrics import CONVERSION, CTR, METRICS, REVENUE
from serving.experiment.traffic import Traffic

#: What users did that a metric divides by what.
_RATIOS = {CTR: ("clicked", "answers"), CONVERSION: ("bought", "present"), REVENUE: ("revenue", "present")}
#: Users times days that are drawn at once, of all arms and runs; each takes some 60 bytes of memory meanwhile.
_AT_ONCE = 2_000_000


@dataclass(frozen=True)
class Rates:
    """In how many of the runs a metric differed at the level alpha.

    Attributes:
      sequential: by the always-valid p-value, on any day.
      fixed: by the ordinary test, at the end.
      peeking: by the ordinary test, on any day: what goes wrong without a sequential one.
      users_at_end: of both arms when the sequential test ended the run, or all of them; mean over runs.
    """

    sequential: int
    fixed: int
    peeking: int
    users_at_end: float


def simulate(traffic: Traffic, runs: int, seed: int, alpha: float = 0.05, least_users: int = 100) -> dict[str, Rates]:
    """Runs experiments and looks at each of them every day.

    Args:
      traffic: what users do; with a lift of 0 every difference found is a false positive.
      runs: experiments.
      seed: of what is drawn.
      alpha: of the tests.
      least_users: of each arm before one looks.

    Returns:
      metric -> how often it differed.

    Raises:
      ExperimentError: if there are too few users to look at all.
    """
    if traffic.users < least_users:
        raise ExperimentError(
            f"each arm of the simulation has {traffic.users} users; expected at least {least_users}, which a "
            "smaller effect needs."
        )
    rng = np.random.default_rng(seed)
    sequence = ConfidenceSequence(alpha, 2.0 * traffic.users)
    parts: dict[str, list[np.ndarray]] = {metric: [] for metric in METRICS}
    users_parts = []
    at_once = max(_AT_ONCE // (2 * traffic.users * traffic.days), 1)
    for start in range(0, runs, at_once):
        done = traffic.draw(min(at_once, runs - start), rng)
        users_parts.append(done["present"].sum(2))
        for metric, scores in daily_scores(done).items():
            parts[metric].append(scores)
    users = np.concatenate(users_parts)
    looked = users.min(1) >= least_users
    both = users.sum(1)
    rates = {}
    for metric in METRICS:
        z = np.where(looked, np.concatenate(parts[metric]), 0.0)
        fixed = 2 * stats.norm.sf(np.abs(z)) <= alpha
        ended = sequence.p_value(z, np.maximum(both, 1.0)) <= alpha
        day = np.where(ended.any(1), ended.argmax(1), traffic.days - 1)
        rates[metric] = Rates(
            int(ended.any(1).sum()),
            int(fixed[:, -1].sum()),
            int(fixed.any(1).sum()),
            float(both[np.arange(runs), day].mean()),
        )
    return rates


def daily_scores(done: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Differences over their standard errors at the end of every day, by metric.

    The same as `estimates.difference` has for single experiments (the delta method over users, and the larger of two
    standard errors), of all at once.

    Args:
      done: as `Traffic.draw` returns it.

    Returns:
      metric -> [runs, days]; 0 where there is no variance yet.
    """
    users = done["present"].sum(2)
    scores = {}
    for metric, (above, below) in _RATIOS.items():
        y, x = done[above], done[below]
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = y.sum(2) / x.sum(2)
            squares = np.square(y - ratio[:, :, np.newaxis] * x).sum(2)
            variance = squares / (users - 1) * np.square(users / x.sum(2))  # of users' values
            own = (variance / users).sum(1)
            pooled = ((users - 1) * variance).sum(1) / (users.sum(1) - 2) * (1 / users).sum(1)
            z = (ratio[:, 1] - ratio[:, 0]) / np.sqrt(np.maximum(own, pooled))
        scores[metric] = np.where(np.isfinite(z), z, 0.0)
    return scores
