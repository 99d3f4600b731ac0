"""How well a pushed model ranks for users without a past and items without events: one JSON line per model.

    python -m benchmarks.cold_start --config configs/cold_start.yaml --data PATH --validation [--servable DIR] \
        [--variant NAME=KEY=VALUE[,…]] [--seed N]

Asked is about sessions from `decisions.eval_until` on (with `--validation`, in the window of the eval split), through
the SavedModel's `rank`. Metrics are means of NDCG@10 over decisions, with bootstrap intervals, of two questions:

* `new_users`: users without an event before, of whom a text, demographics or a query are known. All items that had an
  event before the boundary are scored; targets are those of them that were chosen.
* `new_items`: decisions in which an item without an event before the boundary was chosen. All such items that were
  there at the time are scored, by the request's text or, with `--validation`, where the model's catalogue has them, by
  their row of it: text, attributes, image and relations; targets are those of them that were chosen.

Baselines in the same run: `popularity` (label events of the last 30 days; of new items it knows nothing), `text_knn`
(cosine of tf·idf vectors of character n-grams of the user's texts, query and history with titles),
`chance`, and for a synthetic shop its `oracle`; `share_of_oracle` is counted above chance.

`--variant` (several allowed) asks other settings too, `--seed` (several allowed) the configuration and the variants
with each seed, fitted on the examples of the pipeline's last run, with `--validation` without what the window holds;
see `benchmarks.variants`.

Exits with 0, or with 1 and one sentence.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import pathlib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks import predictions, variants
from benchmarks.baselines import RECENT_DAYS
from benchmarks.impressions import ORACLE_TABLE
from benchmarks.protocol import request_of
from benchmarks.servable import Servable, ServableError, check_held_out, newest_version
from benchmarks.text_baselines import TextIndex
from models import features
from models.metrics import ranking_metric
from serving import contract
from serving.requests import Request
from tfx_pipeline import local_runner
from tfx_pipeline import settings as settings_lib
from tfx_pipeline.example_gen.boundaries import DAY, Boundaries, iso
from tfx_pipeline.example_gen.in_memory import prepare
from tfx_pipeline.raw_tables import synthetic
from tfx_pipeline.raw_tables.read import RawTables, read
from tfx_pipeline.raw_tables.rejects import DataError

TASK = "cold_start"
NEW_USERS, NEW_ITEMS = "new_users", "new_items"
METRIC = "ndcg@10"
SEED = 7


@dataclass(frozen=True)
class Question:
    """What is asked of one kind of decision.

    Attributes:
      name: of the kind.
      requests: one a decision; candidates are all items that are ranked.
      targets: of each, the candidates that are to be found.
    """

    name: str
    requests: list[Request]
    targets: list[frozenset[str]]

    def ndcg(self, scores: Sequence[np.ndarray]) -> np.ndarray:
        """NDCG@10 of each decision; scores are in the order of the candidates, ties count as their mean."""
        metric = ranking_metric(METRIC)
        values = []
        for request, targets, row in zip(self.requests, self.targets, scores, strict=True):
            labels = np.array([[item in targets for item in request.candidates]], np.float32)
            values.append(metric(labels, np.asarray(row, np.float64)[np.newaxis])[0][0])
        return np.array(values)


def read_questions(settings: settings_lib.Settings, tables: RawTables, validation: bool) -> tuple[list[Question], int]:
    """(the questions of the window, its first moment in seconds).

    Args:
      settings: `data` and `decisions`, of kind `session`.
      tables: cleaned and merged.
      validation: the window of the eval split, instead of all that comes after it.

    Raises:
      SettingsError: if decisions are no sessions by time, or nothing comes after the eval split.
    """
    decisions = settings.decisions
    if decisions.kind != "session" or decisions.split == settings_lib.LEAVE_ONE_OUT:
        raise settings_lib.SettingsError(
            f"`decisions` are no sessions split by time; expected kind `session` for {TASK}."
        )
    times = tables.events["timestamp"]
    boundaries = Boundaries.resolve(decisions, int(times.min()), int(times.max()))
    boundary = boundaries.train_until if validation else boundaries.eval_until
    if not validation:
        if boundaries.eval_until > int(times.max()):
            raise settings_lib.SettingsError(
                f"`decisions.eval_until` is {decisions.eval_until!r}, so nothing comes after; expected --validation "
                "or an earlier moment."
            )
        until = str(np.datetime64(boundary, "s"))
        decisions = dataclasses.replace(decisions, train_until=until, eval_until="1.0")
    prepared = prepare(tables, dataclasses.replace(settings, decisions=dataclasses.replace(decisions, negatives=0)))
    builder = prepared.builder
    ids, texts = np.asarray(builder.table.ids), np.asarray(builder.table.texts)
    first, since = builder.stats.first_event, builder.stats.known_from(builder.table)
    seen = np.flatnonzero(first < boundary)
    found = {name: Question(name, [], []) for name in (NEW_USERS, NEW_ITEMS)}
    for log in prepared.logs():
        for decision in builder.decisions(log):
            if decision.split != features.EVAL_SPLIT:
                continue
            chosen = set(np.asarray(decision.candidate_item_ids)[decision.labels > 0])
            wanted = {NEW_ITEMS: np.flatnonzero((first >= boundary) & (since <= decision.time))}
            if decision.slices[features.SLICE_USER] == "new":
                wanted[NEW_USERS] = seen
            for name, rows in wanted.items():
                targets = frozenset(chosen.intersection(ids[rows]))
                if targets:
                    brings = dict(candidates=ids[rows].tolist())
                    if name == NEW_ITEMS:
                        brings["candidate_text"] = texts[rows].tolist()
                    found[name].requests.append(dataclasses.replace(request_of(decision), **brings))
                    found[name].targets.append(targets)
    return list(found.values()), boundary


def baselines(
    settings: settings_lib.Settings, tables: RawTables, folder: pathlib.Path, question: Question, boundary: int
) -> Iterator[tuple[str, list[np.ndarray]]]:
    """(name, scores of the candidates of each request) of each ranking that no model makes."""
    yield "chance", [np.zeros(len(request.candidates)) for request in question.requests]
    if (folder / ORACLE_TABLE).is_file():
        yield "oracle", oracle_scores(folder, tables, question)
    events = tables.events
    recent = events["timestamp"].between(boundary - RECENT_DAYS * DAY, boundary, inclusive="left")
    recent &= events["event_type"].isin(settings.decisions.label_event_types)
    sold = events.loc[recent, "item_id"].value_counts().to_dict()
    yield "popularity", [np.array([sold.get(item, 0) for item in request.candidates]) for request in question.requests]
    titles = dict(zip(tables.items["item_id"], tables.items["title"], strict=True))
    index = TextIndex(titles, "tfidf_characters")
    places = {item: place for place, item in enumerate(index.ids)}
    said = [
        " ".join([request.profile_text, request.query, *(titles.get(event[0], "") for event in request.history)])
        for request in question.requests
    ]
    yield (
        "text_knn",
        [
            row[[places[item] for item in request.candidates]]
            for request, row in zip(question.requests, index.scores(said), strict=True)
        ],
    )


def oracle_scores(folder: pathlib.Path, tables: RawTables, question: Question) -> list[np.ndarray]:
    """What the synthetic shop's generator knows: the logit of a click on each candidate at the first place."""
    shop = synthetic.generate(synthetic.read_settings(folder))
    rows = {item: row for row, item in enumerate(shop.items["item_id"])}
    opened = tables.events.groupby("session_id", sort=False).agg({"user_id": "first", "timestamp": "min"})
    names = {
        (user, int(time)): session
        for session, user, time in zip(opened.index, opened["user_id"], opened["timestamp"], strict=True)
    }
    place = {session: row for row, session in enumerate(shop.sessions.ids)}
    return [
        synthetic.oracle_scores(
            shop,
            np.array([place[names[request.user_id, request.request_time]]]),
            np.array([[rows[item] for item in request.candidates]]),
        )[0]
        for request in question.requests
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cold_start", description="New users and new items.")
    parser.add_argument("--config", required=True, help="a runnable configuration with sessions, split by time")
    parser.add_argument("--data", required=True, help="the folder of the tables")
    parser.add_argument("--servable", help="a SavedModel, or a folder of versions; default: what was pushed last")
    parser.add_argument("--validation", action="store_true", help="ask about the window of the eval split")
    parser.add_argument(
        "--variant", action="append", default=[], metavar="NAME=KEY=VALUE[,…]", help="fit and ask it too"
    )
    parser.add_argument("--seed", action="append", default=[], type=int, help="fit with this seed (several allowed)")
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
    path = newest_version(options.servable or place.serving)
    if options.validation:
        check_held_out(path)
    chosen = [variants.parse(f"{variants.ALL_PARTS}=", settings, options.config)] if options.seed else []
    chosen += [variants.parse(text, settings, options.config) for text in options.variant]
    tables = read(settings.data, place.data)
    questions, boundary = read_questions(settings, tables, options.validation)
    for question in questions:
        if not question.requests:
            raise DataError(f"{place.data}: has no decision of {question.name} from {iso(boundary)} on; expected some.")
    counted: dict[str, dict[str, float]] = {question.name: {} for question in questions}

    def line(question: Question, name: str, scores: Sequence[np.ndarray]) -> dict[str, Any]:
        values, means = question.ndcg(scores), counted[question.name]
        said: dict[str, Any] = {
            "task": TASK,
            "question": question.name,
            "model": name,
            "boundary": iso(boundary),
            "n": len(values),
            METRIC: float(values.mean()),
            f"{METRIC}_95": predictions.confidence(values),
        }
        means.setdefault(name, said[METRIC])
        if "oracle" in means and means["oracle"] > means["chance"]:
            said["share_of_oracle"] = (said[METRIC] - means["chance"]) / (means["oracle"] - means["chance"])
        return said

    def asked(model: pathlib.Path, seed: int, more: dict[str, Any]) -> Iterator[dict[str, Any]]:
        servable = Servable(model, settings.data.context, contract.RANK)
        brings = {"servable": servable.place, "final": servable.final, "seed": seed, **more}
        for question in questions:
            yield line(question, settings.model.entry, servable.score(question.requests)) | brings

    for question in questions:
        for name, scores in baselines(settings, tables, pathlib.Path(str(place.data)), question, boundary):
            yield line(question, name, scores)
    yield from asked(path, settings.train.seed, {})
    for variant in variants.fits(chosen, options.seed):
        fit = variants.fit(variant, place, validation=options.validation)
        more = {"variant": variant.name, "seconds_to_fit": round(fit.seconds, 1)}
        yield from asked(fit.path, variant.settings.train.seed, more)


if __name__ == "__main__":
    sys.exit(main())
