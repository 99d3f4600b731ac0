"""`python -m serving.review list|approve|ban|unban|history|scan --dir DIR`: the queue of items that a person looks at.

    python -m serving.review list --dir DIR
    python -m serving.review ban --dir DIR --item i000176 --reason "a copy" --by anna
    python -m serving.review scan --dir DIR --rules configs/serving/rules.yaml --items items.csv

DIR is there already; for a new queue, make it. `scan` puts into the queue what `review_if` of the rules is about. What
cannot be done ends in one sentence and exit code 1.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from serving.review.entry import Entry
from serving.review.queue import ReviewQueue
from serving.review.state import ReviewError

_SHOWN = 20
_DONE = {"approve": "approved", "ban": "banned", "unban": "no longer banned"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        queue = ReviewQueue(options.dir)
        is_new = not queue.path.exists()
        if options.command == "list":
            _print_waiting(queue)
        elif options.command == "history":
            _print("What was said and done", queue.history(options.item))
        elif options.command == "scan":
            _scan(queue, options)
        else:
            getattr(queue, options.command)(options.item, options.reason, by=options.by)
            print(f"{options.item} is {_DONE[options.command]}.")
        if is_new:
            print(f"{queue.path} {'is new' if queue.path.exists() else 'is not there yet'}.")
    except ReviewError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m serving.review", description="Items that a person has to look at.")
    commands = parser.add_subparsers(dest="command", required=True)

    def command(name: str, purpose: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=purpose, description=purpose)
        made.add_argument("--dir", required=True, help="the queue's folder, `review.dir` of the rules")
        return made

    command("list", "what waits")
    history = command("history", "all that was said and done")
    history.add_argument("--item", help="of one item only")
    for name, purpose in (
        ("approve", "take an item out of the queue"),
        ("ban", "forbid an item"),
        ("unban", "allow a banned item again"),
    ):
        made = command(name, purpose)
        made.add_argument("--item", required=True, help="its id")
        made.add_argument("--reason", required=name == "ban", default="", help="why")
        made.add_argument("--by", required=True, help="who decides")
    scanner = command("scan", "put into the queue what `review_if` of the rules is about")
    scanner.add_argument("--rules", required=True, help="YAML, such as configs/serving/rules.yaml")
    scanner.add_argument("--items", required=True, help="the table of items")
    scanner.add_argument("--column", action="append", default=[], help="further text column that rules name")
    scanner.add_argument("--context", action="append", default=[], help="declared context column, if not country")
    return parser


def _scan(queue: ReviewQueue, options: argparse.Namespace) -> None:
    # Here, so that a ban does not wait for pandas.
    from serving.rules.catalogue import Catalogue
    from serving.rules.catalogue_table import CatalogueError
    from serving.rules.reader import RulesError
    from serving.rules.review_scan import TITLE, needs_titles, scan
    from serving.rules.rule_set import RuleSet
    from serving.rules.where import STANDARD_FIELDS

    columns = list(options.column)
    try:
        rules = RuleSet.load(options.rules, (*STANDARD_FIELDS, *columns), options.context or ("country",))
        if not rules.review_if:
            raise ReviewError(f"{options.rules}: has no `review_if`; expected what is to be looked for.")
        if needs_titles(rules):
            columns = [*dict.fromkeys([*columns, TITLE])]
        found = scan(rules, Catalogue.read(options.items, columns).snapshot, queue)
    except (RulesError, CatalogueError) as error:
        raise ReviewError(str(error)) from None
    print(f"Items that are new in the queue: {len(found)}.")
    for item_id in found[:_SHOWN]:
        print(f"  {item_id}")
    if len(found) > _SHOWN:
        print(f"  and {len(found) - _SHOWN} more")


def _print_waiting(queue: ReviewQueue) -> None:
    waiting = queue.waiting()
    if not waiting:
        print("No item waits.")
        return
    _print(f"{len(waiting)} items wait", [entry for entries in waiting.values() for entry in entries])


def _print(title: str, entries: Sequence[Entry]) -> None:
    table = Table("time", "action", "item", "by", "reason", title=Text(title), title_justify="left")
    for entry in entries:
        table.add_row(*map(Text, (entry.time, entry.action, entry.item_id, entry.by, entry.reason)))
    console = Console(file=sys.stdout)
    console.width = max(console.width, 120)
    console.print(table)


if __name__ == "__main__":
    sys.exit(main())
