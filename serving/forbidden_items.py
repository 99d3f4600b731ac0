"""The file inside a SavedModel that lists forbidden items; its graph reads it as a table of ids."""

from __future__ import annotations

import pathlib
from collections.abc import Iterable

#: Its name in `assets`.
FILE = "forbidden_items.txt"
#: The first line, which is no id: TensorFlow reads no empty file.
_HEADER = "\x1fforbidden"


def write_forbidden_items(path: pathlib.Path, item_ids: Iterable[str]) -> None:
    """Writes ids, one a line."""
    path.write_text("".join(f"{line}\n" for line in (_HEADER, *sorted(set(item_ids)))), encoding="utf-8")


def read_forbidden_items(path: pathlib.Path) -> frozenset[str]:
    """Reads what `write_forbidden_items` wrote."""
    return frozenset(path.read_text(encoding="utf-8").split("\n")) - {"", _HEADER}
