"""A store of shoppers within the process, in memory or in a file."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from serving.requests import Event
from serving.store import checks
from serving.store.errors import StoreError
from serving.store.options import StoreOptions
from serving.store.profile import Profile, Query

IN_MEMORY = ":memory:"

_VERSION = 1
_SCHEMA = (
    """CREATE TABLE users (
    user_id TEXT PRIMARY KEY, used REAL NOT NULL, expires REAL NOT NULL, events INTEGER NOT NULL DEFAULT 0,
    free_text TEXT, context TEXT) WITHOUT ROWID""",
    "CREATE INDEX users_used ON users (used)",
    "CREATE INDEX users_expires ON users (expires)",
    """CREATE TABLE events (
    user_id TEXT NOT NULL REFERENCES users ON DELETE CASCADE, timestamp INTEGER NOT NULL, item_id TEXT NOT NULL,
    event_type TEXT NOT NULL, PRIMARY KEY (user_id, timestamp, item_id, event_type)) WITHOUT ROWID""",
    """CREATE TABLE queries (
    user_id TEXT NOT NULL REFERENCES users ON DELETE CASCADE, text TEXT NOT NULL, timestamp INTEGER NOT NULL,
    PRIMARY KEY (user_id, text)) WITHOUT ROWID""",
    # How many users there are, as counting them would read them all.
    "CREATE TABLE size (users INTEGER NOT NULL)",
    "INSERT INTO size VALUES (0)",
    "CREATE TRIGGER user_came AFTER INSERT ON users BEGIN UPDATE size SET users = users + 1; END",
    "CREATE TRIGGER user_left AFTER DELETE ON users BEGIN UPDATE size SET users = users - 1; END",
    f"PRAGMA user_version = {_VERSION}",
)
_NEWEST_EVENTS = """SELECT item_id, event_type, timestamp FROM events WHERE user_id = ?
ORDER BY timestamp DESC, item_id DESC, event_type DESC LIMIT ?"""
_DROP_OLDEST_EVENTS = """DELETE FROM events WHERE (user_id, timestamp, item_id, event_type) IN (
SELECT user_id, timestamp, item_id, event_type FROM events WHERE user_id = ?
ORDER BY timestamp, item_id, event_type LIMIT ?)"""
_ADD_QUERY = """INSERT INTO queries VALUES (?, ?, ?)
ON CONFLICT (user_id, text) DO UPDATE SET timestamp = max(timestamp, excluded.timestamp)"""
_NEWEST_QUERIES = "SELECT text, timestamp FROM queries WHERE user_id = ? ORDER BY timestamp DESC, text DESC LIMIT ?"
_DROP_OLDEST_QUERIES = """DELETE FROM queries WHERE user_id = ?1 AND text NOT IN (
SELECT text FROM queries WHERE user_id = ?1 ORDER BY timestamp DESC, text DESC LIMIT ?2)"""

#: A reading counts as use at most so often, in seconds, so that most readings write nothing.
_USED_EVERY = 60
#: Seconds that another process may hold the file.
_PATIENCE = 5.0
#: Shoppers whose time is over that each writing removes beside its own work.
_SWEPT = 20


class EmbeddedStore:
    """An `OnlineStore` in SQLite: in memory, or in a file that outlives the process.

    Several processes on one machine may share the file, so that `python -m serving.store forget` reaches a gateway that
    runs. What a call has written survives the end of the process; the end of the machine may cost the last moments.
    What is erased is overwritten in the file, too; while another process keeps that from happening, `forget` says so by
    a `StoreError`.

    Args:
      path: of the file, made where it is not there; ":memory:" for none.
      options: how much is kept, and how long.

    Raises:
      StoreError: if the file cannot be used.
    """

    def __init__(self, path: str = IN_MEMORY, options: StoreOptions | None = None) -> None:
        self.path = path
        self.options = options or StoreOptions()
        self._lock = threading.Lock()
        with self._errors():
            self._database = sqlite3.connect(path, timeout=_PATIENCE, isolation_level=None, check_same_thread=False)
            if path != IN_MEMORY:
                self._database.execute("PRAGMA journal_mode = WAL")
                self._database.execute("PRAGMA synchronous = NORMAL")
            for pragma in ("foreign_keys", "secure_delete"):
                self._database.execute(f"PRAGMA {pragma} = ON")
        with self._writing():
            (version,) = self._database.execute("PRAGMA user_version").fetchone()
            if version not in (0, _VERSION):
                raise StoreError(f"{path}: is a store of version {version}; expected version {_VERSION}.")
            if version == 0:
                for statement in _SCHEMA:
                    self._database.execute(statement)

    def append(self, user_id: str, events: Sequence[Event]) -> None:
        """See `OnlineStore`, as for the other methods."""
        self.append_many({user_id: events})

    def add_queries(self, user_id: str, queries: Sequence[Query]) -> None:
        self.append_many({}, {user_id: queries})

    def append_many(
        self, events: Mapping[str, Sequence[Event]], queries: Mapping[str, Sequence[Query]] | None = None
    ) -> None:
        kept, asked = checks.history(events, self.options), checks.searches(queries or {})
        if not kept and not asked:
            return
        with self._writing():
            for user_id in {**kept, **asked}:
                self._visit(user_id)
            for user_id, each in kept.items():
                self._add_events(user_id, each)
            for user_id, times in asked.items():
                self._add_queries(user_id, times)
            self._sweep()

    def recent(self, user_id: str, limit: int | None = None) -> list[Event]:
        most = checks.limit(limit, self.options)
        with self._errors(), self._lock:
            if self._known(user_id) is None:
                return []
            rows = self._database.execute(_NEWEST_EVENTS, (user_id, most)).fetchall()
        return [Event(*row) for row in reversed(rows)]

    def profile(self, user_id: str) -> Profile | None:
        with self._errors(), self._lock:
            known = self._known(user_id)
            if known is None:
                return None
            queries = self._database.execute(_NEWEST_QUERIES, (user_id, self.options.max_queries)).fetchall()
        free_text, context = known
        if free_text is None and not queries:
            return None
        return Profile(free_text or "", json.loads(context or "{}"), tuple(Query(*row) for row in queries))

    def set_profile(self, user_id: str, profile: Profile) -> None:
        times, context = checks.profile(profile), json.dumps(dict(profile.context), ensure_ascii=False)
        with self._writing():
            self._visit(checks.shopper(user_id))
            self._database.execute(
                "UPDATE users SET free_text = ?, context = ? WHERE user_id = ?", (profile.free_text, context, user_id)
            )
            self._database.execute("DELETE FROM queries WHERE user_id = ?", (user_id,))
            self._add_queries(user_id, times)
            self._sweep()

    def forget(self, user_id: str) -> bool:
        with self._writing():
            (there,) = self._database.execute(
                "SELECT count(*) FROM users WHERE user_id = ? AND expires >= ?", (user_id, time.time())
            ).fetchone()
            self._database.execute("DELETE FROM users WHERE user_id = ?", (user_id,))
        if self.path != IN_MEMORY:
            with self._errors(), self._lock:  # what was written before is in the log of changes as well
                busy, *_ = self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            if busy:
                raise StoreError(
                    f"{self.path}: a shopper is erased, but not from {self.path}-wal, which another process reads; "
                    "expected `forget` again when it is done."
                )
        return bool(there)

    def health(self) -> None:
        with self._writing():
            self._database.execute("SELECT users FROM size").fetchone()

    def close(self) -> None:
        with self._errors(), self._lock:
            self._database.close()

    def _known(self, user_id: str) -> tuple[Any, Any] | None:
        """(free text, context) of a shopper whose time is not over; it counts as use."""
        now = time.time()
        row = self._database.execute(
            "SELECT free_text, context, used FROM users WHERE user_id = ? AND expires >= ?", (user_id, now)
        ).fetchone()
        if row is None:
            return None
        if row[2] < now - _USED_EVERY:
            self._database.execute("UPDATE users SET used = ? WHERE user_id = ?", (now, user_id))
        return row[0], row[1]

    def _visit(self, user_id: str) -> None:
        now = time.time()
        self._database.execute("DELETE FROM users WHERE user_id = ? AND expires < ?", (user_id, now))
        self._database.execute(
            "INSERT INTO users (user_id, used, expires) VALUES (?, ?, ?) "
            "ON CONFLICT (user_id) DO UPDATE SET used = excluded.used, expires = excluded.expires",
            (user_id, now, now + self.options.ttl_seconds),
        )

    def _add_events(self, user_id: str, events: Sequence[Event]) -> None:
        rows = [(user_id, event.timestamp, event.item_id, event.event_type) for event in events]
        added = self._database.executemany("INSERT OR IGNORE INTO events VALUES (?, ?, ?, ?)", rows).rowcount
        (number,) = self._database.execute("SELECT events FROM users WHERE user_id = ?", (user_id,)).fetchone()
        number += added
        if number > self.options.max_events:
            self._database.execute(_DROP_OLDEST_EVENTS, (user_id, number - self.options.max_events))
            number = self.options.max_events
        self._database.execute("UPDATE users SET events = ? WHERE user_id = ?", (number, user_id))

    def _add_queries(self, user_id: str, times: Mapping[str, int]) -> None:
        self._database.executemany(_ADD_QUERY, [(user_id, text, moment) for text, moment in times.items()])
        self._database.execute(_DROP_OLDEST_QUERIES, (user_id, self.options.max_queries))

    def _sweep(self) -> None:
        """Removes shoppers whose time is over, and then those beyond `max_users` that were used longest ago."""
        self._database.execute(
            "DELETE FROM users WHERE user_id IN (SELECT user_id FROM users WHERE expires < ? LIMIT ?)",
            (time.time(), _SWEPT),
        )
        (number,) = self._database.execute("SELECT users FROM size").fetchone()
        if number > self.options.max_users:
            self._database.execute(
                "DELETE FROM users WHERE user_id IN (SELECT user_id FROM users ORDER BY used, user_id LIMIT ?)",
                (number - self.options.max_users,),
            )

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        with self._errors(), self._lock:
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._database.execute("COMMIT")
            except BaseException:
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
                raise

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise StoreError(f"{self.path}: the store of shoppers cannot be used ({error}).") from None
