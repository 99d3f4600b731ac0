"""What the committed results of the benchmarks say of the zoo's entries."""

from __future__ import annotations

import json
import pathlib
from typing import Any

#: Entry -> data set -> what was measured there; written by `benchmarks.table`.
FILE = pathlib.Path(__file__).with_name("measured.json")


def read() -> dict[str, dict[str, dict[str, Any]]]:
    """Entry -> data set -> metrics, parameters, seconds; nothing of entries that were not measured."""
    found: dict[str, dict[str, dict[str, Any]]] = json.loads(FILE.read_text(encoding="utf-8"))
    return found


def describe(results: dict[str, dict[str, Any]], metric: str) -> str:
    """A metric on each data set, with what it cost there; "not measured" where nothing is known.

    Example:
      >>> describe({"beauty": {"ndcg@10": 0.055, "parameters": 12345, "seconds_to_fit": 9.6}}, "ndcg@10")
      'beauty .0550 (12,345 parameters, fit 10 s)'
    """
    parts = []
    for data, values in sorted(results.items()):
        if metric not in values:
            continue
        costs = [f"{values['parameters']:,.0f} parameters"] if "parameters" in values else []
        costs += [f"fit {values['seconds_to_fit']:,.0f} s"] if "seconds_to_fit" in values else []
        value = f"{values[metric]:.4f}".removeprefix("0")
        parts.append(f"{data} {value}" + (f" ({', '.join(costs)})" if costs else ""))
    return "; ".join(parts) or "not measured"
