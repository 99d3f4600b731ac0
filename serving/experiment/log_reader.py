"""Reads what `DailyLog` wrote, and tables of the same columns."""

from __future__ import annotations

import json
import os
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any, Generic

from serving.experiment import records
from serving.experiment.daily_log import ENDING
from serving.experiment.errors import ExperimentError
from serving.experiment.records import Record

_TABLES = (".csv", ".csv.gz", ".parquet")


class LogReader(Generic[Record]):
    """The records of a log, oldest file first, one at a time; may be gone through again.

    A line that is no JSON was torn, by a writer that died, say, or by a read while it is written; it is passed over,
    and `notes` says so. A line that is JSON and no record is an error.

    Args:
      path: a folder of .jsonl files, one such file, or a table (CSV, CSV.gz or Parquet) with a column for each field,
        where an empty cell stands for the default.
      kind: dataclass of the records, such as `Exposure` or `Outcome`.

    Raises:
      ExperimentError: if there is nothing at `path`; when iterated over, if something in it cannot be used.
    """

    def __init__(self, path: str | os.PathLike[str], kind: type[Record]) -> None:
        self._path, self._kind = pathlib.Path(path), kind
        #: What the last run through the log passed over, a sentence for each file.
        self.notes: list[str] = []
        if not self._path.exists():
            raise ExperimentError(f"{path}: is not there; expected a folder of {ENDING} files, such a file or a table.")

    def __iter__(self) -> Iterator[Record]:
        self.notes = []
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

    def _lines(self, file: pathlib.Path) -> Iterator[Record]:
        torn = []
        number = 0
        try:
            with file.open("rb") as lines:
                for number, line in enumerate(lines, start=1):
                    try:
                        content = json.loads(line)
                    except ValueError:
                        torn.append(number)
                        continue
                    if not isinstance(content, dict):
                        raise ExperimentError(f"{file}: line {number} holds {content!r}; expected a JSON object.")
                    yield self._record(content, f"{file}: line {number}")
        except OSError as error:
            raise ExperimentError(f"{file}: cannot be read ({error.strerror}).") from None
        if number > 1 and len(torn) == number:
            raise ExperimentError(f"{file}: none of its {number} lines is JSON; expected one JSON object a line.")
        if torn:
            one = len(torn) == 1
            which = "the last line" if torn == [number] else f"line{'' if one else 's'} {', '.join(map(str, torn))}"
            self.notes.append(f"{file}: {which} {'is' if one else 'are'} torn and passed over.")

    def _rows(self) -> Iterator[Record]:
        import pandas as pd

        try:
            if self._path.suffix == ".parquet":
                table = pd.read_parquet(self._path)
            else:
                table = pd.read_csv(self._path, dtype=str, keep_default_na=False, na_values=[""])
        except (OSError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise ExperimentError(f"{self._path}: cannot be read ({reason}); expected a table.") from None
        for number, row in enumerate(table.itertuples(index=False, name=None), start=1):
            content = {name: _plain(value) for name, value in zip(table.columns, row, strict=True)}
            yield self._record(content, f"{self._path}: row {number}")

    def _record(self, content: Mapping[str, Any], place: str) -> Record:
        try:
            return records.parse(self._kind, content)
        except ValueError as error:
            raise ExperimentError(f"{place}: {error}") from None


def _plain(value: Any) -> Any:
    """A cell as JSON would have it: Python's own numbers and lists, times in seconds, None where it is empty."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if value is None or value != value:
        return None
    if hasattr(value, "timestamp"):
        return value.timestamp()
    return value.isoformat() if hasattr(value, "isoformat") else value
