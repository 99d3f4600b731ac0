"""How well a pushed tagger finds what texts of the synthetic shop are truly about: one JSON line per model.

    python -m benchmarks.tagging --config configs/demo.yaml --data runs/demo/data [--entry profile_tagger] \
        [--servable DIR]

Texts are the queries and reviews written between `decisions.train_until` and `decisions.eval_until`; their true tags
are the generator's (`tfx_pipeline.raw_tables.synthetic_tags`), which no model has seen: it learns from weak labels.
Macro and micro precision, recall and F1 over all texts, and macro-F1 of queries and of reviews alone. Beside the model:

* `oracle`: the generator's own P(tag | text); of each tag what maximises the F1 expected by these probabilities;
* `lexicon`: the tags that a text names, by longest match with what the catalogue before `train_until` calls things;
* `popularity`: the tags most frequent before `train_until`, the same for every text, as many as maximise micro-F1;
* `chance`: each tag said of texts at random, as often as it is true: its precision, recall and F1 are its frequency.

`share_of_oracle` is (macro-F1 - chance) / (oracle - chance). Thresholds of the model are those it was exported with,
chosen on weak labels of `eval` texts: of texts in the same window, but not of their true tags.

Everything but the lines goes to the error output. Exits with 0, or with 1 and one sentence.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import sys
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.servable import ServableError, newest_version
from models import features
from models.tag_metrics import AVERAGES, MEASURES, ratios
from serving import contract
from tfx_pipeline import local_runner
from tfx_pipeline import settings as settings_lib
from tfx_pipeline.example_gen.boundaries import Boundaries
from tfx_pipeline.example_gen.item_table import ItemStats, ItemTable
from tfx_pipeline.raw_tables import synthetic, synthetic_tags
from tfx_pipeline.raw_tables.read import read
from tfx_pipeline.raw_tables.rejects import DataError
from tfx_pipeline.raw_tables.synthetic_tags import TaggedText
from tfx_pipeline.tagging.texts import make_labeller

TASK = "tagging"
_BATCH = 256
Said = np.ndarray[Any, Any]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tagging", description="Tags against the truth.")
    parser.add_argument("--config", required=True, help="a runnable configuration, such as configs/demo.yaml")
    parser.add_argument("--data", required=True, help="folder of a synthetic shop")
    parser.add_argument("--entry", default="profile_tagger", help="the tagger; default %(default)s")
    parser.add_argument("--servable", help="a SavedModel, or a folder of versions; default: what was pushed last")
    options = parser.parse_args(arguments)
    try:
        for line in lines(options):
            print(json.dumps(line), flush=True)
    except (settings_lib.SettingsError, DataError, ServableError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def lines(options: argparse.Namespace) -> list[dict[str, Any]]:
    """What is printed.

    Args:
      options: of the command.
    """
    names = {"PIPELINE_CONFIG": options.config, "PIPELINE_DATA": options.data, "PIPELINE_ENTRY": options.entry}
    place = local_runner.Place.from_environment({**os.environ, **names})
    settings = place.settings
    model = newest_version(options.servable or place.serving)
    shop = synthetic.generate(synthetic.read_settings(pathlib.Path(options.data)))
    tables = read(settings.data, place.data)
    moments = tables.events["timestamp"]
    boundaries = Boundaries.resolve(settings.decisions, int(moments.min()), int(moments.max()))
    everything = synthetic_tags.query_texts(shop.sessions)
    everything += synthetic_tags.review_texts(shop.reviews, shop.catalogue)
    texts = [text for text in everything if boundaries.train_until <= text.time < boundaries.eval_until]
    before = [text for text in everything if text.time < boundaries.train_until]
    if not texts or not before:
        raise DataError(f"{options.data}: no query or review lies on each side of train_until; expected a longer log.")
    tags = synthetic_tags.all_tags()
    true = _matrix([text.tags for text in texts], tags)

    table = ItemTable(tables.items)
    partial = ItemStats.partial(tables.events, table, settings.decisions.label_event_types, boundaries)
    labeller = make_labeller(table, ItemStats.combine([partial], len(table)), boundaries, settings.tagging)
    oracle = synthetic_tags.Oracle(shop.catalogue, shop.sessions)
    started = time.monotonic()
    answers, parameters = ask(model, [text.text for text in texts])
    seconds = time.monotonic() - started
    run = json.loads((model / contract.RUN_FILE).read_text(encoding="utf-8"))
    said = {
        settings.model.entry: _matrix(answers, tags),
        "oracle": best_expected(oracle.probabilities(texts)),
        "lexicon": _matrix([labeller.named(text.text).keys() for text in texts], tags),
        "popularity": np.broadcast_to(_popular(_matrix([text.tags for text in before], tags)), true.shape),
    }
    chance = float(true.mean(0)[true.any(0)].mean())
    best = scores(true, said["oracle"])["tag_macro_f1"]
    found = []
    for name, matrix in said.items():
        metrics = _parts(true, matrix, texts)
        line: dict[str, Any] = {"task": TASK, "model": name, "n": len(texts), **metrics}
        line["share_of_oracle"] = (metrics["tag_macro_f1"] - chance) / (best - chance)
        if name == settings.model.entry:
            line |= {
                "servable": str(model),
                "final": run["final"],
                "parameters": parameters,
                "seconds_to_score": round(seconds, 3),
                "seed": run["seed"],
            }
        found.append(line)
    return [*found, {"task": TASK, "model": "chance", "n": len(texts), "tag_macro_f1": chance, "share_of_oracle": 0.0}]


def scores(true: Said, said: Said) -> dict[str, float]:
    """Macro and micro precision, recall and F1; macro over the tags that are true of a text at least once.

    Args:
      true, said: bool [texts, tags].
    """
    counts = np.stack([(true & said).sum(0), (~true & said).sum(0), (true & ~said).sum(0)]).astype(float)
    found = {}
    for average in AVERAGES:
        part = counts[:, true.any(0)] if average == "macro" else counts.sum(1, keepdims=True)
        for measure, value in zip(MEASURES, ratios(*part), strict=True):
            found[f"tag_{average}_{measure}"] = float(value.mean())
    return found


def best_expected(probability: np.ndarray) -> Said:
    """For each tag the texts of which saying it gives the highest F1 that these probabilities let expect.

    Args:
      probability: float [texts, tags].

    Returns:
      bool [texts, tags].
    """
    said = np.zeros(probability.shape, bool)
    for tag, column in enumerate(probability.T):
        order = np.argsort(-column, kind="stable")
        hits = np.cumsum(column[order])
        expected = 2 * hits / (np.arange(1, len(order) + 1) + column.sum())
        said[order[: int(np.argmax(expected)) + 1], tag] = True
        said[:, tag] &= column > 0
    return said


def ask(model: pathlib.Path, texts: list[str]) -> tuple[list[set[str]], int]:
    """The tags that a SavedModel's `tag` answers for each text, and how many trained numbers it reads.

    Raises:
      ServableError: if it has no such signature.
    """
    import tensorflow as tf
    import tensorflow_text  # noqa: F401 (its ops are in the graph)

    loaded = tf.saved_model.load(str(model))
    if contract.TAG not in loaded.signatures:
        there = ", ".join(sorted(loaded.signatures))
        raise ServableError(f"{model}: has no signature `{contract.TAG}`; its signatures: {there}.")
    signature = loaded.signatures[contract.TAG]
    answers: list[set[str]] = []
    for start in range(0, len(texts), _BATCH):
        batch = tf.constant(texts[start : start + _BATCH])
        for row in signature(**{features.TEXT: batch})[contract.TAGS].numpy():
            answers.append({name.decode("utf-8") for name in row if name})
    parameters = sum(int(np.prod(variable.shape)) for variable in signature.variables if variable.trainable)
    return answers, parameters


def _matrix(of_texts: Sequence[Any], tags: list[str]) -> Said:
    place = {tag: column for column, tag in enumerate(tags)}
    matrix = np.zeros([len(of_texts), len(tags)], bool)
    for row, names in enumerate(of_texts):
        for name in names:
            if name in place:
                matrix[row, place[name]] = True
    return matrix


def _popular(before: Said) -> Said:
    """bool [tags]: the most frequent tags, as many as give the highest micro-F1 when said of every text."""
    counts = before.sum(0)
    order = np.argsort(-counts, kind="stable")
    hits, said = np.cumsum(counts[order]), len(before) * np.arange(1, len(order) + 1)
    number = int(np.argmax(2 * hits / (said + counts.sum()))) + 1
    chosen = np.zeros(len(counts), bool)
    chosen[order[:number]] = True
    return chosen


def _parts(true: Said, said: Said, texts: list[TaggedText]) -> dict[str, float]:
    """Metrics over all texts, and macro-F1 of each source."""
    found = scores(true, said)
    sources = np.array([text.source for text in texts])
    for source in sorted(set(sources)):
        here = sources == source
        found[f"{source}_tag_macro_f1"] = scores(true[here], said[here])["tag_macro_f1"]
    return found


if __name__ == "__main__":
    sys.exit(main())
