"""Who served what when: JSON lines that are only ever appended."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from serving.release import clock, files
from serving.release.errors import ReleaseError
from serving.release.state import State

#: Actions.
STAGE, CANARY, PROMOTE, ROLLBACK = "stage", "canary", "promote", "rollback"
#: Phases of an action: what it ended with, or how far it has come.
BEGUN, LABELLED, DONE, FAILED = "begun", "labelled", "done", "failed"
_PHASES = (BEGUN, LABELLED, DONE, FAILED)


@dataclass(frozen=True)
class Entry:
    """One line of the journal.

    Attributes:
      time: UTC, as of `clock.now`.
      by: who did it.
      model: of which.
      action: stage, canary, promote or rollback.
      phase: begun; labelled, the labels are where they shall be on all servers; done; or failed, nothing has changed.
      before, after: what served, and what shall serve.
      reason: why.
      details: further facts, such as the numbers of a decision.
    """

    time: str
    by: str
    model: str
    action: str
    phase: str
    before: State
    after: State
    reason: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_open(self) -> bool:
        """Whether something is left to do."""
        return self.phase in (BEGUN, LABELLED)

    def __str__(self) -> str:
        return f"{self.action} by {self.by} at {self.time} ({self.before} -> {self.after})"


class Journal:
    """Appends to the disk before it returns.

    Whoever appends has the lock of `lock.only_operator`. The last line may be cut off by a crash while it was written;
    readers pass over it, and the next append removes it.

    Args:
      path: of the file; made by the first append.
      model: whose entries are read; a journal may be shared.
    """

    def __init__(self, path: pathlib.Path, model: str) -> None:
        self._path = path
        self._model = model

    def read(self) -> list[Entry]:
        """The model's entries, oldest first.

        Raises:
          ReleaseError: if a line cannot be read.
        """
        try:
            lines = self._path.read_bytes().split(b"\n")[:-1]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise ReleaseError(f"{self._path}: cannot be read ({error.strerror}).") from None
        entries = [self._parse(line, number) for number, line in enumerate(lines, 1)]
        return [entry for entry in entries if entry.model == self._model]

    def moves(self) -> list[Entry]:
        """Of these, what is about labels and shares."""
        return [entry for entry in self.read() if entry.action != STAGE]

    def append(self, entry: Entry) -> None:
        """Writes an entry.

        Raises:
          ReleaseError: when it cannot be written.
        """
        line = json.dumps(dataclasses.asdict(entry), ensure_ascii=False, allow_nan=False).encode("utf-8") + b"\n"
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            is_new = not self._path.exists()
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
            try:
                content = os.pread(descriptor, os.fstat(descriptor).st_size, 0)
                os.ftruncate(descriptor, content.rfind(b"\n") + 1)  # but for a line that was cut off
                while line:
                    line = line[os.write(descriptor, line) :]
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            if is_new:
                files.sync(self._path.parent)
        except OSError as error:
            raise ReleaseError(f"{self._path}: cannot be written ({error.strerror}).") from None

    def _parse(self, line: bytes, number: int) -> Entry:
        try:
            content = json.loads(line)
            content["before"], content["after"] = State(**content["before"]), State(**content["after"])
            entry = Entry(**content)
            clock.seconds(entry.time)
            if entry.phase not in _PHASES:
                raise ValueError(entry.phase)
        except (ValueError, TypeError, KeyError):
            raise ReleaseError(f"{self._path}: line {number} is no entry of a journal of releases.") from None
        return entry
