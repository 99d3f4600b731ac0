"""What the commands print: tables for people, JSON for programs."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from serving.release.comparison import SignatureComparison
from serving.release.state import CANARY, STABLE, State
from serving.release.status import Document, problems

#: Columns of a table on anything that is narrower.
_WIDTH = 140
_MILLISECONDS = 1000


def print_json(content: Any) -> None:
    """One line."""
    print(json.dumps(content, ensure_ascii=False, allow_nan=False))


def print_status(document: Document) -> None:
    """What serves, where, since when, and what is wrong."""
    state = document["state"]
    print(f"{document['model']}: {State(**state)}")
    rows = []
    numbers = {*document["staged"], *document["loaded"]}
    for server in document["servers"].values():
        numbers |= {int(number) for number in server.get("versions", {})}
    for number in sorted(numbers, reverse=True):
        names = [label for label in (STABLE, CANARY) if state[label] == number]
        states = [server.get("versions", {}).get(str(number), "-") for server in document["servers"].values()]
        staged = "yes" if number in document["staged"] else "no"
        rows.append([str(number), ", ".join(names), staged, *states])
    _table(("version", "labels", "staged", *document["servers"]), rows)
    if document["history"]:
        _table(
            ("time", "by", "what", "before", "after", "reason"),
            [
                (one["time"], one["by"], _what(one), _said(one["before"]), _said(one["after"]), one["reason"])
                for one in document["history"]
            ],
        )
    for problem in problems(document):
        print(f"note: {problem}")


def comparison_document(found: Mapping[str, SignatureComparison]) -> Document:
    """How two versions answer, as JSON-able values."""
    return {
        name: {
            "requests": one.requests,
            "stable_errors": len(one.stable_errors),
            "canary_errors": len(one.canary_errors),
            "faults": sorted(set(one.faults)),
            "agreement": one.agreement,
            "stable_ms": _median_ms(one.stable_seconds),
            "canary_ms": _median_ms(one.canary_seconds),
            "latency_ratio": one.latency_ratio,
        }
        for name, one in found.items()
    }


def print_comparison(document: Document) -> None:
    """How two versions answer, a row a signature."""
    rows = [
        (
            name,
            str(one["requests"]),
            f"{one['stable_errors']}, {one['canary_errors']}",
            _number(one["agreement"], ".3f"),
            _number(one["stable_ms"], ".2f"),
            _number(one["canary_ms"], ".2f"),
            _number(one["latency_ratio"], ".2f"),
            "; ".join(one["faults"]),
        )
        for name, one in document.items()
    ]
    _table(
        ("signature", "requests", "errors", "agreement", "stable, ms", "canary, ms", "ratio", "faults"),
        rows,
    )


def _median_ms(seconds: Sequence[float]) -> float | None:
    return statistics.median(seconds) * _MILLISECONDS if seconds else None


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _what(entry: Mapping[str, Any]) -> str:
    version = entry["details"].get("version")
    phase = "" if entry["phase"] == "done" else f", {entry['phase']}"
    return f"{entry['action']}{f' {version}' if version else ''}{phase}"


def _said(state: Mapping[str, Any]) -> str:
    return str(State(**state))


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    console = Console(highlight=False)
    console.width = max(console.width, _WIDTH)
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(Text(column))
    for row in rows:
        table.add_row(*map(Text, row))
    console.print(table)
