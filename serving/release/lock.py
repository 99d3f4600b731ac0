"""One operator at a time."""

from __future__ import annotations

import fcntl
import os
import pathlib
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from serving.release import clock
from serving.release.errors import ReleaseError


@contextmanager
def only_operator(path: pathlib.Path, what: str) -> Iterator[None]:
    """Keeps others from changing what is served, until the block or the process ends, however it ends.

    Args:
      path: of the lock's file; it holds who has the lock. Locks hold between processes of one machine, and between
        machines where their file system has locks.
      what: is done, and by whom.

    Raises:
      ReleaseError: when somebody else has the lock, or its file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise ReleaseError(f"{path}: cannot be written ({error.strerror}); expected a place for the lock.") from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 1000, 0).decode("utf-8", "replace") or "somebody else's command"
            raise ReleaseError(f"{holder} is under way; expected one operator at a time.") from None
        except OSError as error:
            raise ReleaseError(f"{path}: cannot be locked ({error.strerror}).") from None
        os.ftruncate(descriptor, 0)
        holder = f"{what} (process {os.getpid()} on {socket.gethostname()}, since {clock.now()})"
        os.pwrite(descriptor, holder.encode("utf-8"), 0)
        yield
    finally:
        os.close(descriptor)
