"""What ExampleGen says of its work: `counts.json` and `rejects.jsonl`, and a few lines for a person."""

from __future__ import annotations

import collections
import json
import pathlib
import tempfile
from collections.abc import Iterable
from typing import Any

from tfx.dsl.io import fileio

from tfx_pipeline.example_gen.boundaries import Boundaries, iso
from tfx_pipeline.example_gen.decisions import SPLITS
from tfx_pipeline.example_gen.item_table import ItemStats, ItemTable
from tfx_pipeline.raw_tables.rejects import Rejects

#: Files beside the splits of the Examples artifact; no split reader looks there.
COUNTS_FILE, REJECTS_FILE = "counts.json", "rejects.jsonl"

#: Keys of the counters that `report` takes out of the reasons for what was left out.
EVENTS, USERS, DECISIONS, POSITIVES = "events", "users", "decisions of ", "positives of "


def report(
    counters: Iterable[collections.Counter[str]],
    rejects: Rejects,
    table: ItemTable,
    stats: ItemStats,
    boundaries: Boundaries,
    times: tuple[int, int],
) -> dict[str, Any]:
    """Everything that was counted, as JSON-able values.

    Args:
      counters: of the shards.
      rejects: of all tables.
      table, stats: the items.
      boundaries: of the splits.
      times: of the first and the last event.
    """
    total: collections.Counter[str] = collections.Counter()
    for counter in counters:
        total.update(counter)
    known = stats.known_from(table) < boundaries.eval_until
    if table.relations is not None:
        ones, _, others = table.relations
        total["relations to items first seen from eval_until on"] = int((known[ones] & ~known[others]).sum())
    return {
        "events": total.pop(EVENTS, 0),
        "users": total.pop(USERS, 0),
        "items": len(table),
        "first_event": iso(times[0]),
        "last_event": iso(times[1]),
        "train_start": iso(boundaries.train_start),
        "train_until": iso(boundaries.train_until),
        "eval_until": iso(boundaries.eval_until),
        "decisions": {split: total.pop(DECISIONS + split, 0) for split in SPLITS},
        "positives": {split: total.pop(POSITIVES + split, 0) for split in SPLITS},
        "catalogue": int(known.sum()),
        "rows": [[table, kind, reason, number] for (table, kind, reason), number in rejects.counts.items()],
        "left_out": {reason: number for reason, number in sorted(total.items()) if number}
        | ({"items first seen from eval_until on": int((~known).sum())} if not known.all() else {}),
    }


def write(content: dict[str, Any], rejects: Rejects, uri: str) -> None:
    """Writes both files below `uri`, a folder that any file system of TFX knows."""
    with tempfile.TemporaryDirectory() as folder:
        rejects.write(pathlib.Path(folder) / REJECTS_FILE)
        counts = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
        (pathlib.Path(folder) / COUNTS_FILE).write_text(counts, encoding="utf-8")
        fileio.makedirs(uri)
        for name in (REJECTS_FILE, COUNTS_FILE):
            fileio.copy(f"{folder}/{name}", f"{uri}/{name}", overwrite=True)


def describe(content: dict[str, Any]) -> list[str]:
    """The content of `counts.json` in a few lines for a person."""
    return [
        f"{content['events']:,} events of {content['users']:,} users and {content['items']:,} items, from "
        f"{content['first_event']} to {content['last_event']} UTC; train until {content['train_until']}, eval until "
        f"{content['eval_until']}.",
        *(
            f"{split}: {number:,} decisions with {content['positives'][split]:,} positives."
            for split, number in content["decisions"].items()
        ),
        f"catalogue: {content['catalogue']:,} items.",
        *(f"{table}: {number:,} rows {kind} ({reason})." for table, kind, reason, number in content["rows"]),
        *(f"left out: {number:,} {reason}." for reason, number in content["left_out"].items()),
    ]
