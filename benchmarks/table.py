"""README's tables of measured quality, made from what the benchmarks printed.

    python -m benchmarks.table [--check]

`benchmarks/results/NAME.jsonl` holds the lines of one data set and task, as they were printed, but for `variant`, where
a name that the table can show stands in place of the run's (of pushed models too). They are made into a
table in README.md between `<!-- results: NAME -->` and `<!-- end -->`, and, for the zoo's entries, into
`models/measured.json`, which `python -m models list` and README's table of the zoo, between `<!-- zoo -->` and
`<!-- end -->`, show; `NAME_ablations.jsonl` compares parts of one model and is made into a table alone. `--check`
writes nothing and exits with 1 where one of them is not what the results say.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import re
import statistics
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks import variants
from models import registry
from models.measured import describe

ROOT = pathlib.Path(__file__).resolve().parents[1]
RESULTS = "benchmarks/results"
MEASURED = "models/measured.json"

#: Behind the name of results that compare parts of a model, and say nothing new of an entry.
ABLATIONS = "_ablations"
#: Behind the name of what a benchmark counts itself, where an entry of the zoo has the same.
BASELINE = " (baseline)"

Line = dict[str, Any]

_BLOCK = re.compile(r"(<!-- results: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
_ZOO = re.compile(r"(<!-- zoo -->\n).*?(<!-- end -->)", re.DOTALL)

#: Columns of a table: key of a line -> heading; those that no line has are left out. Rows go by the first there is.
COLUMNS = {
    "pooled_auc": "AUC",
    "gauc": "GAUC",
    "log_loss": "log loss",
    "ece": "ECE",
    "tag_macro_f1": "macro-F1",
    "tag_micro_f1": "micro-F1",
    "share_of_oracle": "share of the oracle",
    "ndcg@10": "NDCG@10",
    "recall@10": "recall@10",
    "hr@10": "HR@10",
    "novel_ndcg@10": "novel NDCG@10",
    "no_history_recall@10": "recall@10 without history",
    "no_history_ndcg@10": "NDCG@10 without history",
    "typo_recall@10": "recall@10 with a typo",
    "typo_ndcg@10": "NDCG@10 with a typo",
}
#: What lines say of the difference to the whole model.
DIFFERENCES = {"ndcg@10_more": "NDCG@10 more (95%)", "novel_ndcg@10_more": "novel more (95%)"}
COSTS = {"parameters": "parameters", "seconds_to_fit": "fit, s", "seconds_to_score": "score, s"}


@dataclass(frozen=True)
class Row:
    """The lines of one model, one a seed.

    Attributes:
      name: of the model or variant.
      final: whether it was fitted on the validation events too.
      lines: as they were printed.
    """

    name: str
    final: bool
    lines: list[Line]

    def values(self, key: str) -> list[float]:
        """What the lines say of a key; none where they do not."""
        return [line[key] for line in self.lines if line.get(key) is not None]


def read(file: pathlib.Path) -> list[Line]:
    """The lines of a results file.

    Raises:
      ValueError: if one is no JSON object.
    """
    found = []
    for number, text in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        try:
            found.append(dict(json.loads(text)))
        except (ValueError, TypeError):
            raise ValueError(
                f"{file}, line {number}: is no JSON object; expected what benchmarks.quality prints."
            ) from None
    return found


def rows(lines: Iterable[Line]) -> list[Row]:
    """Lines of the same model together, the newest of each seed, the best first."""
    found: dict[tuple[str, bool], Row] = {}
    for line in lines:
        variant = line.get("variant")
        # The configuration fitted again, with another seed, is no other model than what was pushed.
        name = line["model"] if variant in (None, variants.ALL_PARTS) else variant
        if name in registry.names() and "servable" not in line:
            name = f"{name}{BASELINE}"
        key = (str(name), bool(line.get("final")))
        row = found.setdefault(key, Row(*key, []))
        # What was pushed and its configuration fitted again with the same seed are one fit.
        row.lines[:] = [other for other in row.lines if line.get("seed") is None or other.get("seed") != line["seed"]]
        row.lines.append(line)
    first = next((key for key in COLUMNS if any(row.values(key) for row in found.values())), "")
    return sorted(found.values(), key=lambda row: -statistics.mean(row.values(first) or [0.0]))


def markdown(lines: Sequence[Line]) -> str:
    """A table of results: mean over seeds, with the standard deviation where there are several."""
    found = rows(lines)
    quality = [key for key in COLUMNS if any(row.values(key) for row in found)]
    differences = [key for key in DIFFERENCES if any(_difference(row, key) for row in found)]
    costs = [key for key in COSTS if any(row.values(key) for row in found)]
    final = any(row.final for row in found) and not all(row.final for row in found)
    heads = ["model", *(["validation events"] if final else []), *(COLUMNS[key] for key in quality)]
    heads += [*(DIFFERENCES[key] for key in differences), "seeds"]
    heads += [COSTS[key] for key in costs]
    table = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for row in found:
        told = any(line.get("final") is not None for line in row.lines)
        cells = [f"`{row.name}`", *([("trained on" if row.final else "held out" if told else "–")] if final else [])]
        cells += [_share(row.values(key)) for key in quality]
        cells += [_difference(row, key) or "–" for key in differences]
        cells.append(", ".join(str(line["seed"]) for line in row.lines if line.get("seed") is not None) or "–")
        cells += [_number(row.values(key)) for key in costs]
        table.append("| " + " | ".join(cells) + " |")
    return "\n".join(table) + "\n"


def measured(results: dict[str, list[Line]]) -> dict[str, dict[str, Any]]:
    """Entry -> data set -> metrics, parameters and seconds, as far as they were measured."""
    found: dict[str, dict[str, Any]] = {name: {} for name in registry.names()}
    for data, lines in sorted(results.items()):
        if data.endswith(ABLATIONS):
            continue
        by_entry: dict[str, Row] = {}
        # Where there are both, what has not seen the validation events.
        for row in sorted(rows(lines), key=lambda row: row.final):
            model = str(row.lines[0]["model"])
            # Of an entry, what was pushed or fitted by its own configuration; variants are other models.
            if model in found and row.name == model:
                by_entry.setdefault(model, row)
        for model, row in by_entry.items():
            said = {key: statistics.mean(row.values(key)) for key in (*COLUMNS, *COSTS) if row.values(key)}
            found[model][data] = {key: round(value, 4) for key, value in said.items()}
    return {name: data for name, data in found.items() if data}


def zoo(results: dict[str, dict[str, dict[str, Any]]]) -> str:
    """README's table of the zoo.

    Args:
      results: of `measured`.
    """
    table = ["| entry | what it is for | gate metric | measured |", "|---|---|---|---|"]
    for name in registry.names():
        entry = registry.entry(name)
        said = describe(results.get(name, {}), entry.gate_metric)
        table.append(f"| `{name}` | {entry.purpose} | `{entry.gate_metric}` | {said} |")
    return "\n".join(table) + "\n"


def _share(values: Sequence[float]) -> str:
    if not values:
        return "–"
    mean = f"{statistics.mean(values):.4f}".removeprefix("0").replace("-0.", "−.")
    if len(values) == 1:
        return mean
    return mean + " ± " + f"{statistics.stdev(values):.4f}".removeprefix("0")


def _difference(row: Row, key: str) -> str:
    """Signed, with the interval where there is one line; "" for the model itself, and where no line says it."""
    values = [] if row.lines[0].get("variant") in (None, variants.ALL_PARTS) else row.values(key)
    if not values:
        return ""
    mean, *edges = (
        f"{value:+.4f}".replace("+0.", "+.").replace("-0.", "−.")
        for value in (statistics.mean(values), *(row.lines[0][f"{key}_95"] if len(row.lines) == 1 else ()))
    )
    return f"{mean} ({edges[0]} to {edges[1]})" if edges else mean


def _number(values: Sequence[float]) -> str:
    return f"{statistics.mean(values):,.0f}" if values else "–"


def main(arguments: Sequence[str] | None = None, root: pathlib.Path = ROOT) -> int:
    """Runs the command; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.table", description="README's tables of quality.")
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit with 1 where something is out of step"
    )
    check = parser.parse_args(arguments).check
    try:
        results = {file.stem: read(file) for file in sorted((root / RESULTS).glob("*.jsonl"))}
        wanted = {
            root / "README.md": _filled((root / "README.md").read_text(encoding="utf-8"), results),
            root / MEASURED: json.dumps(measured(results), indent=1, sort_keys=True) + "\n",
        }
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    stale = [file for file, text in wanted.items() if not file.exists() or file.read_text(encoding="utf-8") != text]
    for file in stale:
        if check:
            print(f"error: {file.name} is not what {RESULTS} says; run python -m benchmarks.table.", file=sys.stderr)
        else:
            file.write_text(wanted[file], encoding="utf-8")
            print(f"{file.name} written.")
    return 1 if check and stale else 0


def _filled(readme: str, results: dict[str, list[Line]]) -> str:
    def table(block: re.Match[str]) -> str:
        if block[2] not in results:
            raise ValueError(f"README.md has a table of {block[2]!r}; expected {RESULTS}/{block[2]}.jsonl.")
        return f"{block[1]}\n{markdown(results[block[2]])}\n{block[3]}"

    entries = zoo(measured(results))
    filled, number = _ZOO.subn(lambda block: f"{block[1]}\n{entries}\n{block[2]}", _BLOCK.sub(table, readme))
    if number != 1:
        raise ValueError(f"README.md has {number} tables of the zoo; expected one, from <!-- zoo --> to <!-- end -->.")
    return filled


if __name__ == "__main__":
    sys.exit(main())
