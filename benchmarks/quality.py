"""How well a pushed model ranks: one JSON line per model on the standard output, everything else on the other one.

    python -m benchmarks.quality --config configs/online_retail.yaml --task next_basket --data PATH \
        --predictions OUT.parquet [--servable DIR] [--train] [--baselines] [--ablations] [--variant …] [--model …] \
        [--seed N …] [--final | --held-out] [--validation]

Every task asks a SavedModel through its signatures, as a server would. Metrics are means over users of recall@10 (over
min(10, targets)), NDCG@10 (binary, ideal cut at 10) and HR@10; `..._95` is a bootstrap interval over users, `n` their
number, and `final` says whether the model was fitted on the validation events too (null where it does not tell). The
top 20 of each user go to OUT.parquet: user_id, rank (from 1), item_id, score.
`benchmarks.predictions.score_predictions` computes the numbers from them again. A second ranking that a task asks for
has its name before its metrics and in its file's name.

Task `next_basket`: the log is cut at `decisions.eval_until`. For each customer who bought before the cut and from it
on: input is everything before the cut, target the set of distinct items bought from then on that are known before it;
all known items are ranked by `recommend`. `novel_...` is the same with the items bought before taken out of the
targets and, by the signature's exclusions, out of the ranking.

Task `leave_one_out`, for configurations with `decisions.split: leave_one_out`: of each user's label events the last is
to be found, what came before is known, all other items of the catalogue are ranked by `recommend`.

Task `search`, for the same: 1 to 3 words of the title of the last item are typed, drawn with a fixed seed; the whole
catalogue is ranked by `search`, with what is known of the user, and, as `no_history_...`, by the query alone; as
`typo_...` and `typo_no_history_...` with one typo in each query. `..._1_words` to `..._3_words` are the recall for
queries of so many words. Its baselines are also BM25 over words (rank-bm25) and tf-idf over character n-grams.

Task `logged_search`, for configurations that cut by time into sessions: what people typed first after `eval_until`;
what they then clicked, put into the cart or bought is to be found, `graded_ndcg@10` with gain 1, 3 and 7.

`--ablations` also fits and scores the model without each part that it has, on the examples of the last pipeline run;
`--variant NAME=KEY=VALUE` (several allowed) any other change of settings; `--model NAME` another entry of the zoo, with
the settings of configs/models/NAME.yaml and of the configuration's `models.NAME`. See `benchmarks.variants`. Each is
fitted once for each `--seed` (as its settings say without), the configuration itself too; `--final` scores each fit,
and then one with the validation events as well, `--held-out` the former alone (of the configuration itself where what
is scored first knows the validation events); without either it is as `train.final` says. Their rankings go to
OUT_NAME_SEED.parquet, with `_final` behind it.
Fits and scores that are there already for the same code, tables, settings and seed are not made again. Lines also say
how much higher NDCG@10 is than that of the configuration itself, fitted with the same seed on the same events, where
there is such a fit: `ndcg@10_more` is the mean over users of the difference, with its interval. What is scored first is
such a fit if it has the same `model` settings; where code or other settings have changed since, `--seed` makes a new
one.

`--validation` asks of the window before instead, of a model that does not know it; variants are then left at the fit
that `train.final` would follow up.

Exits with 0, or with 1 and one sentence.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import pathlib
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import pandas as pd

from benchmarks import baselines, predictions, sequence_baselines, variants
from benchmarks.leave_one_out import LeaveOneOut
from benchmarks.logged_search import LoggedSearch
from benchmarks.next_basket import NextBasket
from benchmarks.protocol import Protocol
from benchmarks.score_store import ScoreStore
from benchmarks.search import Search
from benchmarks.servable import Servable, ServableError, check_held_out, fitted_as, newest_version
from benchmarks.text_baselines import TextIndex
from serving.requests import Request
from tfx_pipeline import local_runner
from tfx_pipeline import settings as settings_lib
from tfx_pipeline.example_gen.boundaries import Boundaries, iso
from tfx_pipeline.raw_tables.read import RawTables, read
from tfx_pipeline.raw_tables.rejects import DataError

_LEAVE_ONE_OUT: dict[str, type[LeaveOneOut] | type[Search]] = {kind.task: kind for kind in (LeaveOneOut, Search)}
TASKS = (NextBasket.task, *_LEAVE_ONE_OUT, LoggedSearch.task)
STANDARD_OUTPUT, ERROR_OUTPUT = 1, 2
_P = TypeVar("_P", bound=Protocol)


#: Name of a protocol's part -> table of `benchmarks.predictions`.
Rankings = dict[str, pd.DataFrame]


def evaluate_servable(
    path: str | pathlib.Path,
    settings: settings_lib.Settings,
    tables: RawTables,
    boundary: int,
    end: int | None = None,
) -> tuple[dict[str, Any], Rankings]:
    """Scores a SavedModel on `next_basket`.

    Args:
      path: a version's folder or a base folder of versions.
      settings: `data`, `decisions`, `model` and `train.seed` are read.
      tables: cleaned and merged.
      boundary: of the protocol, seconds since 1970-01-01 UTC; the model must not know what comes after.
      end: of the window; None for all that follows.

    Returns:
      What the JSON line says, and the rankings that it was computed from.

    Raises:
      ServableError: if the SavedModel cannot be asked.
      DataError: if no customer has a target.
    """
    return _evaluate_servable(path, settings, checked(NextBasket.build(settings, tables, boundary, end)))


def evaluate_sequence_baselines(
    settings: settings_lib.Settings, tables: RawTables, protocol: LeaveOneOut | Search
) -> Iterator[dict[str, Any]]:
    """What the JSON lines of the training-free baselines say; the decay is chosen on the validation items.

    Args:
      settings: `data` and `decisions` are read.
      tables: cleaned and merged.
      protocol: that they are to be scored on.
    """
    decay = sequence_baselines.best_decay(LeaveOneOut.build(settings, tables, validation=True))
    for name, chosen in (("popularity", None), ("co_occurrence", decay)):
        ranked = {part.name: frame for part, frame in sequence_baselines.rankings(protocol, chosen)}
        line = {"task": protocol.task, "model": name, **_metrics(protocol, ranked), "final": False}
        yield line if chosen is None else {**line, "decay": chosen}


def evaluate_text_baselines(protocol: Search | LoggedSearch) -> Iterator[dict[str, Any]]:
    """What the JSON lines of the baselines that read queries say; see `benchmarks.text_baselines`."""
    for name in TextIndex.NAMES:
        index = TextIndex({item: protocol.titles[item] for item in protocol.known}, name)
        ranked = {part.name: index.rank(part.requests) for part in protocol.parts()}
        yield {"task": protocol.task, "model": name, **_metrics(protocol, ranked), "final": False}


def evaluate_baselines(
    settings: settings_lib.Settings, tables: RawTables, protocol: NextBasket
) -> Iterator[dict[str, Any]]:
    """What the JSON lines of the counting baselines say; the decay is chosen on the validation window.

    Args:
      settings: `decisions` is read.
      tables: cleaned and merged.
      protocol: that they are to be scored on.
    """
    labels = settings.decisions.label_event_types
    purchases = baselines.Purchases(tables, protocol, labels)
    times = tables.events["timestamp"]
    boundaries = Boundaries.resolve(settings.decisions, int(times.min()), int(times.max()))
    validation = NextBasket.build(settings, tables, boundaries.train_until, boundaries.eval_until)
    half_life = baselines.best_half_life(baselines.Purchases(tables, validation, labels), validation)
    decayed = {"half_life_days": half_life, "crowd_days": baselines.RECENT_DAYS}
    for name, baseline, chosen in (
        ("popularity", baselines.POPULARITY, {}),
        ("recent_popularity", baselines.RECENT_POPULARITY, {"crowd_days": baselines.RECENT_DAYS}),
        ("frequency", baselines.FREQUENCY, {}),
        ("decayed_frequency", baselines.decayed_frequency(half_life), decayed),
    ):
        rankings = {part.name: purchases.rank(baseline, novel=bool(part.name)) for part in protocol.parts()}
        yield {"task": protocol.task, "model": name, **_metrics(protocol, rankings), **chosen}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality", description="Ranking quality of a model.")
    parser.add_argument("--config", required=True, help="a runnable configuration, such as configs/online_retail.yaml")
    parser.add_argument("--data", required=True, help="the folder of the tables, or the one file of the data set")
    parser.add_argument("--task", required=True, choices=TASKS, help="the protocol")
    parser.add_argument("--predictions", required=True, help="OUT.parquet; OUT_PART.parquet is written beside it")
    parser.add_argument("--servable", help="a SavedModel, or a folder of versions; default: what was pushed last")
    parser.add_argument("--train", action="store_true", help="run the pipeline first (PIPELINE_ROOT counts)")
    parser.add_argument("--baselines", action="store_true", help="score the counting baselines too")
    parser.add_argument(
        "--validation",
        action="store_true",
        help="ask for what `eval` decisions are about: for tuning, on a model that was not fitted on it "
        "(the counting baselines' decay is chosen on it)",
    )
    parser.add_argument("--ablations", action="store_true", help="fit and score the model without each part it has")
    parser.add_argument(
        "--variant", action="append", default=[], metavar="NAME=KEY=VALUE[,…]", help="fit and score other settings too"
    )
    parser.add_argument(
        "--model", action="append", default=[], metavar="NAME", help="fit and score another entry of the zoo too"
    )
    parser.add_argument("--seed", action="append", default=[], type=int, help="fit with this seed (several allowed)")
    fits = parser.add_mutually_exclusive_group()
    fits.add_argument("--final", action="store_true", help="fit again with the validation events, and score both")
    fits.add_argument("--held-out", action="store_true", help="score fits without the validation events alone")
    options = parser.parse_args(arguments)
    try:
        with only_results_on_standard_output() as emit:
            _run(options, emit)
    except (settings_lib.SettingsError, DataError, ServableError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _run(options: argparse.Namespace, emit: Callable[[dict[str, Any]], None]) -> None:
    names = {"PIPELINE_CONFIG": options.config, "PIPELINE_DATA": options.data}
    environment = {**os.environ, **names}
    place = local_runner.Place.from_environment(environment)
    settings = place.settings
    out = pathlib.Path(options.predictions)
    if not out.parent.is_dir():
        raise DataError(f"{out.parent}: is not there; expected the folder that --predictions writes to.")
    if options.validation and options.final:
        raise settings_lib.SettingsError("--final fits on the validation events; expected no --validation beside it.")
    if options.train and options.servable:
        raise settings_lib.SettingsError("--train scores what it pushes; expected no --servable beside it.")
    if options.validation and options.train and settings.train.final:
        raise settings_lib.SettingsError(
            f"{options.config}: `train.final` pushes a model that is fitted on the validation window; expected "
            "--validation without --train."
        )
    if options.train:
        _train(environment, place)
    model = newest_version(options.servable or place.serving)
    if options.validation:
        check_held_out(model)
    _say(f"Reading {place.data} …")
    tables = read(settings.data, place.data)
    protocol = checked(build_protocol(options.task, settings, tables, options.validation))
    servable_line, rankings = _evaluate_servable(model, settings, protocol)
    _write(rankings, out)
    emit(servable_line)
    if options.baselines:
        if isinstance(protocol, NextBasket):
            lines = evaluate_baselines(settings, tables, protocol)
        elif isinstance(protocol, LoggedSearch):
            lines = evaluate_text_baselines(protocol)
        else:
            more = evaluate_text_baselines(protocol) if isinstance(protocol, Search) else ()
            lines = itertools.chain(evaluate_sequence_baselines(settings, tables, protocol), more)
        for line in lines:
            emit(line)
    # What was pushed may know the validation events.
    held_out = options.held_out and servable_line["final"] is not False
    again = options.seed or options.final or held_out or options.ablations
    chosen = [variants.parse(f"{variants.ALL_PARTS}=", settings, options.config)] if again else []
    chosen += variants.ablations(settings, options.config) if options.ablations else []
    chosen += [variants.entry(name, place) for name in options.model]
    chosen += [variants.parse(text, settings, options.config) for text in options.variant]
    if not chosen:
        return
    store = ScoreStore(place, options.task, options.validation)
    known = fitted_as(model) == settings_lib.to_dict(settings.model)
    itself = {(servable_line["seed"], servable_line["final"]): rankings} if known else {}
    ways = (False, True) if options.final else (False,) if options.held_out else (None,)
    for variant in variants.fits(chosen, options.seed, ways):
        seed = variant.settings.train.seed
        _say(f"Fitting {variant.name}, seed {seed} …")
        fit = variants.fit(variant, place, validation=options.validation)
        scored = store.find(fit.path)
        if scored is None:
            scored = _evaluate_servable(fit.path, variant.settings, protocol)
            store.keep(fit.path, *scored)
        line, rankings = scored
        final = "_final" if line["final"] else ""
        _write(rankings, out.with_name(f"{out.stem}_{variant.name}_{seed}{final}{out.suffix}"))
        reference = (seed, line["final"])
        if variant.name == variants.ALL_PARTS:
            itself[reference] = rankings
        differences = _differences(protocol, rankings, itself[reference]) if reference in itself else {}
        emit({**line, **differences, "variant": variant.name, "seconds_to_fit": round(fit.seconds, 1)})


def _write(rankings: Rankings, out: pathlib.Path) -> None:
    try:
        for name, ranking in rankings.items():
            predictions.write(ranking, out.with_name(f"{out.stem}_{name}{out.suffix}") if name else out)
    except OSError as error:
        raise DataError(f"{out}: cannot be written ({error.strerror}).") from None


def build_protocol(
    task: str, settings: settings_lib.Settings, tables: RawTables, validation: bool
) -> NextBasket | LeaveOneOut | Search | LoggedSearch:
    if task in _LEAVE_ONE_OUT:
        return _LEAVE_ONE_OUT[task].build(settings, tables, validation)
    if task == LoggedSearch.task:
        return LoggedSearch.build(settings, tables, validation)
    if settings.decisions.split == settings_lib.LEAVE_ONE_OUT:
        raise settings_lib.SettingsError(
            f"decisions.split is {settings_lib.LEAVE_ONE_OUT!r}; expected 'global_time' for the task {task}."
        )
    times = tables.events["timestamp"]
    boundaries = Boundaries.resolve(settings.decisions, int(times.min()), int(times.max()))
    window = (boundaries.train_until, boundaries.eval_until) if validation else (boundaries.eval_until, None)
    return NextBasket.build(settings, tables, *window)


def checked(protocol: _P) -> _P:
    """Says what a protocol asks for; `DataError` if that is nothing."""
    main, *others = protocol.parts()
    if not main.requests:
        last = isinstance(protocol, (LeaveOneOut, Search))
        until = "last of all" if last else f"from {iso(protocol.boundary)} on"
        raise DataError(
            f"nobody can be asked about ({protocol.task}); expected a user with an earlier event and something to be "
            f"found {until}."
        )
    more = "".join(f", {len(part.requests):,} of them for {part.name}" for part in others)
    _say(
        f"{len(main.requests):,} users{more}; {len(protocol.known):,} items to rank; "
        f"cut at {iso(protocol.boundary)} UTC."
    )
    return protocol


def _evaluate_servable(
    path: str | pathlib.Path, settings: settings_lib.Settings, protocol: Protocol
) -> tuple[dict[str, Any], Rankings]:
    _say(f"Loading {path} …")
    servable = Servable(path, settings.data.context, protocol.signature)
    _say(f"Asking version {servable.version} …")
    rankings = {}
    for part in protocol.parts():
        answers = zip(part.requests, servable.ask(part.requests), strict=True)
        rankings[part.name] = predictions.to_frame(known_only(*pair, protocol.known) for pair in answers)
    line = {
        "task": protocol.task,
        "model": settings.model.entry,
        "config": settings.name,
        "servable": servable.place,
        "version": servable.version,
        **_metrics(protocol, rankings),
        "final": servable.final,
        "seconds_to_score": round(servable.seconds, 3),
        "parameters": servable.parameters,
        "seed": settings.train.seed if servable.seed is None else servable.seed,
    }
    return line, rankings


def known_only(request: Request, answer: Any, known: frozenset[str]) -> tuple[str, list[str], list[float]]:
    """An answer without the items that the protocol does not rank."""
    kept = [(item, score) for item, score in zip(answer.item_ids, answer.scores, strict=True) if item in known]
    return request.user_id, [item for item, _ in kept], [score for _, score in kept]


def _metrics(protocol: Protocol, rankings: Rankings) -> dict[str, Any]:
    """Numbers of users, means, and intervals of NDCG; null where there is no user."""
    found: dict[str, Any] = {"boundary": iso(protocol.boundary)}
    for part in protocol.parts():
        prefix, count = (f"{part.name}_", f"n_{part.name}") if part.name else ("", "n")
        values = predictions.score_users(rankings[part.name], part.targets)
        found[count] = len(values)
        for name in predictions.METRICS:
            found[prefix + name] = float(values[name].mean()) if len(values) else None
        for name in ("ndcg@10", "recall@10"):
            found[f"{prefix}{name}_95"] = predictions.confidence(values[name].to_numpy()) if len(values) else None
        if part.relevance:
            found[f"{prefix}graded_ndcg@10"] = predictions.graded_ndcg(rankings[part.name], part.relevance)
        for group, users in part.groups.items():
            found[f"{prefix}recall@10_{group}"] = float(values.loc[values.index.isin(users), "recall@10"].mean())
    return found


def _differences(protocol: Protocol, rankings: Rankings, others: Rankings) -> dict[str, Any]:
    """By how much NDCG@10 is higher than with other rankings: the mean over users and its interval."""
    found: dict[str, Any] = {}
    for part in protocol.parts():
        ours, theirs = (predictions.score_users(given[part.name], part.targets) for given in (rankings, others))
        more = (ours["ndcg@10"] - theirs["ndcg@10"]).to_numpy()
        name = f"{part.name}_ndcg@10_more" if part.name else "ndcg@10_more"
        found[name] = float(more.mean()) if len(more) else None
        found[f"{name}_95"] = predictions.confidence(more) if len(more) else None
    return found


def _train(environment: dict[str, str], place: local_runner.Place) -> None:
    _say("Running the pipeline …")
    done = subprocess.run([sys.executable, "-m", "tfx_pipeline.local_runner"], env=environment, stdout=ERROR_OUTPUT)
    if done.returncode:
        raise ServableError(f"{place.folder}: the pipeline ended with exit code {done.returncode}; nothing was scored.")
    last = json.loads(place.last_run.read_text(encoding="utf-8"))
    if not last["blessed"]:
        raise ServableError(f"{place.folder}: the pipeline's model was not blessed, so nothing was pushed or scored.")


@contextlib.contextmanager
def only_results_on_standard_output() -> Iterator[Callable[[dict[str, Any]], None]]:
    """Sends what libraries print, in C++ too, to the error output; yields what writes a line to the standard output."""
    sys.stdout.flush()
    kept = os.dup(STANDARD_OUTPUT)
    os.dup2(ERROR_OUTPUT, STANDARD_OUTPUT)

    def emit(line: dict[str, Any]) -> None:
        os.write(kept, (json.dumps(line, allow_nan=False) + "\n").encode())

    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield emit
    finally:
        os.dup2(kept, STANDARD_OUTPUT)
        os.close(kept)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
