"""A value that is read from a file, and again when the file changes."""

from __future__ import annotations

import logging
import pathlib
import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")
_log = logging.getLogger(__name__)


class Watched(Generic[T]):
    """Hands out what a file holds; looks at most every so many milliseconds whether it is another by now.

    Another is told by time of change, size and inode. If it cannot be read, or is gone, the value stays as it was and
    the log says why, once; the next look tries again. Safe to share between threads: one of them reads, the others
    take what is there meanwhile.

    Args:
      path: of the file.
      read: makes the value; raises an OSError or a ValueError if it cannot.
      every_ms: between looks; 0 looks each time.
      missing: value while the file was never there; None if it must be there.

    Raises:
      OSError, ValueError: of the first reading.
    """

    def __init__(self, path: pathlib.Path, read: Callable[[], T], every_ms: float, missing: T | None = None) -> None:
        self._path = path
        self._read = read
        self._every = every_ms / 1000
        self._looking = threading.Lock()
        self._failed: str | None = None
        try:
            self._seen = _signature(path)
        except OSError:
            self._seen, missing = None, None  # reading it says what is wrong
        self._value = missing if missing is not None and self._seen is None else read()
        self._next = time.monotonic() + self._every

    def get(self) -> T:
        """The value."""
        if time.monotonic() >= self._next and self._looking.acquire(blocking=False):
            try:
                self._look()
                self._next = time.monotonic() + self._every
            finally:
                self._looking.release()
        return self._value

    def _look(self) -> None:
        try:
            # Before the content: what is written while it is read is seen as another change.
            signature = _signature(self._path)
            if signature == self._seen and self._failed is None:
                return
            if signature is None:
                if self._seen is None:
                    return
                raise FileNotFoundError(2, "it is gone", str(self._path))
            self._value = self._read()
        except (OSError, ValueError) as error:
            if str(error) != self._failed:
                _log.error("%s cannot be read and what it held before goes on to hold: %s", self._path, error)
            self._failed = str(error)
        else:
            self._seen, self._failed = signature, None


def _signature(path: pathlib.Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
