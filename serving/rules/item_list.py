"""A named list of items, in the rules themselves or in a file that another job writes."""

from __future__ import annotations

import pathlib

from serving.rules.reader import RulesError
from serving.rules.watched import Watched


class ItemList:
    """Hands out the ids of a list, best first; one in a file is read again when the file changes.

    Args:
      source: the ids, or a file with one a line.
      every_ms: between looks at the file.

    Raises:
      RulesError: if the file cannot be used when it is first read; what happens later, `Watched` says.
    """

    def __init__(self, source: tuple[str, ...] | pathlib.Path, every_ms: float) -> None:
        self._watched: Watched[tuple[str, ...]] | None = None
        if isinstance(source, pathlib.Path):
            path = source
            self._watched = Watched(path, lambda: read_item_list(path), every_ms)
        else:
            self._item_ids = source

    def get(self) -> tuple[str, ...]:
        """The ids, each once."""
        return self._item_ids if self._watched is None else self._watched.get()


def read_item_list(path: pathlib.Path) -> tuple[str, ...]:
    """The ids in a file, one a line, each once; empty lines are passed over.

    Raises:
      RulesError: if it cannot be read, has none, or has one twice.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except OSError as error:
        raise RulesError(f"{path}: cannot be read ({error.strerror}); expected one item id a line.") from None
    except UnicodeDecodeError:
        raise RulesError(f"{path}: is not UTF-8; expected one item id a line.") from None
    found: dict[str, int] = {}
    for number, line in enumerate(lines, 1):
        item_id = line.strip()
        if item_id in found:
            raise RulesError(
                f"{path}: line {number} has {item_id!r} again (line {found[item_id]}); expected each item once."
            )
        if item_id:
            found[item_id] = number
    if not found:
        raise RulesError(f"{path}: has no line; expected one item id a line, best first.")
    return tuple(found)
