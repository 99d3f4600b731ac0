"""The list of harmful or forbidden items, which wins over every rule.

A file is JSON lines or CSV with the columns `item_id`, `reason`, `by` (who forbade it) and `time` (when, ISO 8601); all
but the first may be missing. The journal of the review queue (`serving.review.journal`) is such a file too: its lines
say with `action` what was done, and what was banned and not unbanned since is forbidden.
"""

from __future__ import annotations

import csv
import io
import pathlib
from collections.abc import Iterator

from serving.review.entry import ACTION, ACTIONS, BAN, ITEM_ID, UNBAN, checked, parse_line

_JSON_LINES, _CSV = (".jsonl", ".ndjson"), (".csv",)


class ForbiddenError(ValueError):
    """A list of forbidden items that cannot be used; the message is one sentence."""


def read_forbidden(path: str | pathlib.Path) -> frozenset[str]:
    """Ids of the items that a file forbids.

    Args:
      path: .jsonl or .csv.

    Raises:
      ForbiddenError: if it cannot be read, or a line is no such entry: half a list would let through the other half.
    """
    path = pathlib.Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ForbiddenError(
            f"{path}: cannot be read ({error.strerror}); expected the list of forbidden items."
        ) from None
    except UnicodeDecodeError:
        raise ForbiddenError(f"{path}: is not UTF-8; expected the list of forbidden items in UTF-8.") from None
    ending = path.suffix.lower()
    if ending not in (*_JSON_LINES, *_CSV):
        raise ForbiddenError(f"{path}: cannot tell its form by its ending; expected .jsonl or .csv.")
    found: dict[str, None] = {}
    for line, entry in _json_lines(path, text) if ending in _JSON_LINES else _csv_lines(path, text):
        action = entry.get(ACTION) or BAN  # a line without one forbids its item
        if action == BAN:
            found[entry[ITEM_ID]] = None
        elif action == UNBAN:
            found.pop(entry[ITEM_ID], None)
        elif action not in ACTIONS:
            raise ForbiddenError(
                f"{path}: line {line}: `{ACTION}` is {action!r}; expected one of {', '.join(ACTIONS)}."
            )
    return frozenset(found)


def _json_lines(path: pathlib.Path, text: str) -> Iterator[tuple[int, dict[str, str]]]:
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                yield number, parse_line(line)
            except ValueError as error:
                raise ForbiddenError(f"{path}: line {number} {error}.") from None


def _csv_lines(path: pathlib.Path, text: str) -> Iterator[tuple[int, dict[str, str]]]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        names = [name.strip() for name in next(reader, [])]
        if ITEM_ID not in names or len(set(names)) != len(names):
            raise ForbiddenError(
                f"{path}: line 1 is {','.join(names)!r}; expected a header with `{ITEM_ID}`, each name once."
            )
        for row in reader:
            if not any(row):
                continue
            try:
                if len(row) != len(names):
                    raise ValueError(f"has {len(row)} fields; expected {len(names)}")
                yield reader.line_num, checked(dict(zip(names, row, strict=True)))
            except ValueError as error:
                raise ForbiddenError(f"{path}: line {reader.line_num} {error}.") from None
    except csv.Error as error:
        raise ForbiddenError(f"{path}: line {reader.line_num} is broken CSV ({error}); expected whole lines.") from None
