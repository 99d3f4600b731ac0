"""The share of the users who are asked of the canary, in the experiment's file."""

from __future__ import annotations

import pathlib
from typing import Any

import yaml

from models import settings_reader
from serving.experiment.arm import Arm
from serving.experiment.errors import ExperimentError
from serving.experiment.experiment import Experiment
from serving.release import clock, files
from serving.release.errors import ReleaseError
from serving.release.state import CANARY, STABLE

#: Shares have so many decimals.
DECIMALS = 9


class ExperimentFile:
    """Changes shares and `start` where they stand, so that all else of the file stays, comments too.

    Args:
      path: of the file.
      model: whose arms have the labels stable (control) and canary (one treatment).

    Raises:
      ReleaseError: of every method, if the file is no experiment, or has other arms.
    """

    def __init__(self, path: pathlib.Path, model: str) -> None:
        self.path = path
        self._model = model

    def read(self) -> Experiment:
        """The experiment."""
        try:
            return Experiment.read(self.path)
        except ExperimentError as error:
            raise ReleaseError(str(error)) from None

    def canary(self) -> Arm:
        """The arm of the canary."""
        return self._arms(self.read())[1]

    def set_share(self, share: float) -> None:
        """Gives the canary a share, control the rest, and lets the experiment start now.

        Args:
          share: from 0 to 1; other treatments keep theirs.
        """
        experiment = self.read()
        control, canary = self._arms(experiment)
        rest = 1 - share - sum(arm.share for arm in experiment.treatments if arm is not canary)
        if not 0 <= share <= 1 or round(rest, DECIMALS) < 0:
            raise ReleaseError(f"{self.path}: a share of {share:g} is not left for {canary.name!r}.")
        text = self.path.read_text(encoding="utf-8")
        wanted = {control.name: round(rest, DECIMALS) + 0.0, canary.name: round(share, DECIMALS)}
        text = _edited(text, wanted, clock.now())
        try:
            content: dict[str, Any] = yaml.safe_load(text)
            made: Experiment = settings_reader.build(Experiment, content, str(self.path))
        except (yaml.YAMLError, settings_reader.SettingsError) as error:
            raise ReleaseError(str(error) if isinstance(error, ValueError) else self._unfit()) from None
        if {arm.name: arm.share for arm in made.arms if arm.name in wanted} != wanted:
            raise ReleaseError(self._unfit())
        try:
            files.write_whole(self.path, text)
        except OSError as error:
            raise ReleaseError(f"{self.path}: cannot be written ({error.strerror}).") from None

    def _arms(self, experiment: Experiment) -> tuple[Arm, Arm]:
        control = experiment.control_arm
        canaries = [arm for arm in experiment.treatments if arm.model == self._model and arm.label == CANARY]
        if control.model != self._model or control.label != STABLE or len(canaries) != 1:
            raise ReleaseError(
                f"{self.path}: expected control with the label {STABLE} of `{self._model}`, and one treatment with its "
                f"label {CANARY}."
            )
        return control, canaries[0]

    def _unfit(self) -> str:
        return f"{self.path}: shares cannot be changed in place; expected `share` and `start` written out, once each."


def _decimal(share: float) -> str:
    """As YAML reads a number: 1e-06 would be a text."""
    text = f"{share:.{DECIMALS}f}".rstrip("0")
    return text + "0" if text.endswith(".") else text


def _edited(text: str, shares: dict[str, float], start: str) -> str:
    """The text with other numbers in the places of `share` of these arms, and of `start`."""
    root: Any = yaml.compose(text, yaml.SafeLoader)
    places: list[tuple[yaml.Node, str]] = []
    for key, value in root.value:
        if key.value == "start":
            places.append((value, start))
        if key.value == "arms":
            for arm in value.value:
                parts = {name.value: part for name, part in arm.value}
                if parts["name"].value in shares:
                    places.append((parts["share"], _decimal(shares[parts["name"].value])))
    for node, new in sorted(places, key=lambda place: -place[0].start_mark.index):
        text = text[: node.start_mark.index] + new + text[node.end_mark.index :]
    return text
