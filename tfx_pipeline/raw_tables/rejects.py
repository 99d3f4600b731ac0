"""Rows that break the data contract: counted by table and reason, and written out."""

from __future__ import annotations

import collections
import json
from collections.abc import Callable
from typing import Any

from tfx_pipeline.raw_tables.paths import Path, path_of


class DataError(ValueError):
    """Raw tables that cannot be used; the message is one sentence for a person: what, where, what was expected."""


class Rejects:
    """Collects rejected and dropped rows.

    A *rejected* row breaks the contract; past `max_reject_share` reading stops. A *dropped* row is left out because
    the adapter's data set is defined so (a cancellation, a postage line) and never stops anything. *Merged* rows were
    identical to another; *noted* ones are kept, and something is to be known of them (times without a zone).

    Example:
      >>> rejects = Rejects()
      >>> rejects.reject("events", "missing user_id", {"line": 7})
      >>> rejects.counts
      {('events', 'rejected', 'missing user_id'): 1}
    """

    def __init__(self, keep_rows: int = 10_000) -> None:
        """Keeps at most `keep_rows` rows per table and reason for the rejects file; all are counted."""
        self.keep_rows = keep_rows
        self._counts: collections.Counter[tuple[str, str, str]] = collections.Counter()
        self._rows: list[dict[str, Any]] = []

    @property
    def counts(self) -> dict[tuple[str, str, str], int]:
        """(table, "rejected" | "dropped" | "merged" | "noted", reason) -> number of rows, sorted."""
        return dict(sorted(self._counts.items()))

    def rejected(self, table: str) -> int:
        """Number of rejected rows of a table."""
        return sum(n for (name, kind, _), n in self._counts.items() if name == table and kind == "rejected")

    def reject(self, table: str, reason: str, row: dict[str, Any]) -> None:
        """Counts one row that breaks the contract and keeps it for the rejects file."""
        self.count(table, "rejected", reason, [row])

    def count(self, table: str, kind: str, reason: str, rows: list[dict[str, Any]], number: int | None = None) -> None:
        """Counts rows of one kind and reason; `number` when there are more than `rows` holds."""
        key = (table, kind, reason)
        room = max(0, self.keep_rows - self._counts[key])
        self._rows.extend({"table": table, "kind": kind, "reason": reason, **row} for row in rows[:room])
        self._counts[key] += len(rows) if number is None else number

    def merge(self, other: Rejects, change: Callable[[dict[str, Any]], dict[str, Any]] | None = None) -> None:
        """Takes over what another collector has; of its rows what `change` makes of them."""
        self._counts.update(other._counts)
        self._rows.extend(map(change, other._rows) if change else other._rows)

    def write(self, path: str | Path) -> None:
        """Writes the kept rows, one JSON object a line, in place only when whole."""
        path = path_of(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(path.name + ".partial")
        with partial.open("wb") as file:
            for row in self._rows:
                file.write(f"{json.dumps(row, ensure_ascii=False, default=str)}\n".encode())
        partial.rename(str(path))
