"""`python -m models list`: the zoo's entries, what each is for, how it is judged and asked, and what was measured."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from models import measured, registry


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m models", description=__doc__.partition(":")[2].strip())
    parser.add_argument("command", choices=["list"], help="list: the entries")
    parser.parse_args(arguments)
    results = measured.read()
    table = Table("entry", "task", "gate metric", "signatures", "what it is for", "measured", box=None)
    for name in registry.names():
        entry = registry.entry(name)
        quality = measured.describe(results.get(name, {}), entry.gate_metric)
        table.add_row(name, entry.task, entry.gate_metric, ", ".join(entry.signatures), entry.purpose, quality)
    console = Console(file=sys.stdout)
    console.width = max(console.width, 160)
    console.print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
