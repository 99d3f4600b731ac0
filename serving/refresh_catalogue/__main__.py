"""`python -m serving.refresh_catalogue --model DIR --items FILE`: new items, prices and stock without training.

    python -m serving.refresh_catalogue --model runs/demo/serving/ranker --items items.csv
    python -m serving.refresh_catalogue --model runs/demo/serving/ranker --forbidden list.csv --forbidden journal.jsonl

A version is written beside the newest one of the folder. What cannot be done ends in one sentence and exit code 1.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import pathlib
import sys
from collections.abc import Sequence

from serving.refresh_catalogue.errors import RefreshError
from serving.refresh_catalogue.items_table import COLUMNS, read_items_table
from serving.rules.forbidden import ForbiddenError, read_forbidden


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit code."""
    options = _parser().parse_args(arguments)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        if not options.items and options.forbidden is None:
            raise RefreshError("nothing to refresh; expected --items FILE or --forbidden FILE.")
        table = None
        if options.items:
            table = read_items_table(pathlib.Path(options.items), _renamed(options.column))
        forbidden: frozenset[str] | None = None
        if options.forbidden is not None:
            forbidden = frozenset(item_id for file in options.forbidden for item_id in read_forbidden(file))
        from serving.refresh_catalogue.refresh import refresh  # what is wrong with a table is said without TensorFlow

        found = refresh(pathlib.Path(options.model), table, forbidden)
    except (RefreshError, ForbiddenError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if options.json:
        print(json.dumps(dataclasses.asdict(found)))
        return 0
    if found.version is None:
        print(f"Nothing is new: version {found.source} stays.")
        return 0
    print(f"version {found.source} -> {found.version}")
    for what, number in (
        ("new items", found.added),
        ("items that changed, embedded anew", found.changed),
        ("items no longer in the shop", found.removed),
        ("unknown items left out (no stock, or forbidden)", found.left_out),
        ("items that may be answered", found.answered),
        ("forbidden ids", found.forbidden),
        ("spare rows left", found.spare),
    ):
        print(f"  {number:>9,}  {what}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m serving.refresh_catalogue", description="A new version with other items, prices and stock."
    )
    parser.add_argument("--model", required=True, help="folder of versions, or a version's")
    parser.add_argument("--items", help="all items that the shop has: CSV (.gz) or Parquet")
    parser.add_argument(
        "--column", action="append", default=[], metavar="NAME=COLUMN", help=f"other name of {', '.join(COLUMNS)}"
    )
    parser.add_argument(
        "--forbidden",
        action="append",
        help="list of forbidden items, .csv or .jsonl, in place of the last one; repeatable",
    )
    parser.add_argument("--json", action="store_true", help="one document for programs")
    return parser


def _renamed(texts: Sequence[str]) -> dict[str, str]:
    pairs = [text.partition("=") for text in texts]
    for text, (name, _, column) in zip(texts, pairs, strict=True):
        if not name or not column:
            raise RefreshError(f"--column {text!r} cannot be read; expected NAME=COLUMN, such as item_id=sku.")
    return {name: column for name, _, column in pairs}


if __name__ == "__main__":
    sys.exit(main())
