"""Fills a store from the raw tables of the data contract."""

from __future__ import annotations

import collections
import csv
import datetime
import gzip
import itertools
import pathlib
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow
import pyarrow.parquet

from models import features
from serving.privacy.privacy import Privacy
from serving.privacy.settings import FREE_TEXT
from serving.requests import Event
from serving.store.errors import StoreError
from serving.store.online_store import OnlineStore
from serving.store.options import StoreOptions
from serving.store.profile import Profile, Query

#: Rows that are read, and users that are written, at once.
_ROWS, _USERS = 100_000, 500
_CSV, _PARQUET = (".csv", ".csv.gz"), (".parquet", ".pq")
_EVENTS = (features.USER_ID, "item_id", "event_type", "timestamp")
# The rules of the pipeline's raw tables: seconds, milliseconds, and nothing that could be either or a date.
_SECONDS_BELOW, _MILLISECONDS = 10**10, (10**11, 10**13)
_COMPACT_DATES = (19_000_101, 21_001_231)
_ISO = re.compile(r"(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d)(:\d\d)?(?:\.\d{1,9})?(?: ?(Z|[+-]\d\d(?::?\d\d)?))?)?")


@dataclass
class Loaded:
    """What was read of a table.

    Attributes:
      rows: that were taken.
      left_out: reason -> rows that were not.
    """

    rows: int = 0
    left_out: collections.Counter[str] = field(default_factory=collections.Counter)


def load_events(store: OnlineStore, file: str, privacy: Privacy, options: StoreOptions) -> Loaded:
    """Adds the events of a table, and its queries to the profiles, in whatever order they are.

    Args:
      store: that is filled.
      file: CSV (also .gz) or Parquet with user_id, item_id, event_type, timestamp and, where there is one, query.
      privacy: what becomes of ids and queries before they are stored.
      options: of the store, for what is an impression.

    Raises:
      StoreError: for a file that cannot be read, or lacks a column, and for what the store refuses.
    """
    loaded = Loaded()
    rows = _rows(file, _EVENTS, (features.QUERY,), loaded.left_out)
    while batch := list(itertools.islice(rows, _ROWS)):
        events: dict[str, list[Event]] = collections.defaultdict(list)
        queries: dict[str, list[Query]] = collections.defaultdict(list)
        for raw in batch:
            row = privacy.protect_event({name: _text(value) for name, value in raw.items() if name != "timestamp"})
            time, query = _seconds(raw["timestamp"]), row.get(features.QUERY, "")
            why = _why_not(row, options)
            if why or time is None:
                loaded.left_out[why or "unparsable timestamp"] += 1
                continue
            if row["item_id"]:
                events[row[features.USER_ID]].append(Event(row["item_id"], row["event_type"], time))
            if query:
                queries[row[features.USER_ID]].append(Query(query, time))
            loaded.rows += 1
        users = iter(dict.fromkeys([*events, *queries]))
        while some := list(itertools.islice(users, _USERS)):
            try:
                store.append_many(
                    {user_id: events[user_id] for user_id in some if user_id in events},
                    {user_id: queries[user_id] for user_id in some if user_id in queries},
                )
            except ValueError as error:
                raise StoreError(f"{file}: {error}") from None
    return loaded


def load_users(store: OnlineStore, file: str, context: Sequence[str], privacy: Privacy) -> Loaded:
    """Sets free text and context columns of the users of a table; queries that are stored stay.

    Args:
      store: that is filled.
      file: CSV (also .gz) or Parquet with user_id, the context columns and, where there is one, free_text.
      context: the declared context columns.
      privacy: what becomes of ids and texts before they are stored.

    Raises:
      StoreError: for a file that cannot be read, or lacks a column, and for what the store refuses.
    """
    loaded = Loaded()
    for raw in _rows(file, (features.USER_ID, *context), (FREE_TEXT,), loaded.left_out):
        row = privacy.protect_event({name: _text(value) for name, value in raw.items()})
        user_id = row[features.USER_ID]
        if not user_id:
            loaded.left_out[f"missing {features.USER_ID}"] += 1
            continue
        known = store.profile(user_id) or Profile()
        stated = {column: row[column] for column in context if row[column]}
        try:
            store.set_profile(user_id, Profile(row.get(FREE_TEXT, ""), stated, known.queries))
        except ValueError as error:
            raise StoreError(f"{file}: {error}") from None
        loaded.rows += 1
    return loaded


def _why_not(row: dict[str, Any], options: StoreOptions) -> str:
    """Why a row of events is left out; "" for one that is history, or a search."""
    for name in (features.USER_ID, "event_type"):
        if not row[name]:
            return f"missing {name}"
    if not row["item_id"] and not row.get(features.QUERY):
        return "missing item_id"
    return "impression" if row["event_type"] in options.impression_event_types else ""


def _rows(
    file: str, required: Sequence[str], optional: Sequence[str], left_out: collections.Counter[str]
) -> Iterator[dict[str, Any]]:
    """The rows of a file, with those of the wanted columns that it has."""
    name, number = file.lower(), 0
    if not name.endswith(_CSV + _PARQUET):
        raise StoreError(f"{file}: cannot tell its form by its ending; expected .csv, .csv.gz or .parquet.")
    read = _parquet_rows if name.endswith(_PARQUET) else _csv_rows
    try:
        for row in read(file, required, optional, left_out):
            number += 1
            yield row
    except UnicodeDecodeError:
        raise StoreError(f"{file}: is not UTF-8; expected a table in UTF-8.") from None
    except (OSError, EOFError, zlib.error, csv.Error, pyarrow.ArrowException) as error:
        why = getattr(error, "strerror", None) or str(error).partition("\n")[0].rstrip(".")
        raise StoreError(f"{file}: cannot be read after row {number} ({why}).") from None


def _parquet_rows(
    file: str, required: Sequence[str], optional: Sequence[str], left_out: collections.Counter[str]
) -> Iterator[dict[str, Any]]:
    del left_out  # a column of Parquet has as many rows as the others
    with pyarrow.parquet.ParquetFile(pathlib.Path(file)) as source:
        columns = _columns(file, source.schema_arrow.names, required, optional)
        for batch in source.iter_batches(batch_size=_ROWS, columns=columns):
            for row in batch.to_pylist():
                yield {
                    name: value.decode("utf-8") if isinstance(value, bytes) else value for name, value in row.items()
                }


def _csv_rows(
    file: str, required: Sequence[str], optional: Sequence[str], left_out: collections.Counter[str]
) -> Iterator[dict[str, Any]]:
    with (gzip.open if file.lower().endswith(".gz") else open)(file, "rt", encoding="utf-8-sig", newline="") as lines:
        reader = csv.reader(lines, strict=True)
        names = [name.strip() for name in next(reader, [])]
        places = {name: names.index(name) for name in _columns(file, names, required, optional)}
        for fields in reader:
            if len(fields) == len(names):
                yield {name: fields[place] for name, place in places.items()}
            elif fields:
                left_out["too few fields" if len(fields) < len(names) else "too many fields"] += 1


def _columns(file: str, names: Sequence[str], required: Sequence[str], optional: Sequence[str]) -> list[str]:
    for name in required:
        if name not in names:
            expected, found = ", ".join(required), ", ".join(names)
            raise StoreError(f"{file}: column {name!r} is missing; expected {expected}; found {found}.")
    return [name for name in (*required, *optional) if name in names]


def _text(value: Any) -> str:
    """As the pipeline's raw tables have it: without white space around it, missing "", whole numbers as such."""
    if value is None or value != value:
        return ""
    if isinstance(value, float) and value.is_integer():
        return f"{value:.0f}"
    return str(value).strip()


def _seconds(value: Any) -> int | None:
    """Seconds since 1970-01-01 UTC of a typed time, ISO 8601, epoch seconds or milliseconds; None for anything else."""
    if isinstance(value, datetime.datetime):
        moment = value if value.tzinfo else value.replace(tzinfo=datetime.timezone.utc)
        return _not_negative(moment.timestamp())
    written = _text(value)
    if found := _ISO.fullmatch(written):
        date, minutes, seconds, zone = found.groups()
        zone = "+00:00" if zone in (None, "Z") else zone.replace(":", "").ljust(5, "0")
        zone = zone if ":" in zone else f"{zone[:3]}:{zone[3:]}"
        try:
            moment = datetime.datetime.fromisoformat(f"{date} {minutes or '00:00'}{seconds or ':00'}{zone}")
        except ValueError:
            return None
        return _not_negative(moment.timestamp())
    try:
        number = float(written)
    except ValueError:
        return None
    if 0 <= number < _SECONDS_BELOW and not _COMPACT_DATES[0] <= number <= _COMPACT_DATES[1]:
        return int(number)
    return int(number // 1000) if _MILLISECONDS[0] <= number < _MILLISECONDS[1] else None


def _not_negative(seconds: float) -> int | None:
    return int(seconds) if seconds >= 0 else None
