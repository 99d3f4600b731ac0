"""How well a pushed model tells what is clicked: one JSON line per model on the standard output.

    python -m benchmarks.clicks --config configs/clicks.yaml --data PATH \
        [--servable DIR] [--model NAME …] [--variant …] [--validation]

What is scored is all that was shown from `decisions.eval_until` on, or with `--validation` in the window of the eval
split, by the signature `rank` of the SavedModel that was pushed last (or of DIR), whose scores are taken for logits.
Metrics are those of `models.click_metrics`; `pooled_auc_95` is a bootstrap interval over users, `reliability` the curve
as [mean probability, share clicked, impressions].

Baselines in the same run: `click_rate` (the rate of all impressions before), `item_click_rate` (each item's, drawn
towards it; how strongly is chosen on the eval split). Where the data is a synthetic shop also its `oracle` (the true
probability) and `oracle_without_position` (without the place in the slate, which no request holds); `share_of_oracle`
is (pooled_auc - 1/2) by the same of the oracle.

`--model` and `--variant` fit on the examples of the last run of the pipeline, as `benchmarks.quality` does.

Exits with 0, or with 1 and one sentence.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import pathlib
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from benchmarks import variants
from benchmarks.impressions import Impressions, click_rates, oracle_scores, read_impressions
from benchmarks.servable import Servable, ServableError, check_held_out, newest_version
from models.click_metrics import LOG_LOSS, POOLED_AUC, ClickMetrics
from serving import contract
from tfx_pipeline import local_runner
from tfx_pipeline import settings as settings_lib
from tfx_pipeline.example_gen.boundaries import iso
from tfx_pipeline.raw_tables.read import RawTables, read
from tfx_pipeline.raw_tables.rejects import DataError

TASK = "click"

#: Of `item_click_rate`: impressions that the rate of all items weighs.
STRENGTHS = (5.0, 20.0, 50.0, 100.0, 200.0)

RESAMPLES, SEED = 200, 7


def measure(shown: Impressions, scores: Sequence[np.ndarray]) -> dict[str, Any]:
    """What a JSON line says of scores, a row of logits for each decision."""
    metrics = ClickMetrics()
    for labels, row, user in zip(shown.labels, scores, shown.users, strict=True):
        metrics.update(labels, row, [user])
    curve = [[round(b.predicted, 4), round(b.clicked, 4), b.count] for b in metrics.reliability()]
    found = {"task": TASK, "boundary": iso(shown.boundary), "decisions": len(shown.requests)}
    found |= {"impressions": metrics.candidates, "clicks": shown.clicks}
    return {**found, **metrics.result(), "pooled_auc_95": _interval(shown, scores), "reliability": curve}


def baselines(settings: settings_lib.Settings, tables: RawTables, before: Impressions, shown: Impressions) -> Any:
    """(name, scores, more to say) of each baseline."""
    earlier, window = read_impressions(settings, tables, validation=True)

    def loss(strength: float) -> float:
        scores = click_rates(earlier, window, strength)
        metrics = ClickMetrics([LOG_LOSS])
        for labels, row in zip(window.labels, scores, strict=True):
            metrics.update(labels, row)
        return metrics.result()[LOG_LOSS]

    strength = min(STRENGTHS, key=loss)
    yield "click_rate", click_rates(before, shown, math.inf), {}
    yield "item_click_rate", click_rates(before, shown, strength), {"strength": strength}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.clicks", description="Click probabilities of a model.")
    parser.add_argument("--config", required=True, help="a runnable configuration, such as configs/clicks.yaml")
    parser.add_argument("--data", required=True, help="the folder of the tables")
    parser.add_argument("--servable", help="a SavedModel, or a folder of versions; default: what was pushed last")
    parser.add_argument("--validation", action="store_true", help="what was shown in the window of the eval split")
    parser.add_argument("--variant", action="append", default=[], metavar="NAME=KEY=VALUE[,…]")
    parser.add_argument("--model", action="append", default=[], metavar="NAME", help="another entry of the zoo too")
    options = parser.parse_args(arguments)
    out = sys.stdout
    try:
        with contextlib.redirect_stdout(sys.stderr):
            for line in _lines(options):
                print(json.dumps(line, allow_nan=False), file=out, flush=True)
    except (settings_lib.SettingsError, DataError, ServableError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _lines(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    names = {"PIPELINE_CONFIG": options.config, "PIPELINE_DATA": options.data}
    place = local_runner.Place.from_environment({**os.environ, **names})
    settings = place.settings
    model = newest_version(options.servable or place.serving)
    if options.validation:
        check_held_out(model)
    tables = read(settings.data, place.data)
    before, shown = read_impressions(settings, tables, options.validation)
    if not 0 < shown.clicks < sum(map(len, shown.labels)):
        raise DataError(
            f"{place.data}: of what was shown from {iso(shown.boundary)} on {shown.clicks} were clicked; expected "
            "some, and not all."
        )
    oracle = oracle_scores(pathlib.Path(str(place.data)), tables, shown) or {}
    best = {}
    for name, scores in oracle.items():
        line = measure(shown, scores)
        best[name] = line[POOLED_AUC] - 0.5
        yield {"model": name, **line}

    def share(line: dict[str, Any]) -> dict[str, Any]:
        shares = {f"share_of_{name}": (line[POOLED_AUC] - 0.5) / top for name, top in best.items()}
        return {**line, **shares}

    for name, scores, more in baselines(settings, tables, before, shown):
        yield share({"model": name, **measure(shown, scores), **more})
    yield share(_of_servable(model, settings, shown))
    chosen = [variants.entry(name, place) for name in options.model]
    chosen += [variants.parse(text, settings, options.config) for text in options.variant]
    for variant in chosen:
        fit = variants.fit(variant, place, validation=options.validation)
        line = _of_servable(fit.path, variant.settings, shown)
        yield share({**line, "variant": variant.name, "seconds_to_fit": round(fit.seconds, 1)})


def _of_servable(path: pathlib.Path, settings: settings_lib.Settings, shown: Impressions) -> dict[str, Any]:
    servable = Servable(path, settings.data.context, contract.RANK)
    scores = servable.score(shown.requests)
    return {
        "model": settings.model.entry,
        "servable": servable.place,
        **measure(shown, scores),
        "final": servable.final,
        "seconds_to_score": round(servable.seconds, 3),
        "parameters": servable.parameters,
        "seed": settings.train.seed,
    }


def _interval(shown: Impressions, scores: Sequence[np.ndarray]) -> list[float]:
    """2.5% and 97.5% of the pooled AUC over users drawn with replacement."""
    users, places = np.unique(shown.users, return_inverse=True)
    rows: list[list[int]] = [[] for _ in users]
    for row, place in enumerate(places):
        rows[place].append(row)
    random = np.random.default_rng(SEED)
    values = []
    for _ in range(RESAMPLES):
        metrics = ClickMetrics([POOLED_AUC])
        drawn = [row for place in random.integers(len(users), size=len(users)) for row in rows[place]]
        metrics.update(np.concatenate([shown.labels[row] for row in drawn]), np.concatenate([scores[r] for r in drawn]))
        values.append(metrics.result()[POOLED_AUC])
    return [round(float(value), 4) for value in np.nanpercentile(values, [2.5, 97.5])]


if __name__ == "__main__":
    sys.exit(main())
