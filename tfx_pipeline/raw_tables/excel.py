"""Reading one sheet of an XLSX file as a table, chunk by chunk."""

from __future__ import annotations

import itertools
import zipfile
import zlib
from collections.abc import Iterator
from typing import Any

import pandas as pd

from tfx_pipeline.raw_tables.files import reachable
from tfx_pipeline.raw_tables.paths import Path
from tfx_pipeline.raw_tables.rejects import DataError

# What zipfile, the XML parser and openpyxl raise for a file that is cut, changed or something else.
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, SyntaxError, KeyError, IndexError, ValueError)


def read_chunks(file: Path, columns: tuple[str, ...], table: str, chunk_rows: int) -> Iterator[pd.DataFrame]:
    """The first sheet of an XLSX file, values as Excel holds them; the index is Excel's "line", from 1.

    Empty lines are passed over. The sheet is streamed; only its distinct texts are held as a whole.

    Args:
      file: the workbook.
      columns: names that its first line must hold; others are left out.
      table: the table's name, for messages.
      chunk_rows: rows of a chunk.

    Raises:
      DataError: if openpyxl is not installed, the file is no whole workbook, lacks a column, or has no rows.
    """
    try:
        import openpyxl
    except ImportError:
        raise DataError(f"{file}: openpyxl is not installed; expected it for XLSX (the extra `excel`).") from None
    with reachable(file, "an XLSX file"), file.open("rb") as stream:
        try:
            book = openpyxl.load_workbook(stream, read_only=True, data_only=True)
            sheet = book.worksheets[0]
        except _DAMAGE:
            raise DataError(f"{file}: is damaged or no workbook; expected a whole XLSX file.") from None
        sheet.reset_dimensions()  # as written in the file they may be wrong, and columns would be cut off
        lines = _lines(sheet, file)
        names = ["" if name is None else str(name).strip() for name in next(lines, ())]
        positions = _positions(names, columns, file, table)
        width = max(positions) + 1
        rows = (
            (at, *((row + (None,) * (width - len(row)))[p] for p in positions))
            for at, row in enumerate(lines, 2)
            if any(value is not None for value in row)
        )
        number = 0
        while chunk := list(itertools.islice(rows, chunk_rows)):
            number += len(chunk)
            frame = pd.DataFrame(chunk, columns=["line", *columns], dtype=object).set_index("line")
            frame.index = frame.index.astype("int64")
            yield frame
        if not number:
            raise DataError(f"{file}: has columns but no rows; expected at least one row of {table}.")


def _lines(sheet: Any, file: Path) -> Iterator[tuple[Any, ...]]:
    try:
        yield from sheet.iter_rows(values_only=True)
    except _DAMAGE:
        raise DataError(f"{file}: is damaged within its first sheet; expected a whole XLSX file.") from None


def _positions(names: list[str], columns: tuple[str, ...], file: Path, table: str) -> list[int]:
    if not any(names):
        raise DataError(f"{file}: its first sheet is empty; expected a header line and rows of {table}.")
    for name in columns:
        if names.count(name) > 1:
            raise DataError(f"{file}: column {name!r} is there twice; expected each column once.")
        if name not in names:
            found = ", ".join(names)
            raise DataError(f"{file}: column {name!r} is missing; expected {', '.join(columns)}; found {found}.")
    return [names.index(name) for name in columns]
