"""Metrics of an arm and their differences to control, with intervals."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from statsmodels.stats import proportion
from statsmodels.stats.weightstats import CompareMeans, DescrStatsW

from serving.experiment.confidence_sequence import ConfidenceSequence
from serving.experiment.metrics import CONVERSION, CTR, METRICS, REVENUE

#: A standard error of at most so much of the largest value is what rounding leaves of none.
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Estimate:
    """A metric of an arm.

    Attributes:
      value: of it.
      low, high: its interval, if one looks once; None without variance to tell it from.
      standard_error: of the value; 0 where all users are alike, NaN for one user.
      users: that it is of.
    """

    value: float
    low: float | None
    high: float | None
    standard_error: float
    users: int


@dataclass(frozen=True)
class Difference:
    """A metric of a treatment less that of control.

    Attributes:
      value: of it.
      lift: the same as a share of control's value; None where that is 0.
      low, high, p_value: if one looks once, at a number of users fixed beforehand (Agresti and Caffo for conversion,
        else Welch); None without variance to tell them from.
      sequential_low, sequential_high, sequential_p_value: however often one looks (`ConfidenceSequence`).
    """

    value: float
    lift: float | None
    low: float | None
    high: float | None
    p_value: float | None
    sequential_low: float | None
    sequential_high: float | None
    sequential_p_value: float | None


class Sequential(NamedTuple):
    """The interval and the p-value that hold however often one looks; None without variance to tell them from."""

    low: float | None
    high: float | None
    p_value: float | None


def user_values(users: pd.DataFrame, metric: str) -> np.ndarray:
    """One number for each user of an arm, whose mean is the arm's metric and whose spread is the metric's.

    The requests of a user are not independent, so users are what is counted. For a ratio of sums over users,
    R = Σy / Σx, the number is R + (y - R·x) / mean(x), the delta method: the standard error of its mean is that of R.

    Args:
      users: of one arm (`Observations.users`), at least one.
      metric: of `metrics.METRICS`.

    Source: Deng, Knoblich and Lu, Applying the Delta Method in Metric Analytics, KDD 2018.
    """
    if metric == CTR:
        clicked, answers = users["clicked"].to_numpy(float), users["answers"].to_numpy(float)
        ratio = clicked.sum() / answers.sum()
        return ratio + (clicked - ratio * answers) / answers.mean()
    column = {CONVERSION: "bought", REVENUE: "revenue"}[metric]
    return users[column].to_numpy(float)


def estimate(metric: str, values: np.ndarray, alpha: float) -> Estimate:
    """The mean of users' values with an interval of coverage 1 - alpha: Wilson's for conversion, else Student's."""
    users = len(values)
    if users < 2:
        return Estimate(float(values.mean()), None, None, math.nan, users)
    described = DescrStatsW(values, ddof=1)
    error = float(described.std_mean)
    if error <= _ROUNDING * np.abs(values).max():
        error = 0.0
    if metric == CONVERSION:
        low, high = proportion.proportion_confint(values.sum(), users, alpha, method="wilson")
    else:
        low, high = described.tconfint_mean(alpha) if error > 0 else (None, None)
    return Estimate(float(described.mean), _plain(low), _plain(high), error, users)


def difference(metric: str, treatment: np.ndarray, control: np.ndarray, sequence: ConfidenceSequence) -> Difference:
    """The difference of the means of users' values.

    Args:
      metric: that they are of.
      treatment, control: values of their users, at least two each.
      sequence: of the difference; its alpha is that of the other interval too.
    """
    alpha = sequence.alpha
    ours, theirs = (estimate(metric, values, alpha) for values in (treatment, control))
    value, error = ours.value - theirs.value, standard_error(ours, theirs)
    low = high = p_value = None
    if metric == CONVERSION:
        counts = (treatment.sum(), len(treatment), control.sum(), len(control))
        low, high = proportion.confint_proportions_2indep(*counts, method="agresti-caffo", alpha=alpha)
        with np.errstate(divide="ignore", invalid="ignore"):  # of ratios that nobody asked for
            p_value = proportion.test_proportions_2indep(*counts, method="agresti-caffo").pvalue
    elif error > 0:
        both = CompareMeans(DescrStatsW(treatment, ddof=1), DescrStatsW(control, ddof=1))
        low, high = both.tconfint_diff(alpha, usevar="unequal")
        p_value = both.ttest_ind(usevar="unequal")[1]
    return Difference(
        value,
        value / theirs.value if theirs.value else None,
        _plain(low),
        _plain(high),
        _plain(p_value),
        *sequential(value, error, len(treatment) + len(control), sequence),
    )


def standard_error(treatment: Estimate, control: Estimate, kept: float = 1.0) -> float:
    """Of the treatment's value less `kept` times control's, for `sequential`: of two estimates the larger.

    The one takes each arm's own variance, the other that of both arms pooled. Of a small arm's few users perhaps nobody
    has bought yet; by its own variance, 0, that would be certain to stay so. By the pooled one it is as uncertain as
    control's rate makes it. In arms of one size the two agree.

    Args:
      treatment, control: of two users and more each.
      kept: share of control's value that the treatment is held against.
    """
    own = math.hypot(treatment.standard_error, kept * control.standard_error)
    arms = (treatment, control)
    squares = sum((arm.users - 1) * arm.users * arm.standard_error**2 for arm in arms)
    pooled = squares / (treatment.users + control.users - 2)
    return max(own, math.sqrt(pooled * (1 / treatment.users + kept**2 / control.users)))


def sequential(value: float, standard_error: float, users: int, sequence: ConfidenceSequence) -> Sequential:
    """What holds of a value, after so many users, however often one looks."""
    if not standard_error > 0:
        return Sequential(None, None, None)
    half = float(sequence.width(float(users))) * standard_error
    return Sequential(value - half, value + half, float(sequence.p_value(value / standard_error, float(users))))


def describe(users: pd.DataFrame, alpha: float) -> dict[str, Estimate]:
    """Every metric of an arm's users, at least one."""
    return {metric: estimate(metric, user_values(users, metric), alpha) for metric in METRICS}


def _plain(value: float | None) -> float | None:
    return None if value is None else float(value)
