"""Which of two interleaved rankers the users prefer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.stats import proportion

from models import features
from serving.experiment import answers, estimates
from serving.experiment import report as report_lib
from serving.experiment.errors import ExperimentError
from serving.experiment.experiment import Experiment
from serving.experiment.exposure import Exposure
from serving.experiment.interleaving import TEAMS
from serving.experiment.metrics import CLICK, PURCHASE
from serving.experiment.outcome import Outcome


@dataclass(frozen=True)
class Preference:
    """Which of two interleaved rankers the users prefer: "a", the control, or "b", the treatment.

    A user is for the ranker with more of the items that followed from the user's interleaved answers; users are
    counted, since the answers of one are not independent.

    Attributes:
      experiment: its name.
      credit: kind of outcomes that were counted: click or purchase.
      answers: interleaved ones that count.
      users: who had them.
      for_a, for_b, ties: users by whom they are for; those without any credit are ties.
      credits_a, credits_b: items that were credited.
      share_b: of the users who are for one of them, those for "b"; None without any.
      low, high: its interval (Wilson), if one looks once.
      p_value: of the sign test, exact, if one looks once; None without any user who is for one.
      sequential_low, sequential_high, sequential_p_value: of the mean over users of +1 (for "b"), 0 and -1 (for "a"),
        however often one looks; None without any user who is for one.
      notes: what does not count, and why.
    """

    experiment: str
    credit: str
    answers: int
    users: int
    for_a: int
    for_b: int
    ties: int
    credits_a: int
    credits_b: int
    share_b: float | None
    low: float | None
    high: float | None
    p_value: float | None
    sequential_low: float | None
    sequential_high: float | None
    sequential_p_value: float | None
    notes: tuple[str, ...]


def preference(
    experiment: Experiment,
    exposures: Iterable[Exposure],
    outcomes: Iterable[Outcome],
    until: float | None = None,
    credit: str = CLICK,
) -> Preference:
    """Which of two interleaved rankers the users prefer.

    Args:
      experiment: whose name, `start` and analysis hold.
      exposures: those of the experiment that have `teams` count, whatever their arm.
      outcomes: an item of an answer counts once, for the team that it is credited to there.
      until: seconds since 1970-01-01 UTC; what is later, or at that moment, does not count.
      credit: kind of outcomes that count: click or purchase.

    Raises:
      ExperimentError: for another `credit`.

    Source: Chapelle, Joachims, Radlinski and Yue, Large-Scale Validation and Analysis of Interleaved Search Evaluation,
    TOIS 2012.
    """
    if credit not in (CLICK, PURCHASE):
        raise ExperimentError(f"`credit` is {credit!r}; expected {CLICK} or {PURCHASE}.")
    found = answers.collect(
        experiment, exposures, outcomes, until, lambda one: "" if one.teams else "without `teams`", whole=True
    )
    shown = found.exposures
    done = found.outcomes[found.outcomes["kind"] == credit].drop_duplicates(["row", "item"])
    teams = [_team(shown["exposure"].iat[row], item) for row, item in zip(done["row"], done["item"], strict=True)]
    credited = pd.DataFrame({"row": done["row"].to_numpy(), "team": np.array(teams, object)})
    by_team = {team: credited.loc[credited["team"] == team, "row"].value_counts() for team in TEAMS}
    columns = {team: counts.reindex(shown.index, fill_value=0) for team, counts in by_team.items()}
    by_user = shown[[features.USER_ID]].assign(**columns).groupby(features.USER_ID)[list(TEAMS)].sum()
    signs = np.sign((by_user["b"] - by_user["a"]).to_numpy(float))
    for_a, for_b = int((signs < 0).sum()), int((signs > 0).sum())
    decided = for_a + for_b
    judged = report_lib.sequence(experiment)
    low, high = (None, None)
    if decided:
        low, high = map(float, proportion.proportion_confint(for_b, decided, judged.alpha, method="wilson"))
    # Spread around 0, where the mean is without a preference: around their own mean, users who all agree have none.
    error = float(np.sqrt(np.square(signs).mean() / len(signs))) if decided else 0.0
    sequential = estimates.sequential(float(signs.mean()) if decided else 0.0, error, len(signs), judged)
    strange = answers.not_counted({f"{credit}{{s}} without an item that the answer showed": teams.count(None)})
    return Preference(
        experiment.name,
        credit,
        len(shown),
        len(signs),
        for_a,
        for_b,
        len(signs) - decided,
        int(by_user["a"].sum()),
        int(by_user["b"].sum()),
        for_b / decided if decided else None,
        low,
        high,
        float(stats.binomtest(for_b, decided).pvalue) if decided else None,
        *sequential,
        found.notes + strange,
    )


def _team(exposure: Exposure, item: str) -> str | None:
    """The team of an item in an answer; None if it was not shown."""
    return dict(zip(exposure.item_ids, exposure.teams, strict=True)).get(item)
