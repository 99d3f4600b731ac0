"""JSON lines, appended to one file a day by any number of threads and processes."""

from __future__ import annotations

import fcntl
import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any

from serving.experiment import times

#: Ending of the files of a folder.
ENDING = ".jsonl"


class DailyLog:
    """A folder of files such as 2024-06-03.jsonl, by day in UTC, one JSON object a line.

    A line is written whole while its file is locked (`flock`), so lines of several writers do not mix. If a writer
    died in the middle of a line, the next one begins a new line, so that no other is lost. A line is with the operating
    system when `append` returns, not yet on the disk: it outlives the process, but perhaps not a power failure.

    Args:
      folder: is made if it is not there.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self._folder = pathlib.Path(folder)
        self._folder.mkdir(parents=True, exist_ok=True)

    def append(self, time: float, record: Mapping[str, Any]) -> None:
        """Writes one line to the file of the day of `time` (seconds since 1970-01-01 UTC).

        Raises:
          OSError: if it cannot be written, for want of room, say.
          ValueError: for a number that JSON has no name for.
        """
        line = json.dumps(record, separators=(",", ":"), allow_nan=False).encode("ascii") + b"\n"
        # A descriptor for each line: nothing to close or to rotate, and the lock holds between threads too.
        descriptor = os.open(self._folder / f"{times.day(time)}{ENDING}", os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o640)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            size = os.fstat(descriptor).st_size
            if size and os.pread(descriptor, 1, size - 1) != b"\n":
                line = b"\n" + line
            while line:
                line = line[os.write(descriptor, line) :]
        finally:
            # A child forked meanwhile holds the descriptor too, and closing ours would not unlock it.
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)
