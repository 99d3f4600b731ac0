"""Whether a treatment is to be promoted, rolled back or waited for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from serving.experiment import estimates
from serving.experiment import report as report_lib
from serving.experiment.errors import ExperimentError
from serving.experiment.experiment import Experiment
from serving.experiment.exposure import Exposure
from serving.experiment.outcome import Outcome
from serving.experiment.report import Report

PROMOTE, ROLLBACK, WAIT = "promote", "rollback", "wait"


@dataclass(frozen=True)
class Evidence:
    """What a metric of a treatment says against what it may lose.

    Attributes:
      value: the treatment's less (1 - margin) times control's: below 0, it loses more than it may.
      low, high: its sequential interval; None without variance to tell it from.
      margin: share of control's value that may be lost.
    """

    value: float
    low: float | None
    high: float | None
    margin: float


@dataclass(frozen=True)
class Decision:
    """What is to become of a treatment.

    Attributes:
      action: promote, rollback or wait.
      reason: one sentence, with the numbers that decided.
      arm: the treatment.
      users: of each arm, by name.
      days: that the experiment has run.
      mismatch_p_value: of the arms' numbers of users.
      evidence: by metric, of the primary one and the guardrails.
    """

    action: str
    reason: str
    arm: str
    users: Mapping[str, int]
    days: float
    mismatch_p_value: float | None
    evidence: Mapping[str, Evidence]


def decide(
    experiment: Experiment,
    exposures: Iterable[Exposure],
    outcomes: Iterable[Outcome],
    until: float | None = None,
    arm: str = "",
) -> Decision:
    """Whether a treatment is to be promoted, rolled back or waited for; may be asked as often as one likes.

    Args:
      experiment: what is compared, and how (`Analysis`).
      exposures: of any experiments, in any order.
      outcomes: of anybody, in any order.
      until: seconds since 1970-01-01 UTC; what is later, or at that moment, does not count.
      arm: name of the treatment; may be left out where there is one.

    Raises:
      ExperimentError: if `arm` is no treatment.
    """
    return judge(experiment, report_lib.report(experiment, exposures, outcomes, until), arm)


def judge(experiment: Experiment, report: Report, arm: str = "") -> Decision:
    """The decision that follows from a report.

    The first that holds: a sample-ratio mismatch waits for somebody to look; too few users wait; a guardrail or the
    primary metric whose interval lies below what may be lost rolls back; a primary metric whose interval lies above it
    promotes, once `least_days` are over; everything else waits.

    Raises:
      ExperimentError: if `arm` is no treatment.
    """
    names = [one.name for one in experiment.treatments]
    if not arm and len(names) == 1:
        arm = names[0]
    if arm not in names:
        raise ExperimentError(f"the arm to decide on is {arm!r}; expected one of {', '.join(names) or 'none'}.")
    analysis, ratio = experiment.analysis, report.sample_ratio
    users = {name: ratio.observed.get(name, 0) for name in (experiment.control, arm)}
    evidence: dict[str, Evidence] = {}

    def decision(action: str, reason: str) -> Decision:
        return Decision(action, reason, arm, users, report.days, ratio.p_value, evidence)

    if min(users.values()) > 1:
        for metric, margin in {analysis.primary: analysis.margin, **analysis.guardrails}.items():
            evidence[metric] = _evidence(experiment, report, arm, metric, margin)
    if ratio.alarm:
        return decision(
            WAIT,
            f"the arms' numbers of users do not fit their shares (p = {ratio.p_value:.2g}), so that nothing else is to "
            "be believed until the reason is found.",
        )
    for name, number in users.items():
        if number < analysis.least_users:
            have = f"{number:,} user{'' if number == 1 else 's'}"
            return decision(WAIT, f"{name} has {have}; expected at least {analysis.least_users:,}.")
    for metric, found in evidence.items():
        if found.high is not None and found.high < 0:
            return decision(ROLLBACK, f"{metric} of {arm} loses more than {found.margin:.1%}: {_said(found)}.")
    primary = evidence[analysis.primary]
    if primary.low is not None and primary.low > 0:
        if report.days < analysis.least_days:
            return decision(
                WAIT,
                f"{analysis.primary} of {arm} is good enough ({_said(primary)}), but only {report.days:.1f} days are "
                f"over; expected at least {analysis.least_days:g}.",
            )
        what = f"loses less than {primary.margin:.1%}" if primary.margin else "is better"
        return decision(PROMOTE, f"{analysis.primary} of {arm} {what}: {_said(primary)}.")
    total = sum(users.values())
    if total >= analysis.planned_users:
        return decision(
            WAIT,
            f"{analysis.primary} of {arm} shows nothing yet ({_said(primary)}), with {total:,} users where "
            f"{analysis.planned_users:,} were planned; more may not tell either.",
        )
    return decision(WAIT, f"{analysis.primary} of {arm} shows nothing yet ({_said(primary)}).")


def _evidence(experiment: Experiment, report: Report, arm: str, metric: str, margin: float) -> Evidence:
    treatment, control = report.arms[arm][metric], report.arms[experiment.control][metric]
    value = treatment.value - (1 - margin) * control.value
    error = estimates.standard_error(treatment, control, 1 - margin)
    found = estimates.sequential(value, error, treatment.users + control.users, report_lib.sequence(experiment))
    return Evidence(value, found.low, found.high, margin)


def _said(found: Evidence) -> str:
    if found.low is None:
        return "no variance to tell from"
    against = f" against {1 - found.margin:.1%} of control" if found.margin else ""
    return f"difference{against} {found.value:+.4g}, sequential interval {found.low:+.4g} to {found.high:+.4g}"
