"""What the users of each arm did: a row for each user."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import pandas as pd

from models import features
from serving.experiment import answers, times
from serving.experiment.experiment import Experiment
from serving.experiment.exposure import Exposure
from serving.experiment.holdout import HOLDOUT
from serving.experiment.metrics import CLICK, PURCHASE
from serving.experiment.outcome import Outcome


@dataclass(frozen=True)
class Observations:
    """What the users of each arm did.

    Attributes:
      users: a row for each: arm, answers (shown), clicked (answers with a click), bought (whether anything was),
        revenue.
      days: from the first answer that counts to the last.
      notes: what does not count, and why, a sentence for each reason.
    """

    users: pd.DataFrame
    days: float
    notes: tuple[str, ...]


def observe(
    experiment: Experiment,
    exposures: Iterable[Exposure],
    outcomes: Iterable[Outcome],
    until: float | None = None,
) -> Observations:
    """The users of an experiment; who was met in two arms, or in one that the experiment does not have, is left out.

    Args:
      experiment: whose `start`, arms and attribution hold (`answers.collect`).
      exposures: of any experiments, in any order.
      outcomes: of anybody, in any order.
      until: seconds since 1970-01-01 UTC; what is later, or at that moment, does not count.
    """
    found = answers.collect(
        experiment, exposures, outcomes, until, lambda one: "with two rankers interleaved" if one.teams else ""
    )
    shown, done = found.exposures, found.outcomes
    row = done["row"]
    shown = shown.assign(
        clicked=shown.index.isin(row[done["kind"] == CLICK]),
        bought=shown.index.isin(row[done["kind"] == PURCHASE]),
        revenue=done.groupby("row")["revenue"].sum().reindex(shown.index, fill_value=0.0),
    )
    by_user = shown.groupby(features.USER_ID, sort=False)
    users = by_user.agg(
        arm=("arm", "first"),
        arms=("arm", "nunique"),
        answers=("arm", "size"),
        clicked=("clicked", "sum"),
        bought=("bought", "any"),
        revenue=("revenue", "sum"),
    )
    compared = {arm.name for arm in experiment.arms if arm.share > 0} | {HOLDOUT}
    crossed = users["arms"] > 1
    strange = ~crossed & ~users["arm"].isin(compared)
    names = ", ".join(sorted(users.loc[strange, "arm"].unique()))
    notes = answers.not_counted(
        {
            "user{s} met in two arms; expected none while shares stay as they are (a change of shares needs a new "
            "`start`)": int(crossed.sum()),
            f"user{{s}} of arms without a share ({names})": int(strange.sum()),
        }
    )
    days = (shown["time"].iloc[-1] - shown["time"].iloc[0]) / times.DAY if len(shown) else 0.0
    return Observations(users[~(crossed | strange)].drop(columns="arms"), days, found.notes + notes)
