"""The answers of an experiment as a table, and which of them an outcome follows from."""

from __future__ import annotations

import collections
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from models import features
from serving.experiment.experiment import Experiment
from serving.experiment.exposure import Exposure
from serving.experiment.outcome import Outcome

_USER = features.USER_ID


@dataclass(frozen=True)
class Answers:
    """Exposures that count, and the outcomes that follow from them.

    Attributes:
      exposures: a row for each answer, oldest first: time, arm, user_id, request_id, and exposure, the record itself
        where it was asked for.
      outcomes: a row for each outcome that is attributed: kind, item, revenue, and row, the number of its answer.
      notes: what does not count, and why, a sentence for each reason.
    """

    exposures: pd.DataFrame
    outcomes: pd.DataFrame
    notes: tuple[str, ...]


def collect(
    experiment: Experiment,
    exposures: Iterable[Exposure],
    outcomes: Iterable[Outcome],
    until: float | None,
    unfit: Callable[[Exposure], str],
    whole: bool = False,
) -> Answers:
    """What counts in an experiment.

    Exposures count from `start` on. An outcome follows from the answer with its request id, or else from its user's
    latest answer at or before it; it counts if it came within `attribution_hours` after that answer. What was before a
    user's first answer has none, and does not count. Events have whole seconds, so what happened within the second of
    an answer counts as after it.

    Args:
      experiment: name, start and attribution.
      exposures: of any experiments, in any order.
      outcomes: of anybody, in any order.
      until: seconds since 1970-01-01 UTC; what is later, or at that moment, does not count; None for all.
      unfit: says why an exposure of the experiment does not count, such as "without teams"; "" where it does.
      whole: keep the exposures' records, where items or propensities are needed.
    """
    passed: collections.Counter[str] = collections.Counter()
    end = math.inf if until is None else until
    rows: list[tuple[float, str, str, str, Exposure | None]] = []
    for one in exposures:
        if one.experiment != experiment.name:
            passed["exposure{s} of other experiments"] += 1
        elif not one.user_id:
            passed["exposure{s} without a user id"] += 1
        elif not experiment.start_time <= one.time < end:
            passed["exposure{s} before `start` or not before `until`"] += 1
        elif kind := unfit(one):
            passed[f"exposure{{s}} {kind}"] += 1
        else:
            rows.append((one.time, one.arm, one.user_id, one.request_id, one if whole else None))
    table = pd.DataFrame(rows, columns=["time", "arm", _USER, "request_id", "exposure"])
    table = table.astype({"time": np.float64}).sort_values("time", kind="stable", ignore_index=True)
    again = table["request_id"].duplicated()
    passed["exposure{s} with the request id of an earlier one"] += int(again.sum())
    table = table[~again].reset_index(drop=True)

    found = [(one.time, one.kind, one.user_id, one.request_id, one.item_id, one.revenue) for one in outcomes]
    done = pd.DataFrame(found, columns=["time", "kind", _USER, "request_id", "item", "revenue"])
    done = done.astype({"time": np.float64, "revenue": np.float64})
    late = done["time"] >= end
    twice = done.duplicated() & ~late
    passed["outcome{s} not before `until`"] += int(late.sum())
    passed["outcome{s} logged twice, word for word"] += int(twice.sum())
    done = done[~(late | twice)].sort_values("time", kind="stable", ignore_index=True)
    seconds = np.floor(table["time"].to_numpy())
    done["row"] = _rows(table.assign(time=seconds), done)
    delay = done["time"].to_numpy() - seconds[done["row"].to_numpy()] if len(table) else np.nan
    early, unknown = done["row"] < 0, ~_known(table, done)
    before = ~early & (delay < 0)
    over = ~early & (delay > experiment.analysis.attribution_seconds)
    passed["outcome{s} of a user or request without an answer that counts"] += int((early & unknown).sum())
    passed["outcome{s} before the answer or the user's first one"] += int(((early & ~unknown) | before).sum())
    hours = f"{experiment.analysis.attribution_hours:g}"
    passed[f"outcome{{s}} more than {hours} h after the answer"] += int(over.sum())
    done = done[~(early | before | over)].reset_index(drop=True)
    return Answers(table, done[["kind", "item", "revenue", "row"]], not_counted(passed))


def not_counted(numbers: Mapping[str, int]) -> tuple[str, ...]:
    """A note for each reason of which there is at least one; `{s}` in it is where the plural's ending goes."""
    return tuple(
        f"Not counted: {number:,} {reason.replace('{s}', '' if number == 1 else 's')}."
        for reason, number in numbers.items()
        if number
    )


def _rows(exposures: pd.DataFrame, outcomes: pd.DataFrame) -> np.ndarray:
    """The number of the answer that each outcome follows from, -1 for none; both tables are sorted by time."""
    rows = np.full(len(outcomes), -1)
    if not len(exposures):
        return rows
    named = (outcomes["request_id"] != "").to_numpy()
    rows[named] = pd.Index(exposures["request_id"]).get_indexer(outcomes.loc[named, "request_id"])
    latest = pd.merge_asof(
        outcomes.loc[~named, ["time", _USER]],
        exposures[["time", _USER]].assign(row=np.arange(len(exposures), dtype=np.float64)),
        on="time",
        by=_USER,
    )
    rows[~named] = latest["row"].fillna(-1).astype(np.int64)
    return rows


def _known(exposures: pd.DataFrame, outcomes: pd.DataFrame) -> pd.Series:
    """Whether an outcome without an answer is at least of a user who had one."""
    return outcomes[_USER].isin(exposures[_USER]) & (outcomes["request_id"] == "")
