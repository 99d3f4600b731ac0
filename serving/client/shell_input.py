"""Files and arguments that a person gives the command line: events, titles, names with values."""

from __future__ import annotations

import csv
import datetime
import io
import json
import pathlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from serving.requests import Event

_EVENT_COLUMNS = ("item_id", "event_type", "timestamp")
#: A date first: the end of its time looks like seconds.
_EVENTS = (re.compile(r"(.+):([^:]+):(\d{4}-\d\d-\d\d.*)"), re.compile(r"(.+):([^:]+):(\d+)"))
#: Seconds beyond this (in the year 5138) are milliseconds that somebody took for seconds.
_MOST_SECONDS = 10**11


def read_events(file: str) -> list[Event]:
    """The events of a file, in its order.

    Args:
      file: CSV (by its ending) or JSON lines, with item_id, event_type and timestamp; more is passed over.

    Raises:
      ValueError: naming the line that cannot be read.
    """
    events = []
    for where, row in _rows(file, _EVENT_COLUMNS):
        try:
            events.append(Event(str(row["item_id"]), str(row["event_type"]), seconds(str(row["timestamp"]))))
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None
    return events


def read_titles(file: str) -> dict[str, str]:
    """Item -> title, of CSV (by its ending) or JSON lines with item_id and title.

    Raises:
      ValueError: naming the line that cannot be read.
    """
    return {str(row["item_id"]): str(row["title"]) for _, row in _rows(file, ("item_id", "title"))}


def parse_event(text: str) -> Event:
    """Reads `item:type:time`; only the item may have colons of its own.

    Raises:
      ValueError: for another form.
    """
    match = next(filter(None, (pattern.fullmatch(text) for pattern in _EVENTS)), None)
    if not match:
        raise ValueError(f"The event {text!r} cannot be read; expected item:type:time, such as i42:view:1711800000.")
    return Event(match[1], match[2], seconds(match[3]))


def parse_pairs(texts: Sequence[str]) -> dict[str, str]:
    """Reads `name=value`, several times.

    Raises:
      ValueError: for another form, or a name that is there twice.
    """
    pairs: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals):
            raise ValueError(f"{text!r} cannot be read; expected name=value, such as country=DE.")
        if name in pairs:
            raise ValueError(f"`{name}` is given twice; expected it once.")
        pairs[name] = value
    return pairs


def seconds(text: str) -> int:
    """Seconds since 1970-01-01 UTC, of such a number or of ISO 8601 (UTC where it names no zone).

    Raises:
      ValueError: for anything else.
    """
    if re.fullmatch(r"\d+", text) and int(text) < _MOST_SECONDS:
        return int(text)
    try:
        moment = datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        raise ValueError(f"the time {text!r} cannot be read; expected seconds since 1970 or ISO 8601.") from None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=datetime.timezone.utc)).timestamp())


def read_text(file: str) -> str:
    """The content of a small file.

    Raises:
      ValueError: when it cannot be read.
    """
    try:
        return pathlib.Path(file).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{file}: cannot be read ({getattr(error, 'strerror', None) or error}).") from None


def _rows(file: str, columns: Sequence[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(file and line, row) of each row, which has these columns."""
    # A line ends at a line feed only: texts may hold what else Unicode calls the end of a line.
    lines = io.StringIO(read_text(file))
    if file.endswith(".csv"):
        rows = _csv(file, lines)
    else:
        rows = ((number, _json(file, number, line)) for number, line in enumerate(lines, 1) if line.strip())
    for number, row in rows:
        missing = [column for column in columns if not isinstance(row, dict) or row.get(column) is None]
        if missing:
            raise ValueError(f"{file}:{number}: `{missing[0]}` is missing; expected {', '.join(columns)}.")
        yield f"{file}:{number}", row


def _csv(file: str, lines: Iterable[str]) -> Iterator[tuple[int, Any]]:
    reader = csv.DictReader(lines)
    try:
        for row in reader:
            yield reader.line_num, row
    except csv.Error as error:
        raise ValueError(f"{file}: no CSV after line {reader.line_num} ({error}).") from None


def _json(file: str, number: int, line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        raise ValueError(f"{file}:{number}: no JSON; expected an object on each line (or a file.csv).") from None
