"""`python -m serving.rules check|bench`: whether rules can be used, what they are about, what they cost.

    python -m serving.rules check --rules configs/serving/rules.yaml --items items.csv
    python -m serving.rules bench

`check` reads rules and catalogue as the engine does and prints how many items each rule is about; values that no item
has are named on the standard error. `bench` prints one JSON line. What cannot be used ends in one sentence and exit
code 1.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from serving.rules import bench
from serving.rules.candidates import Candidates
from serving.rules.catalogue import Catalogue
from serving.rules.catalogue_table import CatalogueError
from serving.rules.engine import Engine
from serving.rules.kinds import Pin, Rule
from serving.rules.reader import RulesError
from serving.rules.rule_set import RuleSet
from serving.rules.where import STANDARD_FIELDS, Where


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        if options.command == "check":
            _check(options)
        else:
            rules = RuleSet.load(options.rules)
            limit = options.limit or None
            line = bench.measure(rules, options.candidates, options.catalogue, options.width, options.runs, limit)
            print(json.dumps(line))
    except (RulesError, CatalogueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m serving.rules", description="Business rules after ranking.")
    commands = parser.add_subparsers(dest="command", required=True)
    check = commands.add_parser("check", help="whether rules can be used, and what they are about")
    check.add_argument("--rules", required=True, help="YAML, such as configs/serving/rules.yaml")
    check.add_argument("--items", required=True, help="the table of items, CSV or Parquet")
    check.add_argument("--column", action="append", default=[], help="further text column that rules name")
    check.add_argument("--context", action="append", default=[], help="declared context column, if not country")
    timed = commands.add_parser("bench", help="how long they take, as one JSON line")
    timed.add_argument("--rules", default="configs/serving/rules.yaml", help="YAML; default %(default)s")
    timed.add_argument("--candidates", type=int, default=500, help="of each ranking; default %(default)s")
    timed.add_argument("--catalogue", type=int, default=100_000, help="items; default %(default)s")
    timed.add_argument("--width", type=int, default=64, help="of the items' vectors, 0 for none; default %(default)s")
    timed.add_argument("--limit", type=int, default=100, help="items answered, 0 for all; default %(default)s")
    timed.add_argument("--runs", type=int, default=2000, help="answers that are measured; default %(default)s")
    return parser


def _check(options: argparse.Namespace) -> None:
    rules = RuleSet.load(options.rules, (*STANDARD_FIELDS, *options.column), options.context or ("country",))
    catalogue = Catalogue.read(options.items, options.column)
    Engine(rules, catalogue)
    snapshot = catalogue.snapshot
    everything = Candidates(dict(snapshot.index), snapshot)
    table = Table("rules", "rule", "kind", "items", title=Text(f"{len(everything):,} items"), title_justify="left")
    for arm, some in {"": rules.rules, **rules.overlays}.items():
        for rule in some:
            if arm and rule in rules.rules:
                continue
            table.add_row(*map(Text, (arm, rule.name, rule.KIND, f"{_about(rule, everything):,}")))
            where = getattr(rule, "where", Where())
            for name, value in where.unknown_values(snapshot.texts):
                print(f"note: rule `{rule.name}`: no item has the {name} {value!r}.", file=sys.stderr)
    Console(file=sys.stdout).print(table)


def _about(rule: Rule, everything: Candidates) -> int:
    """How many items a rule is about, whoever asks."""
    if isinstance(rule, Pin):
        return int(rule.item in everything.snapshot.index)
    return int(getattr(rule, "where", Where()).mask(everything, time.time()).sum())


if __name__ == "__main__":
    sys.exit(main())
