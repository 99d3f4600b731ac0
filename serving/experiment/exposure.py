"""One answer that a user of an experiment was shown."""

from __future__ import annotations

from dataclasses import dataclass

from serving.experiment import times
from serving.experiment.interleaving import TEAMS


@dataclass(frozen=True)
class Exposure:
    """One answer that a user of an experiment was shown.

    Attributes:
      time: in seconds since 1970-01-01 UTC, at least 0.
      experiment: its name.
      arm: name of the arm that answered.
      user_id: of the user, or the session of a visitor, as the caller pseudonymised it; "" for nobody, which is not
        logged.
      request_id: of the answer, unlike any other.
      item_ids: what was shown, best first.
      propensities: of each item, with what probability it was shown at its place; empty where that is not known.
      teams: of each item of an interleaved answer, the ranker it is credited to: "a", "b" or "" for neither.

    Raises:
      ValueError: when the parts do not fit together.
    """

    time: float
    experiment: str
    arm: str
    user_id: str
    request_id: str
    item_ids: tuple[str, ...] = ()
    propensities: tuple[float, ...] = ()
    teams: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        times.check(self.time)
        if not self.experiment or not self.arm or not self.request_id:
            raise ValueError("`experiment`, `arm` or `request_id` is empty; expected a text for each.")
        for name, values in (("propensities", self.propensities), ("teams", self.teams)):
            if values and len(values) != len(self.item_ids):
                raise ValueError(
                    f"`{name}` has {len(values)} values for {len(self.item_ids)} items; expected one each."
                )
        for propensity in self.propensities:
            if not 0 < propensity <= 1:
                raise ValueError(f"`propensities` holds {propensity}; expected above 0 and at most 1.")
        for team in self.teams:
            if team and team not in TEAMS:
                raise ValueError(f"`teams` holds {team!r}; expected {', '.join(TEAMS)} or nothing.")
