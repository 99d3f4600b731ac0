"""How many users an experiment needs."""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy import stats
from statsmodels.stats.power import NormalIndPower
from statsmodels.stats.proportion import proportion_effectsize

from serving.experiment.confidence_sequence import ConfidenceSequence
from serving.experiment.errors import ExperimentError


@dataclass(frozen=True)
class Power:
    """How many users an experiment needs to see an effect, rounded up.

    Attributes:
      control, treatment: users of each arm, if one looks once, when all of them are there.
      planned_users: of both together.
      sequential_control, sequential_treatment, sequential_planned_users: the same for somebody who looks every day; an
        upper bound, and with an effect as large as planned most experiments end earlier.
    """

    control: int
    treatment: int
    planned_users: int
    sequential_control: int
    sequential_treatment: int
    sequential_planned_users: int


def users_needed(
    baseline: float,
    lift: float,
    power: float = 0.8,
    alpha: float = 0.05,
    share: float = 0.5,
    deviation: float | None = None,
) -> Power:
    """How many users are needed to see an effect with a given probability.

    The sequential number is that at which the interval that holds at every look, planned for it, is narrow enough: its
    width there depends on alpha alone, so the fixed number grows by ((width + z_power) / (z_alpha/2 + z_power))², by
    1.91 for the defaults.

    Args:
      baseline: control's conversion, or with `deviation` its mean of any other metric.
      lift: the effect as a share of the baseline; a loss is negative.
      power: probability of seeing it.
      alpha: of seeing one that is not there (two-sided).
      share: of the users of both arms, the treatment's.
      deviation: standard deviation of users' values; without it, the metric is a share of the users.

    Raises:
      ExperimentError: for a number outside its bounds.
    """
    changed = baseline * (1 + lift)
    for name, value in (("power", power), ("alpha", alpha), ("share", share)):
        if not 0 < value < 1:
            raise ExperimentError(f"`{name}` is {value:g}; expected between 0 and 1.")
    if power <= alpha:
        raise ExperimentError(f"`power` is {power:g} and `alpha` {alpha:g}; expected more than alpha.")
    if not (math.isfinite(baseline * lift) and baseline * lift):
        raise ExperimentError(f"`baseline` is {baseline:g} and `lift` {lift:g}; expected an effect other than 0.")
    if deviation is None:
        if not (0 < baseline < 1 and 0 < changed < 1):
            raise ExperimentError(
                f"`baseline` is {baseline:g}, with the lift {changed:g}; expected both between 0 and 1, or a deviation."
            )
        size = float(proportion_effectsize(changed, baseline))
    elif deviation > 0:
        size = (changed - baseline) / deviation
    else:
        raise ExperimentError(f"`deviation` is {deviation:g}; expected a number above 0.")
    # nobs1 is the treatment's, `ratio` what control has of it.
    ratio = (1 - share) / share
    treatment = float(NormalIndPower().solve_power(abs(size), power=power, alpha=alpha, ratio=ratio))
    asked = float(stats.norm.ppf(power))
    width = float(ConfidenceSequence(alpha, 1.0).width(1.0))
    factor = ((width + asked) / (float(stats.norm.isf(alpha / 2)) + asked)) ** 2
    once = (math.ceil(treatment * ratio), math.ceil(treatment))
    longer = (math.ceil(factor * treatment * ratio), math.ceil(factor * treatment))
    return Power(once[0], once[1], sum(once), longer[0], longer[1], sum(longer))
