"""What the commands print: tables for people, JSON for programs."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from serving.experiment.decision import Decision
from serving.experiment.metrics import METRICS
from serving.experiment.off_policy import OffPolicy
from serving.experiment.off_policy_estimators import Value
from serving.experiment.preference import Preference
from serving.experiment.report import Report

#: Columns of a table on anything that is narrower.
_WIDTH = 160


def to_json(content: Any) -> str:
    """One line; dataclasses as objects, what is no number as null."""

    def plain(value: Any) -> Any:
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
        if isinstance(value, dict):
            return {str(key): plain(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [plain(item) for item in value]
        return None if isinstance(value, float) and not math.isfinite(value) else value

    return json.dumps(plain(content), allow_nan=False)


def _console() -> Console:
    """Prints to the standard output, wide enough for the tables; brackets in names are no markup."""
    made = Console(highlight=False, markup=False, soft_wrap=True)
    made.width = max(made.width, _WIDTH)
    return made


def print_report(report: Report, decisions: Sequence[Decision]) -> None:
    """The arms, their differences to control, the sample ratio, what to do, and what does not count."""
    out, percent = _console(), f"{1 - report.alpha:.4g}"
    ratio = report.sample_ratio
    out.print(f"Experiment {report.experiment}, {report.days:.1f} days; intervals cover with probability {percent}.\n")
    arms = Table("arm", "users", "expected", *METRICS, box=None)
    for name, metrics in report.arms.items():
        cells = [f"{one.value:.4g} {_interval(one.low, one.high)}" for one in metrics.values()]
        expected = f"{ratio.expected[name]:,.0f}" if name in ratio.expected else ""
        arms.add_row(name, f"{metrics[METRICS[0]].users:,}", expected, *cells)
    out.print(arms, "")
    differences = Table(
        "treatment", "metric", "difference", "lift", "looked at once", "p", "at any time", "p", box=None
    )
    for name, found in report.differences.items():
        for metric, one in found.items():
            differences.add_row(
                name,
                metric,
                f"{one.value:+.4g}",
                "" if one.lift is None else f"{one.lift:+.1%}",
                _interval(one.low, one.high),
                _p(one.p_value),
                _interval(one.sequential_low, one.sequential_high),
                _p(one.sequential_p_value),
            )
    out.print(differences, "")
    if ratio.p_value is None:
        out.print("Sample ratio: too few users to say.")
    elif ratio.alarm:
        out.print(f"ALARM: the arms' numbers of users do not fit their shares (p = {ratio.p_value:.2g}).")
    else:
        out.print(f"Sample ratio: as the shares say (p = {ratio.p_value:.2g}).")
    for decision in decisions:
        out.print(f"{decision.arm}: {decision.action}; {decision.reason}")
    _notes(out, report.notes)


def print_preference(found: Preference) -> None:
    """What users prefer, and how sure that is."""
    out = _console()
    out.print(
        f"Experiment {found.experiment}, interleaved: {found.answers:,} answers to {found.users:,} users; by "
        f"{found.credit}s, {found.for_a:,} are for a (control), {found.for_b:,} for b (treatment), {found.ties:,} for "
        f"neither."
    )
    if found.share_b is not None:
        out.print(
            f"Share of b: {found.share_b:.4g} {_interval(found.low, found.high)}, looked at once p {_p(found.p_value)}"
        )
    out.print(
        f"Mean preference for b at any time: {_interval(found.sequential_low, found.sequential_high)}, "
        f"p {_p(found.sequential_p_value)}"
    )
    _notes(out, found.notes)


def print_off_policy(found: OffPolicy) -> None:
    """The policies' values, and how much the log says of them."""
    out = _console()
    out.print(
        f"Experiment {found.experiment}: {found.reward} of the first {found.positions} positions, {found.answers:,} "
        f"answers to {found.users:,} users.\n"
    )
    table = Table("estimate", "value", "interval", "gain on what was logged", "interval", box=None)
    rows: dict[str, Value | None] = {
        "logged": found.logged,
        "IPS": found.ips,
        "SNIPS": found.snips,
        "doubly robust": found.doubly_robust,
    }
    for name, one in rows.items():
        if one is not None:
            gain = ("", "") if name == "logged" else (f"{one.gain:+.4g}", _interval(one.gain_low, one.gain_high))
            table.add_row(name, f"{one.value:.4g}", _interval(one.low, one.high), *gain)
    out.print(table, "")
    out.print(f"Effective answers by position: {_listed(found.effective_sample_size, ',.0f')} of {found.answers:,}.")
    out.print(
        f"Mean weight by position (1 where the log has what the policy shows): {_listed(found.mean_weight, '.3f')}; "
        f"largest {found.largest_weight:.4g}; clipped {found.clipped:.2%}."
    )
    _notes(out, found.notes)


def _notes(out: Console, notes: Iterable[str]) -> None:
    for note in notes:
        out.print(note)


def _interval(low: float | None, high: float | None) -> str:
    if low is None or high is None or math.isnan(low):
        return "(no variance)"
    return f"({low:.4g} to {high:.4g})"


def _p(value: float | None) -> str:
    return "" if value is None else f"{value:.2g}"


def _listed(values: Iterable[float], form: str) -> str:
    return ", ".join(format(value, form) for value in values)
