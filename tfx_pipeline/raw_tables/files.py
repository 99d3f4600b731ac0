"""Reading CSV and Parquet files chunk by chunk; every unusable file ends in one `DataError` sentence."""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import pathlib
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import pandas as pd
import pyarrow
import pyarrow.parquet

from tfx_pipeline.raw_tables.paths import Path
from tfx_pipeline.raw_tables.rejects import DataError, Rejects

CHUNK_ROWS = 100_000
_BUFFER_BYTES = 1 << 18
CSV_ENDINGS = (".csv", ".tsv", ".txt", ".inter", ".item", ".user")
PARQUET_ENDINGS = (".parquet", ".pq")
_CSV = "a CSV file"
_DELIMITERS = {",": "a comma", ";": "a semicolon", "\t": "a tab", "|": "a bar"}


@dataclass(frozen=True)
class Layout:
    """What is read of a table's files.

    Attributes:
      table: the table's name, for rejects and messages.
      columns: contract name -> column name in the file.
      required: contract names that must be there; the others are left out where the file lacks them.
      delimiter: of CSV files.
      may_be_empty: whether a file with columns but no rows is fine (one part of several).
      quoted: whether a field of a CSV file may stand in quotes; else a quote is a letter as any other.
      lists: contract names of columns that are lists of numbers in Parquet files.
    """

    table: str
    columns: dict[str, str]
    required: tuple[str, ...]
    delimiter: str = ","
    may_be_empty: bool = False
    quoted: bool = True
    lists: tuple[str, ...] = ()


@contextlib.contextmanager
def reachable(path: Path, expected: str) -> Iterator[None]:
    """Within it, a file system's error becomes a `DataError` that names the path and what was expected there."""
    try:
        yield
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); expected {expected}.") from None


def find(directory: Path, pattern: str, table: str) -> list[Path]:
    """The files of one table, sorted.

    Args:
      directory: folder that holds the tables.
      pattern: file name or glob below it. Names that start with "." or "_" are no data and are passed over.
      table: its name, for messages.

    Raises:
      DataError: if the folder is not there, nothing matches, a match is no CSV or Parquet file, or both forms match.
    """
    expected = f"the folder that holds {table} ({pattern})"
    with reachable(directory, expected):
        if not directory.is_dir():
            what = "is a file" if directory.exists() else "is not there"
            raise DataError(f"{directory}: {what}; expected {expected}.")
    if pathlib.PurePath(pattern).is_absolute() or ".." in pathlib.PurePath(pattern).parts:
        raise DataError(f"{directory}: the path of {table} is {pattern!r}; expected a name or glob below this folder.")
    try:
        with reachable(directory, expected):
            files = sorted(p for p in directory.glob(pattern) if not p.name.startswith((".", "_")) and p.is_file())
    except ValueError:  # of pathlib: "**.csv"
        raise DataError(f"{directory}: the path of {table} is {pattern!r}; expected a glob such as *.csv.") from None
    if not files:
        what = "is a folder" if (directory / pattern).is_dir() else "matches no file"
        raise DataError(f"{directory / pattern}: {what}; expected the CSV or Parquet files of {table}.")
    forms = {is_parquet(file) for file in files}
    if len(forms) > 1:
        names = ", ".join(file.name for file in files[:4])
        raise DataError(f"{directory / pattern}: matches CSV and Parquet ({names}); expected one form of {table}.")
    return files


def one_file(directory: Path, endings: tuple[str, ...], expected: str) -> Path:
    """The one file of a data set: `directory` itself, or the only file in it that ends so.

    Args:
      directory: a file or a folder.
      endings: of its name, in lower case.
      expected: what the file is, for messages.

    Raises:
      DataError: if there is none, or more than one.
    """
    spoken = f"{', '.join(endings[:-1])} or {endings[-1]}"
    with reachable(directory, expected):
        if directory.is_file():
            if not directory.name.lower().endswith(endings):
                raise DataError(f"{directory}: expected a file that ends in {spoken}.")
            return directory
        if not directory.is_dir():
            raise DataError(f"{directory}: is not there; expected {expected}.")
        found = sorted(p for p in directory.iterdir() if p.name.lower().endswith(endings) and p.is_file())
    if len(found) != 1:
        names = f" ({', '.join(p.name for p in found[:4])})" if found else ""
        raise DataError(f"{directory}: holds {len(found)} files that end in {spoken}{names}; expected exactly one.")
    return found[0]


def read_lines(file: Path, expected: str) -> Iterator[tuple[int, str]]:
    """(number from 1, text without white space around it) of each line of a text file (also .gz).

    Args:
      file: in UTF-8.
      expected: what the file is, for messages.

    Raises:
      DataError: if it cannot be opened, is truncated or not UTF-8.
    """
    with _open_csv(file, expected) as stream:
        lines = _Lines(file, stream, expected)
        for line in lines:
            yield lines.number, line.strip()


def is_parquet(file: Path) -> bool:
    """Whether a file is Parquet (else CSV), by its ending.

    Raises:
      DataError: if the ending is neither's.
    """
    name = file.name.lower()
    if name.endswith(PARQUET_ENDINGS):
        return True
    if name.removesuffix(".gz").endswith(CSV_ENDINGS):
        return False
    raise DataError(f"{file}: cannot tell its form by its ending; expected .csv, .csv.gz or .parquet.")


def column_names(file: Path, delimiter: str = ",", quoted: bool = True) -> list[str]:
    """The columns that a file has; `delimiter` and `quoted` as those of `Layout`.

    Raises:
      DataError: if its header cannot be read.
    """
    if is_parquet(file):
        return list(_open_parquet(file).schema_arrow.names)
    with _open_csv(file) as stream:
        return _header(_Lines(file, stream), file, delimiter, quoted)[0]


def read_chunks(file: Path, layout: Layout, rejects: Rejects, chunk_rows: int = CHUNK_ROWS) -> Iterator[pd.DataFrame]:
    """The rows of a file, chunk by chunk, under contract names.

    Columns of a CSV file are `str`, as written; those of a Parquet file have its types. The index holds each row's
    place: "line" (CSV, from 1, the header included) or "row" (Parquet, from 1). A CSV line with too few or too
    many fields, or with broken quotes, is rejected; empty lines are passed over.

    Raises:
      DataError: if the file cannot be opened, is truncated or not UTF-8, has no rows, lacks a required column, has a
        column twice, or is separated by something else.
    """
    chunks = _parquet_chunks if is_parquet(file) else _csv_chunks
    rows = rejects.rejected(layout.table)
    number = 0
    for chunk in chunks(file, layout, rejects, chunk_rows):
        number += len(chunk)
        if len(chunk):
            yield chunk
    if not number and not layout.may_be_empty and rejects.rejected(layout.table) == rows:
        raise DataError(f"{file}: has columns but no rows; expected at least one row of {layout.table}.")


def count_rows(
    rejects: Rejects, table: str, kind: str, reason: str, rows: pd.DataFrame, file: Path | None = None
) -> None:
    """Counts rows that are left out; with `file`, each is kept with its place there (the index of `read_chunks`)."""
    if rows.empty:
        return
    kept = rows.head(rejects.keep_rows)
    records = kept.astype(object).to_dict("records")
    if file is not None:
        places = zip(kept.index, records, strict=True)
        records = [{"file": file.name, str(rows.index.name): int(place), **record} for place, record in places]
    rejects.count(table, kind, reason, records, len(rows))


def _present(names: list[str], file: Path, layout: Layout) -> dict[str, str]:
    for name in names:
        if name and names.count(name) > 1:
            raise DataError(f"{file}: column {name!r} is there twice; expected each column once.")
    for name, column in layout.columns.items():
        declared = name in layout.required or name != column
        if column in names or not declared:
            continue
        if len(names) == 1:
            for other, spoken in _DELIMITERS.items():
                if other != layout.delimiter and other in names[0]:
                    wanted = _DELIMITERS.get(layout.delimiter, repr(layout.delimiter))
                    how = f"(or set data.{layout.table}.delimiter)"
                    raise DataError(f"{file}: line 1 is separated by {spoken}; expected {wanted} {how}.")
        meant = f"{column!r}" if name == column else f"{column!r} ({name})"
        expected = ", ".join(layout.columns[required] for required in layout.required)
        raise DataError(f"{file}: column {meant} is missing; expected {expected}; found {', '.join(names)}.")
    return {name: column for name, column in layout.columns.items() if column in names}


# --- CSV ---------------------------------------------------------------------------------------------------------


class _Unzipped(io.RawIOBase):
    """A gzip file that hands out everything up to where it is damaged, so that the line can be named."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._file = gzip.GzipFile(fileobj=stream, mode="rb")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        content = self._file.read1(len(buffer))
        buffer[: len(content)] = content
        return len(content)

    def close(self) -> None:
        self._file.close()
        self._stream.close()
        super().close()


def _open_csv(file: Path, expected: str = _CSV) -> BinaryIO:
    with reachable(file, expected):
        stream = file.open("rb", _BUFFER_BYTES)
    return io.BufferedReader(_Unzipped(stream), _BUFFER_BYTES) if file.name.lower().endswith(".gz") else stream


class _Lines:
    """Decoded lines of a file; `number` is that of the last one, from 1."""

    def __init__(self, file: Path, stream: BinaryIO, expected: str = _CSV) -> None:
        self.file = file
        self.number = 0
        self._expected = expected
        self._stream = stream

    def __iter__(self) -> Iterator[str]:
        line = b""
        try:
            for line in self._stream:
                self.number += 1
                yield line.decode("utf-8-sig" if self.number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            byte = error.object[error.start]
            raise DataError(
                f"{self.file}: line {self.number} is not UTF-8 (byte 0x{byte:02x}); expected {self._expected} in UTF-8."
            ) from None
        except EOFError:
            raise DataError(
                f"{self.file}: is truncated, it ends within line {self.number + 1}; expected a whole gzip file."
            ) from None
        except (gzip.BadGzipFile, zlib.error):
            raise DataError(f"{self.file}: is damaged after line {self.number}; expected a gzip file.") from None
        except OSError as error:
            raise DataError(f"{self.file}: cannot be read ({error.strerror}) after line {self.number}.") from None


def _header(lines: _Lines, file: Path, delimiter: str, quoted: bool) -> tuple[list[str], Any]:
    if quoted:
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
    else:
        reader = csv.reader(lines, delimiter=delimiter, strict=True, quoting=csv.QUOTE_NONE)
    try:
        names = next(reader)
    except StopIteration:
        raise DataError(f"{file}: is empty; expected a header line and rows.") from None
    except csv.Error as error:
        raise DataError(f"{file}: line 1 is not a header ({error}); expected column names.") from None
    return [name.strip() for name in names], reader


def _csv_chunks(file: Path, layout: Layout, rejects: Rejects, chunk_rows: int) -> Iterator[pd.DataFrame]:
    with _open_csv(file) as stream:
        lines = _Lines(file, stream)
        names, reader = _header(lines, file, layout.delimiter, layout.quoted)
        positions = {name: names.index(column) for name, column in _present(names, file, layout).items()}
        rows: list[list[str]] = []
        places: list[int] = []

        def chunk() -> pd.DataFrame:
            data = {name: pd.Series([row[at] for row in rows], dtype=object) for name, at in positions.items()}
            return pd.DataFrame(data).set_axis(pd.Index(places, name="line"))

        while True:
            start = lines.number + 1
            try:
                row = next(reader)
            except StopIteration:
                break
            except csv.Error as error:
                reason = str(error)
                if "field limit" in reason and lines.number == start:  # so no quote has run on
                    raise DataError(
                        f"{file}: line {start} has a field of more than {csv.field_size_limit():,} characters; "
                        "expected shorter ones."
                    ) from None
                if "unexpected end" in reason or "field limit" in reason:
                    raise DataError(
                        f"{file}: line {start} opens a quote that does not end; expected a closing quote."
                    ) from None
                if "NUL" in reason:
                    raise DataError(f"{file}: line {lines.number} holds a NUL byte; expected text in UTF-8.") from None
                rejects.reject(layout.table, "broken CSV quoting", {"file": file.name, "line": start})
                continue
            if len(row) != len(names):
                if row:
                    reason = "too few fields" if len(row) < len(names) else "too many fields"
                    rejects.reject(layout.table, reason, {"file": file.name, "line": start, "fields": row})
                continue
            rows.append(row)
            places.append(start)
            if len(rows) == chunk_rows:
                yield chunk()
                rows, places = [], []
        if rows:
            yield chunk()


# --- Parquet -----------------------------------------------------------------------------------------------------


def _open_parquet(file: Path) -> pyarrow.parquet.ParquetFile:
    source: Path | BinaryIO = file
    if not isinstance(file, pathlib.Path):
        with reachable(file, "a Parquet file"):
            source = file.open("rb", _BUFFER_BYTES)
    try:
        return pyarrow.parquet.ParquetFile(source)
    except (pyarrow.ArrowException, OSError):
        if file.stat().st_size == 0:
            raise DataError(f"{file}: is empty; expected a Parquet file with rows.") from None
        raise DataError(f"{file}: is damaged or not Parquet; expected a whole Parquet file.") from None


def _parquet_chunks(file: Path, layout: Layout, rejects: Rejects, chunk_rows: int) -> Iterator[pd.DataFrame]:
    source = _open_parquet(file)
    schema = source.schema_arrow
    present = _present(list(schema.names), file, layout)
    for name, column in present.items():
        kind = schema.field(column).type
        if name in layout.lists:
            if not _is_list_of_numbers(kind):
                raise DataError(f"{file}: column {column!r} is {kind}; expected one list of numbers a row.")
        elif pyarrow.types.is_nested(kind):
            raise DataError(f"{file}: column {column!r} is {kind}; expected one text, number or time a row.")
    renamed = {column: name for name, column in present.items()}
    place = 1
    try:
        for batch in source.iter_batches(batch_size=chunk_rows, columns=list(renamed)):
            columns = [_as_text(column) for column in batch.columns]
            table = pyarrow.table(columns, names=[renamed[name] for name in batch.schema.names])
            frame = table.to_pandas(integer_object_nulls=True)
            frame.index = pd.RangeIndex(place, place + len(frame), name="row")
            place += len(frame)
            yield frame[list(present)]
    except UnicodeDecodeError:
        raise DataError(f"{file}: a text after row {place - 1} is not UTF-8; expected texts in UTF-8.") from None
    except (pyarrow.ArrowException, OSError) as error:
        why = str(error).splitlines()[0]
        raise DataError(f"{file}: is damaged after row {place - 1} ({why}); expected a whole Parquet file.") from None


def _is_list_of_numbers(kind: pyarrow.DataType) -> bool:
    types = pyarrow.types
    if not (types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)):
        return types.is_string(kind) or types.is_large_string(kind)
    return types.is_floating(kind.value_type) or types.is_integer(kind.value_type)


def _as_text(column: pyarrow.Array) -> pyarrow.Array:
    if pyarrow.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if not (pyarrow.types.is_binary(column.type) or pyarrow.types.is_large_binary(column.type)):
        return column
    return pyarrow.array([None if value is None else value.decode("utf-8") for value in column.to_pylist()])
