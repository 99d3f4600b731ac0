"""Scores of fitted variants, kept beside them, so that a long comparison goes on where it stopped."""

from __future__ import annotations

import hashlib
import json
import pathlib
from typing import Any

import pandas as pd

from benchmarks import predictions
from tfx_pipeline import local_runner, source_hash


class ScoreStore:
    """Finds what was scored by the same code, on the same tables, for the same task.

    Args:
      place: of the pipeline whose tables are asked about.
      task: of `benchmarks.quality`.
      validation: whether the validation events are asked for.
    """

    def __init__(self, place: local_runner.Place, task: str, validation: bool) -> None:
        code = source_hash.source_hash(["benchmarks", "tfx_pipeline.raw_tables"])
        content = json.dumps([task, validation, code, local_runner.examples_fingerprint_of(place)])
        self._key = hashlib.sha256(content.encode()).hexdigest()[:16]

    def find(self, model: pathlib.Path) -> tuple[dict[str, Any], dict[str, pd.DataFrame]] | None:
        """The line and the rankings that were kept for a model; None if there are none.

        Args:
          model: folder of its SavedModel.
        """
        file = self._file(model)
        if not file.is_file():
            return None
        kept = json.loads(file.read_text(encoding="utf-8"))
        return kept["line"], {name: pd.read_parquet(self._table(model, name)) for name in kept["rankings"]}

    def keep(self, model: pathlib.Path, line: dict[str, Any], rankings: dict[str, pd.DataFrame]) -> None:
        """Keeps a line and rankings; the line is written last, so what is found is whole."""
        for name, ranking in rankings.items():
            predictions.write(ranking, self._table(model, name))
        file = self._file(model)
        partial = file.with_suffix(".partial")
        partial.write_text(json.dumps({"line": line, "rankings": list(rankings)}), encoding="utf-8")
        partial.replace(file)

    def _file(self, model: pathlib.Path) -> pathlib.Path:
        return model.with_name(f"{model.name}_scores_{self._key}.json")

    def _table(self, model: pathlib.Path, name: str) -> pathlib.Path:
        return model.with_name(f"{model.name}_ranking_{self._key}_{name or 'all'}.parquet")
