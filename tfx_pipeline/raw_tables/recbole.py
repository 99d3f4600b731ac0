"""Adapter `recbole`: the atomic files of RecBole, NAME.inter, NAME.item and NAME.user."""

from __future__ import annotations

import html
from collections.abc import Iterator

import pandas as pd

from tfx_pipeline.raw_tables import files, tables, values
from tfx_pipeline.raw_tables.adapter import EVENT_COLUMNS, ITEM_COLUMNS, USER_COLUMNS
from tfx_pipeline.raw_tables.amazon_sequences import EVENT_TYPE
from tfx_pipeline.raw_tables.files import Layout
from tfx_pipeline.raw_tables.paths import Path
from tfx_pipeline.raw_tables.rejects import DataError, Rejects
from tfx_pipeline.settings import DataSettings

_ENDINGS = {"events": ".inter", "items": ".item", "users": ".user"}
_COLUMNS = {"events": EVENT_COLUMNS, "items": ITEM_COLUMNS, "users": USER_COLUMNS}
_REQUIRED = {"events": ("user_id", "item_id", "timestamp"), "items": ("item_id",), "users": ("user_id",)}
_TYPES = ("token", "token_seq", "float", "float_seq")
_EXPECTED = "RecBole's atomic files (NAME.inter or NAME.inter.gz, and .item and .user beside it)"
#: What data sets that RecBole publishes call a column, where it is not the contract's name.
_ALSO_CALLED = {"title": ("movie_title",), "category": ("categories", "genre", "class")}


class RecBole(tables.Tables):
    """Reads `NAME.inter` and, where they are there, `NAME.item` and `NAME.user` (each also .gz).

    `directory` is the .inter file or a folder that holds exactly one. Atomic files are separated by tabs, without
    quotes, and a column is called NAME:TYPE. Required are user_id, item_id and timestamp of .inter, item_id of .item,
    user_id of .user; the other columns of the contract are optional, and `TableSettings.columns` of events, items and
    users renames (names without types). `movie_title` is taken for a title, `categories`, `genre` or `class` for a
    category, if nothing is called so. Context columns are looked for in .user, then in .inter.

    Without a column event_type each row is an "interaction". Items that .item lacks, or has no title of, have no text,
    but are items; HTML entities in texts of items ("&amp;") become letters. A timestamp is epoch seconds or
    milliseconds. Some data sets have the position in the user's sequence there (0, 1, 2, ...): taken as seconds it
    keeps the order, and `split: leave_one_out` asks for no more; by `global_time` such data cannot be split. Parts of
    a second are cut off, and of one user's events in the same second the order is that of item ids.

    Rows are rejected as `Tables` does it, but for a title.

    Reference: recbole.io/atomic_files.html.
    """

    def __init__(self, settings: DataSettings, directory: str | Path) -> None:
        super().__init__(settings, directory)
        self._headers: dict[Path, dict[str, str]] = {}

    def items(self, rejects: Rejects) -> pd.DataFrame:
        stated = self._unique("items", "item_id", rejects)
        uncounted = Rejects(keep_rows=0)  # `read_events` counts them
        (file,) = self._files("events")
        named: set[str] = {""}
        for chunk in self._read(file, "events", uncounted):
            named.update(chunk["item_id"])
        missing = sorted(named - {"", *stated["item_id"]})
        if missing and self._files("items"):
            rows = [{"item_id": item} for item in missing[: rejects.keep_rows]]
            rejects.count("items", "noted", "not in .item, so without text", rows, len(missing))
        frame = pd.DataFrame({"item_id": missing}, dtype=object)
        frame = frame.assign(title="", description="", category="", brand="", item_type="").astype(object)
        frame = frame.assign(price=float("nan"), first_seen=0)[list(ITEM_COLUMNS)]
        if not missing or stated.empty:
            return frame if missing else stated
        return pd.concat([stated, frame], ignore_index=True).sort_values("item_id", ignore_index=True)

    def _files(self, table: str) -> list[Path]:
        if table not in _ENDINGS:
            return []
        endings = tuple(_ENDINGS["events"] + zipped for zipped in ("", ".gz"))
        events = files.one_file(self.directory, endings, _EXPECTED)
        if table == "events":
            return [events]
        name = events.name[: events.name.lower().rindex(_ENDINGS["events"])]
        beside = [events.with_name(name + _ENDINGS[table] + zipped) for zipped in ("", ".gz")]
        with files.reachable(beside[0], _EXPECTED):
            return [file for file in beside if file.is_file()][:1]

    def _layout(self, table: str, context: tuple[str, ...] = ()) -> Layout:
        (file,) = self._files(table)
        header, renamed = self._header(file), self._renamed(table)
        columns = {}
        for name in (*_COLUMNS[table], *context):
            called = self._called(table, name, header)
            if called in header:
                columns[name] = header[called]
            elif name in (*_REQUIRED[table], *context, *renamed):
                found = ", ".join(header.values())
                raise DataError(f"{file}: column {called!r} is missing; expected {called}:TYPE; found {found}.")
        return Layout(table, columns, (*_REQUIRED[table], *context), "\t", quoted=False)

    def _has(self, table: str, column: str) -> bool:
        return any(self._called(table, column, self._header(file)) in self._header(file) for file in self._files(table))

    def _read(self, file: Path, table: str, rejects: Rejects, context: tuple[str, ...] = ()) -> Iterator[pd.DataFrame]:
        layout = self._layout(table, context)
        required = (*_REQUIRED[table], *(("event_type",) if "event_type" in layout.columns else ()))
        for chunk in files.read_chunks(file, layout, rejects):
            cleaned = tables.clean(chunk, table, file, rejects, context, required).reset_index(drop=True)
            if table == "events" and "event_type" not in layout.columns:
                cleaned["event_type"] = EVENT_TYPE
            if table == "items":
                for column in ("title", "description", "category", "brand"):
                    cleaned[column] = values.texts(cleaned[column], html.unescape)
            yield cleaned

    def _called(self, table: str, name: str, header: dict[str, str]) -> str:
        """What a column of the contract is called in a file."""
        if name in self._settings(table).columns:
            return self._settings(table).columns[name]
        also = [other for other in _ALSO_CALLED.get(name, ()) if table == "items" and other in header]
        return name if name in header or not also else also[0]

    def _header(self, file: Path) -> dict[str, str]:
        """Name without type -> the column's whole name."""
        if file not in self._headers:
            header = {}
            for column in files.column_names(file, "\t", quoted=False):
                name, _, kind = column.partition(":")
                if not name or kind not in _TYPES:
                    raise DataError(
                        f"{file}: column {column!r} has no type; expected NAME:TYPE, the type one of "
                        f"{', '.join(_TYPES)}, separated by tabs."
                    )
                header[name] = column
            self._headers[file] = header
        return self._headers[file]
