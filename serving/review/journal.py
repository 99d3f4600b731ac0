"""The journal of the review queue: JSON lines that are only ever appended, by any number of processes."""

from __future__ import annotations

import dataclasses
import fcntl
import json
import os
import pathlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from serving.review.entry import ACTION, ACTIONS, Entry, parse_line
from serving.review.state import ReviewError, ReviewState

FILE = "journal.jsonl"
T = TypeVar("T")


class Journal:
    """Appends under a lock and to the disk before it returns; reads what was appended since it last read.

    Safe to share between threads, and its file between processes of one machine.

    The last line may be cut off by a crash while it was written; nobody was told that it was done. Readers pass over
    it, and the next append removes it.

    Args:
      folder: of the journal; one that is not there is not made, so that a mistyped one is not taken for a new queue.

    Attributes:
      path: of its file, made by the first append.

    Raises:
      ReviewError: if the folder cannot be used.
    """

    _inode: int

    def __init__(self, folder: pathlib.Path) -> None:
        try:
            os.scandir(folder).close()
        except OSError as error:
            raise ReviewError(
                f"{folder}: cannot be used ({error.strerror}); expected the review queue's folder, made beforehand."
            ) from None
        self.path = folder / FILE
        self._reading = threading.RLock()
        self._forget()

    def append(self, make: Callable[[ReviewState], list[Entry]]) -> list[Entry]:
        """Appends what `make` answers to the state that all entries up to now come to, which no other writer changes.

        Args:
          make: state -> entries, each allowed whichever of them come before it.

        Returns:
          The entries.

        Raises:
          ReviewError: of `make`, for entries that the state refuses, or if the journal cannot be read or written; then
            nothing is appended.
        """
        try:
            with self._reading, self._locked() as descriptor:
                state = self._followed()
                entries = make(state)
                for entry in entries:
                    state.after(entry.action, entry.item_id)
                self._write(descriptor, entries)
                return entries
        except OSError as error:
            raise ReviewError(
                f"{self.path}: cannot be written ({error.strerror}); expected a place for the journal."
            ) from None

    def read(self, make: Callable[[ReviewState], T]) -> T:
        """What a function makes of the state that all entries come to, which changes after it has returned.

        Raises:
          ReviewError: if a line cannot be read, or says what could not have been done.
        """
        with self._reading:
            return make(self._followed())

    def entries(self) -> list[Entry]:
        """All entries, oldest first, read anew: who follows a journal for years does not keep what it has read.

        Raises:
          ReviewError: as `read`.
        """
        return list(Journal(self.path.parent)._new_entries())

    def _followed(self) -> ReviewState:
        for _ in self._new_entries():
            pass
        return self._state

    def _new_entries(self) -> Iterator[Entry]:
        for line in self._new_lines():
            entry = self._parsed(line, self._lines + 1)
            try:
                self._state.add(entry)
            except ReviewError as error:
                raise ReviewError(f"{self.path}: line {self._lines + 1}: {entry.action}: {error}") from None
            self._lines += 1
            self._offset += len(line) + 1
            yield entry

    def _new_lines(self) -> list[bytes]:
        """Whole lines behind those that have been read."""
        try:
            with self.path.open("rb") as file:
                found = os.fstat(file.fileno())
                if found.st_ino != self._inode or found.st_size < self._offset:  # another file
                    self._forget()
                    self._inode = found.st_ino
                file.seek(self._offset)
                return file.read().split(b"\n")[:-1]
        except FileNotFoundError:
            self._forget()
            return []
        except OSError as error:
            raise ReviewError(f"{self.path}: cannot be read ({error.strerror}); expected the journal.") from None

    def _forget(self) -> None:
        self._state = ReviewState()
        self._lines = self._offset = 0
        self._inode = -1

    def _parsed(self, line: bytes, number: int) -> Entry:
        try:
            values = parse_line(line.decode("utf-8"))
            missing = [field.name for field in dataclasses.fields(Entry) if field.name not in values]
            if missing:
                raise ValueError(f"has no `{missing[0]}`; expected an entry of the review queue")
            if values[ACTION] not in ACTIONS:
                raise ValueError(f"has the action {values[ACTION]!r}; expected {', '.join(ACTIONS)}")
        except ValueError as error:  # of the encoding, too
            raise ReviewError(f"{self.path}: line {number} {error}.") from None
        return Entry(**values)

    @contextmanager
    def _locked(self) -> Iterator[int]:
        """A descriptor of the journal, which no other writer has meanwhile."""
        while True:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)  # given back when the file is closed
                if _is_file(descriptor, self.path):
                    if not os.fstat(descriptor).st_size:  # perhaps new: its name must last as long as what is in it
                        _sync_folder(self.path.parent)
                    yield descriptor
                    return
                # Another file was put in its place while the lock was waited for.
            finally:
                os.close(descriptor)

    def _write(self, descriptor: int, entries: list[Entry]) -> None:
        if os.fstat(descriptor).st_size > self._offset:  # a line that was cut off
            os.ftruncate(descriptor, self._offset)
        lines = "".join(json.dumps(dataclasses.asdict(entry), ensure_ascii=False) + "\n" for entry in entries)
        content = memoryview(lines.encode("utf-8"))
        try:
            while content:
                content = content[os.write(descriptor, content) :]
            os.fsync(descriptor)
        except OSError:
            os.ftruncate(descriptor, self._offset)
            raise


def _is_file(descriptor: int, path: pathlib.Path) -> bool:
    """Whether an open file is the one that a path names."""
    try:
        named = path.stat()
    except FileNotFoundError:
        return False
    found = os.fstat(descriptor)
    return (found.st_dev, found.st_ino) == (named.st_dev, named.st_ino)


def _sync_folder(folder: pathlib.Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
