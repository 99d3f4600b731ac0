"""The versions of one model: which are wanted, what state each is in, and what to do next."""

from __future__ import annotations

import dataclasses
import enum
import pathlib
from typing import Generic, Protocol, TypeVar

from serving.server.errors import ServingError


class State(enum.IntEnum):
    """As in `ModelVersionStatus.State`."""

    START = 10
    LOADING = 20
    AVAILABLE = 30
    UNLOADING = 40
    END = 50


class Closable(Protocol):
    """What is needed of a loaded version."""

    def close(self) -> None:
        """Frees its memory."""


Loaded = TypeVar("Loaded", bound=Closable)


@dataclasses.dataclass(frozen=True)
class VersionStatus:
    """State of one version at one moment; `error` is None unless its load failed."""

    version: int
    state: State
    error: ServingError | None


@dataclasses.dataclass
class Version(Generic[Loaded]):
    """One version from the moment it is wanted; `users` counts the requests that it answers now."""

    number: int
    path: pathlib.Path
    state: State = State.START
    servable: Loaded | None = None
    error: ServingError | None = None
    users: int = 0
    wanted: bool = True


class Action(enum.Enum):
    """What to do with a version."""

    LOAD = enum.auto()
    UNLOAD = enum.auto()


class ModelVersions(Generic[Loaded]):
    """A state machine without threads or locks of its own.

    Order of loads and unloads as in TensorFlow Serving's availability-preserving policy: an old version goes when a
    wanted one serves, so that one always does.

    Args:
      name: of the model.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        #: Every version that was ever wanted, by number.
        self.versions: dict[int, Version[Loaded]] = {}
        self._request: dict[int, pathlib.Path] | None = None

    def want(self, versions: dict[int, pathlib.Path]) -> None:
        """Says which versions are to be served from now on: number -> directory."""
        self._request = versions

    @property
    def pending(self) -> bool:
        """Whether the last `want` still waits to be applied."""
        return self._request is not None

    def settle(self) -> None:
        """Applies the last `want`; one that wants a version back which is still going down waits until it is gone.

        A version that failed and is still wanted stays as it is: it is not tried again until it goes and comes back.
        """
        if self._request is None:
            return
        for number in self._request:
            known = self.versions.get(number)
            if known and not known.wanted and known.state in (State.LOADING, State.UNLOADING):
                return
        for number, version in self.versions.items():
            if number not in self._request:
                version.wanted = False
                if version.state == State.START:
                    version.state = State.END
        for number, path in self._request.items():
            known = self.versions.get(number)
            if known and known.state == State.AVAILABLE:
                known.wanted = True
            elif not known or not known.wanted:
                self.versions[number] = Version(number, path)
        self._request = None

    def next_action(self) -> tuple[Action, Version[Loaded]] | None:
        """The next thing to do; whoever does it sets the version's state before asking again."""
        wanted = [version for version in self.versions.values() if version.wanted]
        old = [version for version in self.versions.values() if not version.wanted and version.state == State.AVAILABLE]
        serves = any(version.state == State.AVAILABLE for version in wanted)
        if old and (not wanted or serves or len(old) > 1):
            return Action.UNLOAD, min(old, key=lambda version: version.number)
        new = [version for version in wanted if version.state == State.START]
        if new:
            return Action.LOAD, max(new, key=lambda version: version.number)
        return None

    def find(self, number: int | None) -> Version[Loaded] | None:
        """The AVAILABLE version of that number, or the highest of all; None if there is none."""
        if number is not None:
            version = self.versions.get(number)
            return version if version and version.state == State.AVAILABLE else None
        available = [version for version in self.versions.values() if version.state == State.AVAILABLE]
        return max(available, key=lambda version: version.number, default=None)

    def statuses(self) -> list[VersionStatus]:
        """Every version ever wanted, highest first."""
        versions = sorted(self.versions.values(), key=lambda version: -version.number)
        return [VersionStatus(version.number, version.state, version.error) for version in versions]
