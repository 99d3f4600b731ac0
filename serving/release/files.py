"""Writing so that a crash, or a reader at any moment, finds all of it or nothing."""

from __future__ import annotations

import os
import pathlib
import shutil


def write_whole(path: pathlib.Path, text: str) -> None:
    """Replaces a file: written beside it, flushed to the disk, renamed.

    Raises:
      OSError: when it cannot be written.
    """
    path = path.resolve()  # a link stays one
    part = path.with_name(f".{path.name}.part")
    part.write_text(text, encoding="utf-8")
    if path.exists():
        shutil.copymode(path, part)
    sync(part)
    part.replace(path)
    sync(path.parent)


def sync(path: pathlib.Path) -> None:
    """Flushes a file, or the names in a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(folder: pathlib.Path) -> None:
    """Flushes everything below a folder, and itself, to the disk."""
    for parent, _, files in os.walk(folder):
        for name in files:
            sync(pathlib.Path(parent, name))
        sync(pathlib.Path(parent))
