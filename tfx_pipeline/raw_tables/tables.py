"""Adapter `tables`: a shop's own tables, already in the form of the data contract."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from tfx_pipeline.raw_tables import files, values
from tfx_pipeline.raw_tables.adapter import (
    EVENT_COLUMNS,
    IMAGE_EMBEDDING,
    ITEM_COLUMNS,
    RELATION_COLUMNS,
    REVIEW_COLUMNS,
    USER_COLUMNS,
    Adapter,
    since,
)
from tfx_pipeline.raw_tables.files import Layout
from tfx_pipeline.raw_tables.paths import Path
from tfx_pipeline.raw_tables.rejects import DataError, Rejects
from tfx_pipeline.settings import TableSettings

_REQUIRED = {
    "events": ("user_id", "item_id", "event_type", "timestamp"),
    "items": ("item_id", "title"),
    "users": ("user_id",),
    "reviews": ("user_id", "item_id", "text", "timestamp"),
    "relations": RELATION_COLUMNS,
}
_COLUMNS = {
    "events": EVENT_COLUMNS,
    "items": ITEM_COLUMNS,
    "users": USER_COLUMNS,
    "reviews": REVIEW_COLUMNS,
    "relations": RELATION_COLUMNS,
}
_TIMES = ("timestamp", "first_seen")
_NUMBERS = ("quantity", "price", "rating")


class Tables(Adapter):
    """Reads `events`, `items` and, where configured, `users`, `reviews` and `relations` from CSV or Parquet.

    Required columns: events user_id, item_id, event_type, timestamp; items item_id, title; users user_id; reviews
    user_id, item_id, text, timestamp; relations item_id, relation, related_item_id. The other columns of the contract
    are optional, further ones are passed over. `TableSettings.columns` renames. With `image_embedding_width` items need
    the column image_embedding too: in Parquet a list of numbers, in CSV a text such as "0.1 -0.2", empty for none.

    A row is rejected for a missing id, event type or title (an event with a query needs no item: it is a search), a
    time, number or list that cannot be read, a negative quantity, price or rating, and (items and users) an id that was
    there already. An image embedding of another width than declared ends in a `DataError`. Times may be ISO 8601, epoch
    seconds or epoch milliseconds; those without a zone are taken as UTC and counted as "noted".

    A declared context column is looked for in users, then in events; from events, a user gets the first value known of
    them, so that nothing later changes it, and since when it is known, so that nothing earlier sees it.
    """

    def files(self) -> list[Path]:
        found: set[Path] = set()
        for table in _REQUIRED:
            found.update(self._files(table))
        return sorted(found)

    def event_files(self) -> list[Path]:
        return self._files("events")

    def read_events(self, file: Path, rejects: Rejects) -> Iterator[pd.DataFrame]:
        yield from self._read(file, "events", rejects)

    def items(self, rejects: Rejects) -> pd.DataFrame:
        return self._unique("items", "item_id", rejects)

    def users(self, rejects: Rejects) -> pd.DataFrame:
        in_users = [column for column in self.settings.context if self._has("users", column)]
        in_events = [column for column in self.settings.context if column not in in_users]
        for column in in_events:
            if not self._has("events", column):
                what = f"context column {column!r} is missing"
                raise DataError(f"{self.directory}: {what}; expected it in the table of users or of events.")
        users = self._unique("users", "user_id", rejects, tuple(in_users))
        if in_events:
            moments = {since(column): 0 for column in in_events}
            users = users.merge(self._context_of_events(in_events), on="user_id", how="outer")
            users = users.fillna(moments).fillna("").astype(dict.fromkeys(moments, "int64"))
        columns = [*USER_COLUMNS, *self.settings.context, *map(since, in_events)]
        return users.sort_values("user_id", ignore_index=True)[columns]

    def reviews(self, rejects: Rejects) -> pd.DataFrame:
        return self._whole("reviews", rejects)

    def relations(self, rejects: Rejects) -> pd.DataFrame:
        relations = self._whole("relations", rejects)
        return relations.drop_duplicates(ignore_index=True)

    def _settings(self, table: str) -> TableSettings:
        return getattr(self.settings, table)

    def _files(self, table: str) -> list[Path]:
        settings = self._settings(table)
        if settings.path:
            return files.find(self.directory, settings.path, table)
        if table in ("events", "items"):
            raise DataError(f"data.{table}.path is empty; expected the file name or glob of {table}.")
        return []

    def _renamed(self, table: str) -> dict[str, str]:
        """`TableSettings.columns`, checked."""
        renamed = self._settings(table).columns
        known = (*_COLUMNS[table], *self._declared(table), *self.settings.context)
        for name in renamed:
            if name not in known:
                raise DataError(f"data.{table}.columns names {name!r}; expected one of {', '.join(known)}.")
        return renamed

    def _layout(self, table: str, context: tuple[str, ...] = ()) -> Layout:
        settings, renamed = self._settings(table), self._renamed(table)
        if len(settings.delimiter) != 1:
            raise DataError(f"data.{table}.delimiter is {settings.delimiter!r}; expected one character.")
        declared = self._declared(table)
        columns = {name: renamed.get(name, name) for name in (*_COLUMNS[table], *declared, *context)}
        required = (*_REQUIRED[table], *declared, *context)
        parts = len(self._files(table))
        return Layout(table, columns, required, settings.delimiter, may_be_empty=parts > 1, lists=declared)

    def _declared(self, table: str) -> tuple[str, ...]:
        """Columns of a table that the settings declare, beside those of the contract."""
        return (IMAGE_EMBEDDING,) if table == "items" and self.settings.image_embedding_width else ()

    def _has(self, table: str, column: str) -> bool:
        """Whether a declared context column is in a table (in its first file; the others are checked on reading)."""
        settings = self._settings(table)
        delimiter = self._layout(table).delimiter
        present = self._files(table)[:1]
        return any(settings.columns.get(column, column) in files.column_names(file, delimiter) for file in present)

    def _read(self, file: Path, table: str, rejects: Rejects, context: tuple[str, ...] = ()) -> Iterator[pd.DataFrame]:
        for chunk in files.read_chunks(file, self._layout(table, context), rejects):
            cleaned = clean(chunk, table, file, rejects, context, _REQUIRED[table], self._declared(table))
            for name in self._declared(table):
                check_widths(cleaned[name], self.settings.image_embedding_width, file)
            yield cleaned.reset_index(drop=True)

    def _whole(self, table: str, rejects: Rejects, context: tuple[str, ...] = ()) -> pd.DataFrame:
        present = self._files(table)
        chunks = [chunk for file in present for chunk in self._read(file, table, rejects, context)]
        if chunks:
            return pd.concat(chunks, ignore_index=True)
        if present:
            names = ", ".join(str(file) for file in present[:4])
            raise DataError(f"{names}: no usable row; expected at least one row of {table}.")
        empty = {name: pd.Series(dtype=_dtype(name)) for name in (*_COLUMNS[table], *context)}
        return pd.DataFrame(empty)

    def _unique(self, table: str, key: str, rejects: Rejects, context: tuple[str, ...] = ()) -> pd.DataFrame:
        whole = self._whole(table, rejects, context)
        again = whole.duplicated(key)
        files.count_rows(rejects, table, "rejected", f"{key} was there already", whole[again])
        return whole[~again].sort_values(key, ignore_index=True)

    def _context_of_events(self, columns: list[str]) -> pd.DataFrame:
        uncounted = Rejects(keep_rows=0)  # `read_events` counts them
        wanted = ["user_id", "timestamp", *columns]
        chunks = [
            chunk[wanted]
            for file in self.event_files()
            for chunk in self._read(file, "events", uncounted, tuple(columns))
        ]
        if not chunks:
            return pd.DataFrame({name: pd.Series(dtype=object) for name in ["user_id", *columns, *map(since, columns)]})
        events = pd.concat(chunks).sort_values(wanted)
        events[columns] = events[columns].where(events[columns] != "")
        for column in columns:
            events[since(column)] = events["timestamp"].where(events[column].notna())
        return events.groupby("user_id", as_index=False)[[*columns, *map(since, columns)]].first()


def _dtype(column: str) -> type:
    if column in _TIMES:
        return int
    return float if column in _NUMBERS else object


def clean(
    chunk: pd.DataFrame,
    table: str,
    file: Path,
    rejects: Rejects,
    context: tuple[str, ...],
    required: tuple[str, ...],
    lists: tuple[str, ...] = (),
) -> pd.DataFrame:
    """A chunk in contract form: every column of the table, bad rows rejected by their first reason.

    Args:
      chunk: of `files.read_chunks`, read from `file`.
      table: its name.
      file, rejects: where bad rows come from and go to.
      context: further columns, texts.
      required: columns of the table that must have a value in every row, where they are there.
      lists: further columns, lists of numbers, which may be missing.

    Returns:
      The good rows, with the index that they have in `chunk`.
    """
    cleaned = pd.DataFrame(index=chunk.index)
    reasons: list[tuple[str, pd.Series]] = []
    naive = 0
    is_search = values.texts(chunk["query"]) != "" if "query" in chunk else pd.Series(False, index=chunk.index)
    for name in (*_COLUMNS[table], *context):
        if name not in chunk:
            fill = {int: 0, float: float("nan"), object: ""}[_dtype(name)]
            cleaned[name] = pd.Series(fill, index=chunk.index, dtype=_dtype(name))
        elif name in _TIMES:
            cleaned[name], bad, without_zone = values.times(chunk[name])
            naive += without_zone
            missing = values.texts(chunk[name]).isin(["", "NaT"]) & bad
            if name in required:
                reasons.append((f"missing {name}", missing))
            reasons.append((f"unparsable {name}", bad & ~missing))
        elif name in _NUMBERS:
            cleaned[name], bad = values.numbers(chunk[name])
            reasons += [(f"unparsable {name}", bad), (f"negative {name}", cleaned[name] < 0)]
        else:
            cleaned[name] = values.texts(chunk[name])
            if name in required and name != "text":
                reasons.append((f"missing {name}", (cleaned[name] == "") & ~(is_search & (name == "item_id"))))
    for name in lists:
        cleaned[name], bad = values.vectors(chunk[name])
        reasons.append((f"unparsable {name}", bad))
    good = pd.Series(True, index=chunk.index)
    for reason, bad in reasons:
        files.count_rows(rejects, table, "rejected", reason, chunk[bad & good], file)
        good &= ~bad
    if naive:
        rejects.count(table, "noted", "times without a zone, taken as UTC", [], naive)
    return cleaned[good]


def check_widths(vectors: pd.Series, width: int, file: Path) -> None:
    """Raises a `DataError` if a vector (float [n], or None) has another width than declared.

    Args:
      vectors: a cleaned column, with the index of `files.read_chunks`.
      width: numbers that are expected.
      file: where it was read.
    """
    for place, vector in vectors.items():
        if vector is not None and vector.shape != (width,):
            raise DataError(
                f"{file}: {vectors.index.name} {place}: {vectors.name} has {vector.size} numbers; expected {width} "
                "(data.image_embedding_width)."
            )
