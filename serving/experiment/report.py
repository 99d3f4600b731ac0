"""What an experiment has shown so far."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from scipy import stats

from serving.experiment import estimates
from serving.experiment.confidence_sequence import ConfidenceSequence
from serving.experiment.estimates import Difference, Estimate
from serving.experiment.experiment import Experiment
from serving.experiment.exposure import Exposure
from serving.experiment.holdout import HOLDOUT
from serving.experiment.metrics import METRICS
from serving.experiment.observations import Observations, observe
from serving.experiment.outcome import Outcome

#: Below this p-value of the arms' numbers of users, nothing else in a report is to be believed.
MISMATCH_ALARM = 0.001
#: Users that each arm should have at least, for the chi-square test to be made.
_LEAST_EXPECTED = 5


@dataclass(frozen=True)
class SampleRatio:
    """Whether the arms have the users that their shares say (chi-square test).

    A mismatch means that users are lost on the way in one arm more than in another, or assigned otherwise, so that the
    arms' users differ in more than what they were shown.

    Attributes:
      expected, observed: users by arm.
      p_value: None with too few users to say.
      alarm: below .001, so low because the test is one of a single look, and reports are asked for many times.

    Source: Fabijan et al., Diagnosing Sample Ratio Mismatch in Online Controlled Experiments, KDD 2019.
    """

    expected: Mapping[str, float]
    observed: Mapping[str, int]
    p_value: float | None
    alarm: bool


@dataclass(frozen=True)
class Report:
    """What an experiment has shown so far.

    Attributes:
      experiment: its name.
      days: that it has run.
      alpha: of each treatment's intervals; what the experiment's treatments share out.
      sample_ratio: whether the arms have the users that they should.
      arms: name -> metric -> estimate, of arms with users.
      differences: treatment -> metric -> difference to control, where both have two users and more.
      notes: what does not count, and why.
    """

    experiment: str
    days: float
    alpha: float
    sample_ratio: SampleRatio
    arms: Mapping[str, Mapping[str, Estimate]]
    differences: Mapping[str, Mapping[str, Difference]]
    notes: tuple[str, ...]


def report(
    experiment: Experiment,
    exposures: Iterable[Exposure],
    outcomes: Iterable[Outcome],
    until: float | None = None,
) -> Report:
    """What an experiment has shown so far.

    Args:
      experiment: what is compared, and how.
      exposures: of any experiments, in any order.
      outcomes: of anybody, in any order.
      until: seconds since 1970-01-01 UTC; what is later, or at that moment, does not count.
    """
    return compare(experiment, observe(experiment, exposures, outcomes, until))


def sequence(experiment: Experiment) -> ConfidenceSequence:
    """How each treatment's differences are judged: alpha is shared out evenly (Bonferroni)."""
    compared = sum(arm.share > 0 for arm in experiment.treatments)
    return ConfidenceSequence(experiment.analysis.alpha / max(compared, 1), experiment.analysis.planned_users)


def compare(experiment: Experiment, observations: Observations) -> Report:
    """The report on what the users of each arm did."""
    judged = sequence(experiment)
    groups = dict(list(observations.users.groupby("arm", sort=False)))
    order = [arm.name for arm in experiment.arms] + [HOLDOUT]
    arms = {name: estimates.describe(groups[name], judged.alpha) for name in order if name in groups}
    differences = {}
    control = groups.get(experiment.control, ())
    for arm in experiment.treatments:
        users = groups.get(arm.name, ())
        if min(len(users), len(control)) > 1:
            differences[arm.name] = {
                metric: estimates.difference(
                    metric, estimates.user_values(users, metric), estimates.user_values(control, metric), judged
                )
                for metric in METRICS
            }
    counts = {arm.name: len(groups.get(arm.name, ())) for arm in experiment.arms}
    shares = {arm.name: arm.share for arm in experiment.arms}
    return Report(
        experiment.name,
        observations.days,
        judged.alpha,
        sample_ratio(shares, counts),
        arms,
        differences,
        observations.notes,
    )


def sample_ratio(shares: Mapping[str, float], users: Mapping[str, int]) -> SampleRatio:
    """Whether the arms have the users that their shares say.

    Args:
      shares: of each arm, summing to 1; arms without one are left out.
      users: that each arm has.
    """
    names = [name for name, share in shares.items() if share > 0]
    observed = np.array([users[name] for name in names])
    expected = np.array([shares[name] for name in names])
    expected = expected / expected.sum() * observed.sum()
    p_value = None
    if len(names) > 1 and expected.min() >= _LEAST_EXPECTED:
        p_value = float(stats.chisquare(observed, expected).pvalue)
    return SampleRatio(
        dict(zip(names, expected.tolist(), strict=True)),
        dict(zip(names, observed.tolist(), strict=True)),
        p_value,
        p_value is not None and p_value < MISMATCH_ALARM,
    )
