"""The steps from one state to another, on the servers and in the files."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Iterable, Mapping

from serving.release import placement
from serving.release.config_file import ConfigFile
from serving.release.errors import ReleaseError
from serving.release.experiment_file import ExperimentFile
from serving.release.fleet import Fleet, read_token
from serving.release.saved_model import SavedModel
from serving.release.settings import RPC, ReleaseSettings
from serving.release.state import CANARY, STABLE, State


class Transition:
    """Knows how to load versions, move labels and shares, and unload versions; each step may be made again.

    A label may only name a version that a server has loaded. So versions are first loaded beside those that serve, on
    every server, and then labels move, on each server in one step.

    Args:
      settings: of the model.
      say: takes a line about each step.
    """

    def __init__(self, settings: ReleaseSettings, say: Callable[[str], None]) -> None:
        self._settings = settings
        self._folder = pathlib.Path(settings.folder)
        self._say = say
        self.config = ConfigFile(pathlib.Path(settings.config_file), settings.model, settings.served_path)
        self.experiment = (
            ExperimentFile(pathlib.Path(settings.experiment), settings.model) if settings.experiment else None
        )

    def fleet(self) -> Fleet:
        """Connections to all servers.

        Raises:
          ReleaseError: for addresses or a token that cannot be used.
        """
        settings = self._settings
        return Fleet(settings.servers, settings.model, settings.tls.tls(), read_token(settings.token_file))

    def state(self) -> State:
        """What the files on the disk say that serves.

        Raises:
          ReleaseError: if they cannot be read.
        """
        labels = self._labels()
        stable = labels.get(STABLE, 0)
        share = self.experiment.canary().share if self.experiment else 0.0
        return State(stable, labels.get(CANARY, stable), share)

    def load(self, fleet: Fleet, after: State) -> None:
        """Loads what is needed beside what serves.

        Raises:
          ReleaseError: for a version that is not there, or that a server could not load; `revert` undoes the rest.
        """
        needed = self._needed(after)
        loaded = self._loaded(fleet)
        staged = placement.versions(self._folder)
        for number in sorted(needed - loaded):
            if number not in staged:
                raise ReleaseError(f"{self._folder}: has no version {number}; expected it to be staged.")
            SavedModel.read(staged[number])
            self._say(f"loading version {number}")
        self._tell(fleet, needed | loaded, self._labels())
        fleet.wait_available(needed, self._settings.load_seconds)

    def revert(self, fleet: Fleet) -> None:
        """Takes back what `load` did: only what labels name is served, if they name anything."""
        labels = self._labels()
        if labels:
            self._tell(fleet, labels.values(), labels)

    def is_labelled(self, after: State) -> bool:
        """Whether the configuration has the labels."""
        labels = self._labels()
        return (labels.get(STABLE), labels.get(CANARY)) == (after.stable, after.canary)

    def label(self, fleet: Fleet, after: State) -> None:
        """Moves the labels."""
        labels = {**self._labels(), STABLE: after.stable, CANARY: after.canary}
        self._say(f"labels: stable {after.stable}, canary {after.canary}")
        self._tell(fleet, self._needed(after) | self._loaded(fleet), labels)
        fleet.wait_labelled(labels, self._settings.load_seconds)

    def share(self, before: State, after: State) -> None:
        """Shares users out; the experiment starts anew when the canary is another one, too."""
        if not self.experiment:
            return
        is_other = after.has_canary and after.canary != before.canary
        if is_other or self.experiment.canary().share != after.share:
            self.experiment.set_share(after.share)
            self._say(f"share of the canary: {after.share:g}")

    def unneeded(self) -> set[int]:
        """Versions that are loaded and that no label names."""
        entry = self.config.entry()
        return set(entry.versions) - set(entry.labels.values()) if entry else set()

    def unload(self, fleet: Fleet) -> None:
        """Unloads them."""
        labels, unneeded = self._labels(), self.unneeded()
        self._tell(fleet, labels.values(), labels)
        fleet.wait_unloaded(unneeded, self._settings.load_seconds)

    def _labels(self) -> dict[str, int]:
        entry = self.config.entry()
        return dict(entry.labels) if entry else {}

    def _needed(self, after: State) -> set[int]:
        return {after.stable, after.canary, *(v for k, v in self._labels().items() if k not in (STABLE, CANARY))}

    def _loaded(self, fleet: Fleet) -> set[int]:
        """What the servers are told to serve, or do serve where they are told to serve the newest."""
        entry = self.config.entry()
        return set(entry.versions) if entry and entry.versions else fleet.available()

    def _tell(self, fleet: Fleet, versions: Iterable[int], labels: Mapping[str, int]) -> None:
        """Writes the configuration, and tells it to the servers unless they look themselves."""
        models = self.config.write(versions, labels)
        if self._settings.reload == RPC:
            fleet.reload(models, self._settings.load_seconds)
