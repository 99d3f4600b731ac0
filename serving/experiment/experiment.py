"""An A/B experiment over served models, and who takes part in which arm."""

from __future__ import annotations

import dataclasses
import functools
import pathlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from models import settings_reader
from serving.experiment import assignment, times
from serving.experiment.analysis import Analysis
from serving.experiment.arm import Arm
from serving.experiment.assignment import Place
from serving.experiment.errors import ExperimentError
from serving.experiment.holdout import HOLDOUT, Holdout


@dataclass(frozen=True)
class Experiment:
    """Which share of the users is asked of which model, decided by a salted hash of the user's id.

    An assignment needs no storage: the same id always falls into the same arm (sticky), arms get their shares of many
    ids (balanced), and another salt deals all of them anew (independent). Shares may grow while the experiment runs:
    `assignment.places` has why nobody then leaves a treatment. Do so by editing the shares and `start`, which begins
    the count anew: users met under other shares must not be mixed in (Simpson's paradox). Arms keep their order; one
    that ends keeps its entry with share 0. A second treatment may join later; a third and further ones move the places
    of others, so that a new salt, which deals everybody anew, is the honest way to add them.

    Attributes:
      name: in the logs.
      salt: of the hash.
      control: name of the arm that the others are compared with.
      arms: control and treatments; their shares sum to 1.
      start: ISO date or time, UTC where it names no zone; before it everybody is asked as control, and nothing counts.
      holdout: users that are left alone.
      analysis: how it is judged.

    Raises:
      ValueError: when the parts do not fit together.

    Example:
      >>> experiment = Experiment(
      ...     "affinity", "affinity-1", "stable",
      ...     (Arm("stable", "ranker", 0.95, "stable"), Arm("canary", "ranker", 0.05, "canary")), "2024-06-03",
      ... )
      >>> experiment.arm("u000007").name
      'stable'
      >>> sum(experiment.arm(f"u{number}").name == "canary" for number in range(10_000))
      544
    """

    name: str
    salt: str
    control: str
    arms: tuple[Arm, ...]
    start: str
    holdout: Holdout = field(default_factory=Holdout)
    analysis: Analysis = field(default_factory=Analysis)

    def __post_init__(self) -> None:
        if not self.name or not self.salt:
            raise ValueError(f"`name` is {self.name!r} and `salt` {self.salt!r}; expected a text for each.")
        names = [arm.name for arm in self.arms]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"`arms` names {name!r} {names.count(name)} times; expected once.")
        if HOLDOUT in names:
            raise ValueError(f"`arms` names {HOLDOUT!r}, which those who are held out have; expected another name.")
        if self.control not in names:
            raise ValueError(f"`control` is {self.control!r}; expected one of the arms ({', '.join(names) or 'none'}).")
        if self.holdout.share and self.holdout.salt == self.salt:
            raise ValueError(
                f"`holdout.salt` is {self.salt!r}, which `salt` is too; expected another one, since who is held out "
                "would all come from the first treatment."
            )
        total = sum(arm.share for arm in self.arms)
        if abs(total - 1) > assignment.TOLERANCE:
            raise ValueError(f"the shares of `arms` sum to {total:g}; expected 1.")
        try:
            times.seconds(self.start)
        except ValueError as error:
            raise ValueError(f"`start`: {error}") from None
        assignment.places(self.treatments)

    @classmethod
    def read(cls, path: str | pathlib.Path) -> Experiment:
        """The experiment of a YAML file.

        Raises:
          ExperimentError: if it cannot be used; the sentence names the file and the key.
        """
        try:
            return settings_reader.read(cls, pathlib.Path(path))
        except settings_reader.SettingsError as error:
            raise ExperimentError(str(error)) from None

    @functools.cached_property
    def control_arm(self) -> Arm:
        """The arm that the others are compared with."""
        return next(arm for arm in self.arms if arm.name == self.control)

    @functools.cached_property
    def treatments(self) -> tuple[Arm, ...]:
        """The other arms, those that have ended included."""
        return tuple(arm for arm in self.arms if arm.name != self.control)

    @functools.cached_property
    def start_time(self) -> float:
        """`start` in seconds since 1970-01-01 UTC."""
        return times.seconds(self.start)

    @functools.cached_property
    def holdout_arm(self) -> Arm:
        """What those who are held out are asked: the same as control."""
        return dataclasses.replace(self.control_arm, name=HOLDOUT, share=self.holdout.share)

    @functools.cached_property
    def _places(self) -> Mapping[str, Place]:
        return assignment.places(self.treatments)

    def arm(self, user_id: str, session_id: str = "", time: float | None = None) -> Arm:
        """The arm of a user.

        Args:
          user_id: "" for a visitor, who is then known by the session.
          session_id: "" where there is none; a visitor without one gets control's arm, and an exposure without an id is
            not logged (`ExposureLog`).
          time: of the request, in seconds since 1970-01-01 UTC, so that `start` counts; without it, the experiment has
            started.

        Returns:
          One of `arms`, or `holdout_arm`.
        """
        unit = user_id or session_id
        if not unit or (time is not None and time < self.start_time):
            return self.control_arm
        if self.holdout.share:
            salt = self.holdout.salt or f"{self.salt}\0{HOLDOUT}"
            if assignment.position(salt, unit) < self.holdout.share:
                return self.holdout_arm
        position = assignment.position(self.salt, unit)
        for arm in self.treatments:
            place = self._places[arm.name]
            if place.low <= position < place.high:
                return arm
        return self.control_arm
