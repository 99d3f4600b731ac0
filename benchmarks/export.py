"""What a smaller SavedModel costs: one JSON line per way to export the same fitted model, on the standard output.

    python -m benchmarks.export --config configs/demo.yaml --task next_basket --data PATH [--validation] \
        [--way NAME=KEY=VALUE[,…] …] [--users 500]

The configuration's model is fitted once, on the examples of the pipeline's last run (as `benchmarks.variants` does; a
fit that is there is not done again), and exported in each of `WAYS`, or in those that are given, such as
`half=weights=float16` (keys of `export`). Each is then asked the requests of `benchmarks.quality`'s main ranking.

A line says: `megabytes` on disk, `megabytes_weights` of them in `variables/`, and `megabytes_packed` (tar.gz); `size`,
`size_weights` and `size_packed` relative to float32; the median time of an in-process call for one request and for a
batch, relative to float32's, all asked in turn in this process (`latency_1`, `latency_batch`); NDCG@10, `lost` by it
(float32's less its own), with the 95% interval of the paired difference; the share of float32's first ten items that it
has among its own, and the largest difference of scores.

Exits with 0, or with 1 and one sentence.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import io
import json
import os
import pathlib
import shutil
import sys
import tarfile
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import yaml

from benchmarks import predictions, quality, variants
from benchmarks.protocol import Protocol
from benchmarks.servable import BATCH, Servable, ServableError
from models import features, settings_reader
from serving.results import Recommendation
from tfx_pipeline import local_runner, pipeline, source_hash
from tfx_pipeline import settings as settings_lib
from tfx_pipeline.export_settings import ExportSettings
from tfx_pipeline.raw_tables.read import read
from tfx_pipeline.raw_tables.rejects import DataError

#: Name -> changes of `export`, written as on the command line; the first is what the others are held against.
WAYS = ("float32=", "bfloat16=weights=bfloat16", "float16=weights=float16", "int8=weights=int8")
PRUNED = ("pruned_30=sparsity=0.3", "pruned_60=sparsity=0.6", "pruned_60_int8=sparsity=0.6,weights=int8")
FEWER_LAYERS = "one_layer_less"
NDCG = "ndcg@10"


def parse(text: str) -> tuple[str, ExportSettings]:
    """Reads `NAME=KEY=VALUE[,KEY=VALUE…]`, keys of `export`.

    Raises:
      SettingsError: if it cannot be read.
    """
    name, separator, changes = text.partition("=")
    if not name or not separator:
        raise settings_lib.SettingsError(f"way {text!r} cannot be read; expected NAME=KEY=VALUE[,KEY=VALUE…].")
    pairs = dict(change.partition("=")[::2] for change in changes.split(",") if change)
    values = {key: yaml.safe_load(value) for key, value in pairs.items()}
    return name, settings_reader.build(ExportSettings, values, f"way {name}", "export.")


def export_all(place: local_runner.Place, ways: dict[str, ExportSettings]) -> dict[str, pathlib.Path]:
    """Folder of the SavedModel of each way, all of one fit that does not know the validation events.

    Raises:
      SettingsError: if the pipeline has not run on these tables and settings, or a way does not fit the model.
    """
    transformed, graph = variants.examples(place)
    from tfx_pipeline import trainer
    from tfx_pipeline.export import export

    settings = place.settings
    parts = {name: settings_lib.to_dict(getattr(settings, name)) for name in pipeline.TRAINER_SETTINGS}
    del parts["export"]
    code = source_hash.component_hashes(settings, ["Trainer"])
    key = hashlib.sha256(json.dumps([parts, transformed, graph, code], sort_keys=True).encode()).hexdigest()[:16]
    home = place.folder / "exports" / key
    held_out = [f"{transformed}/Split-{name}/*" for name in (features.EVAL_SPLIT, features.CATALOGUE_SPLIT)]
    data = trainer.split_files([f"{transformed}/Split-{features.TRAIN_SPLIT}/*"], held_out, graph)
    # The checkpoints stay, so that a second call only exports.
    fitted = trainer.fit(settings, data, log_dir=str(home / "logs"), checkpoints=str(home / "checkpoints"))
    found = {}
    for name, way in ways.items():
        folder = home / name
        shutil.rmtree(folder, ignore_errors=True)
        try:
            own = dataclasses.replace(settings, export=way)
            export(fitted.model, own, data.transform, fitted.catalogue, str(folder))
        except ValueError as error:
            raise settings_lib.SettingsError(f"way {name}: {error}") from None
        found[name] = folder
    return found


def megabytes(folder: pathlib.Path) -> dict[str, float]:
    """Of a SavedModel: all its files (""), the variables alone (`_weights`), and all packed as tar.gz (`_packed`)."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz", compresslevel=6) as archive:
        for file in files:
            archive.add(file, arcname=str(file.relative_to(folder)))
    weights = [file for file in files if file.parent.name == "variables"]
    sizes = {"": files, "_weights": weights}
    plain = {name: sum(file.stat().st_size for file in some) / 1e6 for name, some in sizes.items()}
    return {**plain, "_packed": packed.tell() / 1e6}


def latencies(servables: dict[str, Servable], requests: Sequence[Any], rounds: int) -> dict[str, float]:
    """Median seconds of a call with `requests`, of each servable; they take turns, and the first does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in servables}
    for turn in range(rounds + 1):
        for name, servable in servables.items():
            before = servable.seconds
            servable.ask(requests)
            if turn:
                seconds[name].append(servable.seconds - before)
    return {name: float(np.median(values)) for name, values in seconds.items()}


def compare(ours: Sequence[Recommendation], theirs: Sequence[Recommendation]) -> tuple[float, float]:
    """(share of their first ten items among our first ten, largest difference of the score of an item in both)."""
    shared, largest = [], 0.0
    for own, other in zip(ours, theirs, strict=True):
        first = set(other.item_ids[:10])
        shared.append(len(first & set(own.item_ids[:10])) / max(1, len(first)))
        scores = dict(zip(other.item_ids, other.scores, strict=True))
        both = [
            abs(float(score) - float(scores[i]))
            for i, score in zip(own.item_ids, own.scores, strict=True)
            if i in scores
        ]
        largest = max([largest, *both])
    return float(np.mean(shared)), largest


def evaluate(
    folders: dict[str, pathlib.Path], settings: settings_lib.Settings, protocol: Protocol, users: int
) -> list[dict[str, Any]]:
    """What the JSON lines say, the first folder's first; the others are held against it."""
    part = protocol.parts()[0]
    requests = list(part.requests)[:users]
    asked = {request.user_id for request in requests}
    targets = {user: found for user, found in part.targets.items() if user in asked}
    servables = {name: Servable(path, settings.data.context, protocol.signature) for name, path in folders.items()}
    answers = {name: servable.ask(requests) for name, servable in servables.items()}
    ndcg = {}
    for name, found in answers.items():
        pairs = zip(requests, found, strict=True)
        frame = predictions.to_frame(quality.known_only(*pair, protocol.known) for pair in pairs)
        ndcg[name] = predictions.score_users(frame, targets)[NDCG].to_numpy()
    one = latencies(servables, requests[:1], rounds=40)
    batch = latencies(servables, requests[:BATCH], rounds=12)
    base = next(iter(folders))
    sizes = {name: megabytes(path) for name, path in folders.items()}
    lines = []
    for name in folders:
        same, difference = compare(answers[name], answers[base])
        lines.append(
            {
                "task": protocol.task,
                "model": settings.model.entry,
                "config": settings.name,
                "way": name,
                **{f"megabytes{part}": round(size, 3) for part, size in sizes[name].items()},
                **{f"size{part}": size / sizes[base][part] for part, size in sizes[name].items()},
                "latency_1": one[name] / one[base],
                "latency_batch": batch[name] / batch[base],
                "n": len(ndcg[name]),
                NDCG: float(ndcg[name].mean()),
                "lost": float((ndcg[base] - ndcg[name]).mean()),
                "lost_95": predictions.confidence(ndcg[base] - ndcg[name]),
                "same_top_10": same,
                "largest_score_difference": difference,
                "seed": settings.train.seed,
            }
        )
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.export", description="What a smaller SavedModel costs.")
    parser.add_argument("--config", required=True, help="a runnable configuration")
    parser.add_argument("--data", required=True, help="the folder of the tables, or the one file of the data set")
    parser.add_argument("--task", required=True, choices=quality.TASKS, help="the protocol")
    parser.add_argument("--validation", action="store_true", help="ask for what `eval` decisions are about")
    parser.add_argument(
        "--way", action="append", default=[], metavar="NAME=KEY=VALUE[,…]", help="in place of the usual"
    )
    parser.add_argument("--users", type=int, default=500, help="at most so many are asked; default %(default)s")
    options = parser.parse_args(arguments)
    try:
        with quality.only_results_on_standard_output() as emit:
            _run(options, emit)
    except (settings_lib.SettingsError, DataError, ServableError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _run(options: argparse.Namespace, emit: Callable[[dict[str, Any]], None]) -> None:
    place = local_runner.Place.from_environment(
        {**os.environ, "PIPELINE_CONFIG": options.config, "PIPELINE_DATA": options.data}
    )
    texts = [WAYS[0], *options.way] if options.way else [*WAYS, *PRUNED]
    ways = dict(parse(text) for text in texts)
    if not options.way:
        layers = [encoder.layers for encoder in place.settings.model.text_encoders.values() if not encoder.pretrained]
        if layers and layers[0] > 1:
            ways[FEWER_LAYERS] = ExportSettings(text_layers=layers[0] - 1)
    protocol = quality.checked(
        quality.build_protocol(options.task, place.settings, read(place.settings.data, place.data), options.validation)
    )
    for line in evaluate(export_all(place, ways), place.settings, protocol, options.users):
        emit(line)


if __name__ == "__main__":
    sys.exit(main())
