"""A look at a shop's raw tables before any pipeline runs: `python -m tfx_pipeline.check --config C --data D`.

Prints what was read, what was left out and why, the range of dates, how many decisions each split would get, and one
decision as a person would read it. Bad input ends in one sentence and exit code 1.
"""

from __future__ import annotations

import argparse
import collections
import sys
from collections.abc import Iterable, Sequence

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tfx_pipeline import settings as settings_lib
from tfx_pipeline.example_gen.boundaries import iso
from tfx_pipeline.example_gen.decision import Decision
from tfx_pipeline.example_gen.decisions import SPLITS, Moment
from tfx_pipeline.example_gen.in_memory import Prepared, prepare
from tfx_pipeline.example_gen.user_log import UserLog
from tfx_pipeline.raw_tables.read import RawTables, read
from tfx_pipeline.raw_tables.rejects import DataError

#: Beyond so many events decisions are counted for the first users only.
_COUNTED_EVENTS = 2_000_000
_SHOWN_HISTORY, _SHOWN_NEGATIVES = 8, 5


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tfx_pipeline.check", description="A look at a shop's raw tables.")
    parser.add_argument("--config", required=True, help="a runnable configuration, such as configs/demo.yaml")
    parser.add_argument("--data", required=True, help="the folder of the tables, or the one file of the data set")
    parser.add_argument("--rejects", help="write the rows that were left out to this file, one JSON object a line")
    options = parser.parse_args(arguments)
    console = Console()
    try:
        settings = settings_lib.load(options.config)
        tables = read(settings.data, options.data)
        if options.rejects:
            try:
                tables.rejects.write(options.rejects)
            except OSError as error:
                raise DataError(f"{options.rejects}: cannot be written ({error.strerror}).") from None
        prepared = prepare(tables, settings)
        _print_tables(console, tables)
        _print_rejects(console, tables, options.rejects)
        _print_decisions(console, prepared)
    except (DataError, settings_lib.SettingsError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _print_tables(console: Console, tables: RawTables) -> None:
    events = tables.events
    rows = [
        ("events", len(events), f"{iso(events['timestamp'].min())} to {iso(events['timestamp'].max())} UTC"),
        *((f"  {name}", number, "") for name, number in events["event_type"].value_counts().items()),
        ("items", len(tables.items), f"{events.loc[events['item_id'] != '', 'item_id'].nunique():,} with events"),
        ("users", len(tables.users), f"{events['user_id'].nunique():,} with events"),
        ("reviews", len(tables.reviews), ""),
        ("relations", len(tables.relations), ""),
    ]
    _print(console, "What was read", ("table", ">rows", "about"), rows)


def _print_rejects(console: Console, tables: RawTables, file: str | None) -> None:
    counts = tables.rejects.counts
    if not counts:
        console.print("No row was left out.\n")
        return
    _print(
        console, "What was left out or noted", ("table", "what", "why", ">rows"), [(*k, n) for k, n in counts.items()]
    )
    if file:
        console.print(Text(f"The rows are in {file}.\n"))


def _print_decisions(console: Console, prepared: Prepared) -> None:
    boundaries, decisions = prepared.builder.boundaries, prepared.settings.decisions
    numbers: collections.Counter[str] = collections.Counter()
    labels: collections.Counter[str] = collections.Counter()
    left_out: collections.Counter[str] = collections.Counter()
    best: tuple[tuple[int, int], UserLog, Moment] | None = None
    events = users = 0
    for log in prepared.logs():
        if events > _COUNTED_EVENTS:
            break
        events, users = events + len(log.times), users + 1
        for moment in prepared.builder.moments(log, left_out):
            numbers[moment.split] += 1
            bought = len(np.unique(log.items[moment.labels]))
            kept = min(bought, decisions.max_positives, decisions.candidates)
            labels[moment.split] += kept
            left_out[f"{moment.split}: positives beyond max_positives"] += bought - kept
            rank = _as_an_example(log, moment)
            if best is None or rank < best[0]:
                best = rank, log, moment
    about = {
        "train": f"from {iso(boundaries.train_start)}, labels until {iso(boundaries.train_until)}",
        "eval": f"from {iso(boundaries.train_until)}, labels until {iso(boundaries.eval_until)}",
        "recent": "for the final fit",
    }
    if decisions.split == settings_lib.LEAVE_ONE_OUT:
        console.print("Times below are on the clock of leave_one_out: a day for each label event.\n")
        about |= {"train": "all label events of a user but the last two", "eval": "the last but one of each user"}
    title = "Decisions" if events == len(prepared.tables.events) else f"Decisions of the first {users:,} users"
    _print(
        console,
        title,
        ("split", ">decisions", ">positives", "when (UTC)"),
        [(split, numbers[split], labels[split], about[split]) for split in SPLITS],
    )
    if counted := sorted((+left_out).items()):
        _print(console, "Left out of the decisions", ("what", ">number"), counted)
    if best is None:
        kinds = ", ".join(decisions.label_event_types)
        raise DataError(
            f"no decision can be made: no user has an event of type {kinds} "
            f"where a decision may lie; expected some between {iso(boundaries.train_start)} and "
            f"{iso(boundaries.eval_until)}."
        )
    _, log, moment = best
    _print_example(console, prepared, prepared.builder.build(log, moment))


def _as_an_example(log: UserLog, moment: Moment) -> tuple[int, int]:
    """How good an example a decision is, lower is better: from `eval`, with a query, a short but telling history."""
    past = int(np.searchsorted(log.times, moment.time))
    return (SPLITS.index(moment.split) != 1) * 4 + (not moment.query) * 2 + (not 3 <= past <= 40), moment.time


def _print_example(console: Console, prepared: Prepared, decision: Decision) -> None:
    items = prepared.builder.table
    titles = dict(zip(items.ids, items.titles, strict=True))
    console.rule(Text(f"One decision of {decision.split}: user {decision.user_id}, {iso(decision.time)} UTC"))
    for name, value in (
        {"searched for": decision.query} | decision.context | {"profile": decision.profile_text}
    ).items():
        if value:
            console.print(Text(f"{name}: {value}"))
    past = list(zip(decision.history_timestamps, decision.history_event_types, decision.history_item_ids, strict=True))
    _print(
        console,
        f"The newest {min(len(past), _SHOWN_HISTORY)} of {len(past)} earlier events",
        ("when", "what", "item"),
        [(iso(when), kind, titles[item]) for when, kind, item in past[-_SHOWN_HISTORY:]],
    )
    real = [
        (item, label) for item, label in zip(decision.candidate_item_ids, decision.labels, strict=True) if label >= 0
    ]
    positives = [titles[item] for item, label in real if label > 0]
    others = [titles[item] for item, label in real if label == 0]
    _print(
        console,
        f"To be ranked: {len(real)} items, {len(positives)} of them right",
        ("right?", "item"),
        [("yes", title) for title in positives[:_SHOWN_HISTORY]]
        + [("yes", f"... and {len(positives) - _SHOWN_HISTORY} more")] * (len(positives) > _SHOWN_HISTORY)
        + [("no", title) for title in others[:_SHOWN_NEGATIVES]]
        + [("no", f"... and {len(others) - _SHOWN_NEGATIVES} more")] * (len(others) > _SHOWN_NEGATIVES),
    )


def _print(console: Console, title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A table; columns that begin with ">" are aligned to the right."""
    table = Table(title=Text(title), title_justify="left")
    for column in columns:
        table.add_column(column.lstrip(">"), justify="right" if column.startswith(">") else "left")
    for row in rows:
        table.add_row(*(Text(f"{cell:,}" if isinstance(cell, int) else str(cell)) for cell in row))
    console.print(table)


if __name__ == "__main__":
    sys.exit(main())
