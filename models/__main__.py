"""`python -m models list`: the zoo's entries, what each is for, how it is judged and asked, and what was measured."""

from __future__ import annotations

import argparse
import json
import pathlib
import sys
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from models import registry

#: What the committed benchmark results say of the entries, data set by data set; written by `benchmarks.table`.
MEASURED = pathlib.Path(__file__).with_name("measured.json")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m models", description=__doc__.partition(":")[2].strip())
    parser.add_argument("command", choices=["list"], help="list: the entries")
    parser.parse_args(arguments)
    measured = json.loads(MEASURED.read_text(encoding="utf-8"))
    table = Table("entry", "task", "gate metric", "signatures", "what it is for", "measured", box=None)
    for name in registry.names():
        entry = registry.entry(name)
        quality = _quality(measured.get(name, {}), entry.gate_metric)
        table.add_row(name, entry.task, entry.gate_metric, ", ".join(entry.signatures), entry.purpose, quality)
    console = Console(file=sys.stdout)
    console.width = max(console.width, 160)
    console.print(table)
    return 0


def _quality(results: dict[str, dict[str, Any]], metric: str) -> str:
    """The gate metric on each data set, with what it cost there; "not measured" where nothing is known."""
    parts = []
    for data, values in results.items():
        costs = [f"{values['parameters']:,.0f} parameters"] if "parameters" in values else []
        costs += [f"fit {values['seconds_to_fit']:,.0f} s"] if "seconds_to_fit" in values else []
        parts.append(f"{data} {values[metric]:.4f}" + (f" ({', '.join(costs)})" if costs else ""))
    return "; ".join(parts) or "not measured"


if __name__ == "__main__":
    sys.exit(main())
