"""Reads what `DailyLog` wrote, and tables of the same columns."""

from __future__ import annotations

import json
import os
import pathlib
import typing
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Generic

from serving.experiment import records
from serving.experiment.daily_log import ENDING
from serving.experiment.errors import ExperimentError
from serving.experiment.records import Record

_TABLES = (".csv", ".csv.gz", ".parquet")
#: Lines, or columns, that a note names; of more it says how many.
_NAMED = 5


class LogReader(Generic[Record]):
    """The records of a log, oldest file first, one at a time; may be gone through again.

    A line that is no JSON was torn, by a writer that died, say, or by a read while it is written; it is passed over,
    as are columns that a record has no field for, and `notes` says so. A line that is JSON and no record is an error.

    Args:
      path: a folder of .jsonl files, one such file, or a table (CSV, CSV.gz or Parquet) with a column for each field,
        where an empty cell stands for the default. Lists need Parquet. A table is read as a whole.
      kind: dataclass of the records, such as `Exposure` or `Outcome`.

    Raises:
      ExperimentError: if there is nothing at `path`; when iterated over, if something in it cannot be used.
    """

    def __init__(self, path: str | os.PathLike[str], kind: type[Record]) -> None:
        self._path, self._kind = pathlib.Path(path), kind
        self._names = typing.get_type_hints(kind).keys()
        self._unknown: set[str] = set()
        #: What the last run through the log passed over.
        self.notes: list[str] = []
        if not self._path.exists():
            raise ExperimentError(f"{path}: is not there; expected a folder of {ENDING} files, such a file or a table.")

    def __iter__(self) -> Iterator[Record]:
        self.notes, self._unknown = [], set()
        if self._path.is_dir():
            files = sorted(self._path.glob(f"*{ENDING}"))
            if not files:
                self.notes.append(f"{self._path}: holds no {ENDING} file yet.")
            for file in files:
                yield from self._lines(file)
        elif self._path.name.endswith(_TABLES):
            yield from self._rows()
        else:
            yield from self._lines(self._path)
        if self._unknown:
            named = _listed([f"`{name}`" for name in sorted(self._unknown)], len(self._unknown))
            self.notes.append(f"{self._path}: {named} passed over; {self._kind.__name__} has no such field.")

    def _lines(self, file: pathlib.Path) -> Iterator[Record]:
        torn: list[int] = []
        number = lost = 0
        try:
            with file.open("rb") as lines:
                for number, line in enumerate(lines, start=1):
                    try:
                        content = json.loads(line)
                    except ValueError:
                        lost += 1
                        if lost <= _NAMED:
                            torn.append(number)
                        continue
                    if not isinstance(content, dict):
                        raise ExperimentError(f"{file}: line {number} holds {content!r}; expected a JSON object.")
                    yield self._record(content, f"{file}: line {number}")
        except OSError as error:
            raise ExperimentError(f"{file}: cannot be read ({error.strerror}).") from None
        if number > 1 and lost == number:
            raise ExperimentError(f"{file}: none of its {number} lines is JSON; expected one JSON object a line.")
        if torn:
            one = lost == 1
            which = "the last line" if torn == [number] else f"line{'' if one else 's'} {_listed(torn, lost)}"
            self.notes.append(f"{file}: {which} {'is' if one else 'are'} torn and passed over.")

    def _rows(self) -> Iterator[Record]:
        import pandas as pd

        try:
            if self._path.suffix == ".parquet":
                table = pd.read_parquet(self._path)
            else:
                table = pd.read_csv(self._path, dtype=str, keep_default_na=False, na_values=[""])
        except (OSError, ValueError, EOFError, zlib.error) as error:
            reason = " ".join(str(error).split())
            raise ExperimentError(f"{self._path}: cannot be read ({reason}); expected a table.") from None
        table = table.astype(object).where(table.notna(), None)
        for number, row in enumerate(table.itertuples(index=False, name=None), start=1):
            content = {name: _plain(value) for name, value in zip(table.columns, row, strict=True)}
            yield self._record(content, f"{self._path}: row {number}")

    def _record(self, content: Mapping[str, Any], place: str) -> Record:
        if not content.keys() <= self._names:
            self._unknown |= content.keys() - self._names
        try:
            return records.parse(self._kind, content)
        except ValueError as error:
            raise ExperimentError(f"{place}: {error}") from None


def _plain(value: Any) -> Any:
    """A cell as JSON would have it: Python's own numbers and lists, times in seconds."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if hasattr(value, "timestamp"):
        return value.timestamp()
    return value.isoformat() if hasattr(value, "isoformat") else value


def _listed(some: Sequence[Any], number: int) -> str:
    """The first of so many things, and how many there are besides."""
    named = ", ".join(map(str, some[:_NAMED]))
    return named if number <= _NAMED else f"{named} and {number - _NAMED:,} more"
