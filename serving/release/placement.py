"""Putting a SavedModel into the served folder: checked, whole, by rename."""

from __future__ import annotations

import hashlib
import json
import pathlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass

from serving.release import clock, files
from serving.release.errors import ReleaseError
from serving.release.saved_model import SavedModel

#: Hidden folders of versions that are being copied; no server looks at them.
_HIDDEN = ".staging-"
#: What a staged version says of where it is from.
ORIGIN_FILE = pathlib.Path("assets.extra") / "release.json"


@dataclass(frozen=True)
class Staged:
    """A version in the served folder.

    Attributes:
      version: its number.
      path: its folder.
      digest: hash of what it was made of.
      anew: whether it was put there now.
    """

    version: int
    path: pathlib.Path
    digest: str
    anew: bool


def versions(folder: pathlib.Path) -> dict[int, pathlib.Path]:
    """The versions in a served folder, rising; none where the folder is missing."""
    if not folder.is_dir():
        return {}
    found = {int(path.name): path for path in folder.iterdir() if path.is_dir() and path.name.isdecimal()}
    return dict(sorted(found.items()))


def newest(source: pathlib.Path) -> pathlib.Path:
    """The folder itself if it holds a SavedModel, else that of the newest version in it.

    Raises:
      ReleaseError: if there is neither.
    """
    if (source / "saved_model.pb").exists():
        return source
    found = versions(source)
    if not found:
        raise ReleaseError(f"{source}: holds no saved_model.pb and no version; expected a SavedModel to stage.")
    return found[max(found)]


def place(
    source: pathlib.Path,
    folder: pathlib.Path,
    version: int | None,
    extra: pathlib.Path | None,
    check: Callable[[SavedModel], None],
    complete: Callable[[SavedModel], None],
) -> Staged:
    """Checks a SavedModel, copies it to a hidden folder, completes it there, and renames it to its number.

    What a killed command left behind is swept first. What is already there is not put there again.

    Args:
      source: folder of the SavedModel.
      folder: the served one; made where it is missing.
      version: number to give it; None for the name of `source` where that is a number, else one more than the newest.
      extra: a file that `complete` reads; with another one, the version is another one.
      check: raises a ReleaseError if the source must not serve.
      complete: writes what is missing into the copy.

    Raises:
      ReleaseError: if the number is taken by something else, the copy differs from the source, or of `check` and
        `complete`.
    """
    there = versions(folder)
    check(SavedModel.read(source))
    for number, path in there.items():
        if path.samefile(source):  # put there by Pusher, say
            return Staged(number, path, "", anew=False)
    digest = _digest(source)
    made_of = digest if extra is None else hashlib.sha256(digest.encode() + extra.read_bytes()).hexdigest()
    for number, path in there.items():
        if _origin(path) == made_of and version in (None, number):
            return Staged(number, path, made_of, anew=False)
    if version is None:
        version = int(source.name) if source.name.isdecimal() else max(there, default=0) + 1
    if version < 1 or version in there:
        why = "is taken by something else" if version in there else "is no version"
        raise ReleaseError(f"{folder}: {version} {why}; expected another --version, of 1 or more.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for leftover in folder.glob(f"{_HIDDEN}*"):
            shutil.rmtree(leftover)
        hidden = folder / f"{_HIDDEN}{version}"
        shutil.copytree(source, hidden)
        if _digest(hidden) != digest:
            raise ReleaseError(f"{source}: changed while it was copied; expected a finished SavedModel.")
        complete(SavedModel.read(hidden))
        (hidden / ORIGIN_FILE).parent.mkdir(exist_ok=True)
        said = {"digest": made_of, "source": str(source), "staged": clock.now()}
        (hidden / ORIGIN_FILE).write_text(json.dumps(said) + "\n", encoding="utf-8")
        files.sync_folder(hidden)
        path = hidden.rename(folder / str(version))
        files.sync(folder)
    except (OSError, shutil.Error) as error:
        raise ReleaseError(f"{folder}: {source} cannot be copied there ({error}).") from None
    return Staged(version, path, made_of, anew=True)


def _origin(path: pathlib.Path) -> str:
    """Hash of what a version was staged from; "" where nothing says so."""
    try:
        content = json.loads((path / ORIGIN_FILE).read_text(encoding="utf-8"))
        return str(content["digest"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _digest(folder: pathlib.Path) -> str:
    """A hash of the files of a folder: their relative names and bytes."""
    digest = hashlib.sha256()
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(file.relative_to(folder).as_posix().encode() + b"\0")
        with file.open("rb") as content:
            while chunk := content.read(1 << 20):
                digest.update(chunk)
        digest.update(b"\0")
    return digest.hexdigest()
