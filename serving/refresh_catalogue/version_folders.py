"""Puts a version beside others: whole, by a rename, as the pipeline's Pusher does."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pathlib
import shutil
from collections.abc import Callable, Iterator

from serving.refresh_catalogue.errors import RefreshError

_HIDDEN = ".refreshing-"
#: The one that Pusher holds while it pushes.
_LOCK = ".push.lock"


def versions(base: pathlib.Path) -> list[int]:
    """Version numbers in a served folder, rising; empty where the folder is missing."""
    if not base.is_dir():
        return []
    return sorted(int(path.name) for path in base.iterdir() if path.is_dir() and path.name.isdecimal())


def find(folder: pathlib.Path) -> pathlib.Path:
    """The folder itself if it is a version, else that of the newest version in it.

    Raises:
      RefreshError: if there is neither.
    """
    if folder.name.isdecimal() and (folder / "saved_model.pb").is_file():
        return folder
    found = versions(folder)
    if not found or not (folder / str(found[-1]) / "saved_model.pb").is_file():
        raise RefreshError(f"{folder}: holds no version; expected a folder that the pipeline pushes into.")
    return folder / str(found[-1])


def place(base: pathlib.Path, write: Callable[[pathlib.Path], None]) -> int:
    """Writes the next version of a served folder; what an earlier call left half done is swept first.

    Args:
      base: the folder.
      write: fills a folder that is there and empty.

    Returns:
      Its number.
    """
    for leftover in base.glob(f"{_HIDDEN}*"):
        shutil.rmtree(leftover)
    version = max(versions(base), default=0) + 1
    hidden = base / f"{_HIDDEN}{version}"
    hidden.mkdir()
    try:
        write(hidden)
        for folder, _, files in os.walk(hidden):
            for name in files:
                flush(pathlib.Path(folder, name))
            flush(pathlib.Path(folder))
        hidden.rename(base / str(version))
    except BaseException:
        shutil.rmtree(hidden, ignore_errors=True)
        raise
    flush(base)
    return version


@contextlib.contextmanager
def only_one(base: pathlib.Path) -> Iterator[None]:
    """Waits until no other process writes a version into the same folder."""
    with (base / _LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def flush(path: pathlib.Path) -> None:
    """Returns when a file or folder is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
