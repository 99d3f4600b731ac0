"""A log of six customers, and SavedModels that follow the contract, whose rankings one computes by hand."""

from __future__ import annotations

import dataclasses
import datetime
import json
import pathlib
import shutil
import types

import pandas as pd
import pytest
import tensorflow as tf
import yaml

from models import features
from serving import contract
from tfx_pipeline import local_runner, schema, trainer
from tfx_pipeline import settings as settings_lib
from tfx_pipeline.raw_tables.read import read

BUY, VIEW = "purchase", "view"
EVENTS = (
    ("u1", "a", BUY, "2020-01-05"),
    ("u1", "a", BUY, "2020-02-05"),
    ("u1", "b", BUY, "2020-02-10"),
    ("u1", "a", BUY, "2020-03-02"),
    ("u1", "c", BUY, "2020-03-02"),
    ("u2", "b", BUY, "2020-01-10"),
    ("u2", "c", VIEW, "2020-02-20"),
    ("u2", "f", VIEW, "2020-02-20"),
    ("u2", "b", BUY, "2020-03-03"),
    ("u2", "z", BUY, "2020-03-03"),  # nobody could know z
    ("u3", "a", VIEW, "2020-02-01"),  # never bought before
    ("u3", "a", BUY, "2020-03-04"),
    ("u4", "c", BUY, "2020-01-20"),
    ("u4", "d", BUY, "2020-02-15"),
    ("u4", "a", VIEW, "2020-03-04"),  # buys no more
    ("u5", "e", BUY, "2020-02-28"),
    ("u5", "f", BUY, "2020-03-01"),  # at the very boundary
    ("u6", "d", BUY, "2020-01-02"),
    ("u6", "z", BUY, "2020-03-05"),  # only what nobody could know
)
WEIGHTS = {"a": 0.1, "b": 0.2, "c": 0.6, "d": 0.4, "e": 0.5, "f": 0.3, "z": 0.9}
SETTINGS = {
    "name": "tiny",
    "data": {"context": ["country"], "users": {"path": "users.csv"}},
    "decisions": {
        "kind": "window",
        "train_start": "2020-01-01",
        "train_until": "2020-02-01",
        "eval_until": "2020-03-01",
        "candidates": 10,
        "negatives": 3,
        "profile_text": {"sources": ["titles"]},
    },
    "train": {"seed": 11},
}


class ToyRecommender(tf.Module):
    """Scores an item by its weight plus how often the history has it; the best `top_k` are answered.

    In a search, an item whose id is a word of the query comes first.
    """

    def __init__(self, top_k, excludes=True, context=("country",), items=tuple(WEIGHTS), weights=None):
        super().__init__()
        self.weights = tf.Variable(weights or list(WEIGHTS.values()))
        self.ids = tf.Variable(items, trainable=False)
        self.top_k, self.excludes, self.context = top_k, excludes, context

    def signatures(self):
        dtypes = {"string": tf.string, "int64": tf.int64}
        found = {}
        for name, function in ((contract.RECOMMEND, self._recommend), (contract.SEARCH, self._search)):
            inputs = contract.signature_inputs(name, self.context)
            specs = {
                part.name: tf.TensorSpec([None] * part.rank, dtypes[part.dtype], name=part.name) for part in inputs
            }
            found[name] = tf.function(function).get_concrete_function(**specs)
        return found

    def _search(self, **inputs):
        words = tf.strings.split(inputs[features.QUERY]).to_tensor("")
        return self._recommend(10 * tf.reduce_sum(tf.cast(words[:, :, None] == self.ids, tf.float32), 1), **inputs)

    def _recommend(self, named=0.0, **inputs):
        counts = self._count(inputs[features.HISTORY_ITEM_IDS], inputs[contract.HISTORY_LENGTH])
        scores = self.weights + counts + named
        if self.excludes:
            excluded = self._count(inputs[contract.EXCLUDE_ITEM_IDS], inputs[contract.EXCLUDE_COUNT])
            scores = tf.where(excluded > 0, -float("inf"), scores)
        best, places = tf.math.top_k(scores, self.top_k)
        ids = tf.where(tf.math.is_inf(best), "", tf.gather(self.ids, places))
        return {contract.ITEM_IDS: ids, contract.SCORES: best}

    def _count(self, ids, length):
        real = tf.sequence_mask(length, tf.shape(ids)[1])
        return tf.reduce_sum(tf.cast((ids[:, :, None] == self.ids) & real[:, :, None], tf.float32), 1)


@pytest.fixture(scope="session")
def export(tmp_path_factory):
    """Saves a `ToyRecommender` as version 7 of a base folder, with what Trainer says of a fit; returns it."""

    def save(*arguments, final=False, **keywords):
        base = tmp_path_factory.mktemp("served")
        model = ToyRecommender(*arguments, **keywords)
        tf.saved_model.save(model, str(base / "7"), signatures=model.signatures())
        said = base / "7" / contract.RUN_FILE
        said.parent.mkdir(exist_ok=True)
        said.write_text(json.dumps({"final": final}))
        return base

    return save


@pytest.fixture(scope="session")
def top4(export):
    return export(4)


@pytest.fixture(scope="session")
def shop(tmp_path_factory) -> types.SimpleNamespace:
    """The log as files (`folder`) and as read (`tables`), its settings, and its moments in seconds."""
    folder = tmp_path_factory.mktemp("shop")
    pd.DataFrame(EVENTS, columns=["user_id", "item_id", "event_type", "timestamp"]).to_csv(
        folder / "events.csv", index=False
    )
    items = pd.DataFrame({"item_id": list(WEIGHTS), "title": [f"title of {item}" for item in WEIGHTS]})
    items.to_csv(folder / "items.csv", index=False)
    users = sorted({event[0] for event in EVENTS})
    countries = ["France" if user == "u2" else "" for user in users]
    pd.DataFrame({"user_id": users, "country": countries}).to_csv(folder / "users.csv", index=False)
    settings = settings_lib.from_dict(SETTINGS)
    return types.SimpleNamespace(
        folder=folder,
        settings=settings,
        tables=read(settings.data, folder),
        seconds=seconds,
        content=SETTINGS,
        weights=WEIGHTS,
    )


@pytest.fixture
def place(shop, tmp_path, monkeypatch):
    """The configuration and a place of the pipeline in which nothing ran yet."""
    config = tmp_path / "configs" / "tiny.yaml"
    config.parent.mkdir()
    config.write_text(yaml.safe_dump(shop.content))
    monkeypatch.setenv("PIPELINE_ROOT", str(tmp_path / "runs"))
    environment = {"PIPELINE_CONFIG": str(config), "PIPELINE_DATA": str(shop.folder)}
    return local_runner.Place.from_environment({**environment, "PIPELINE_ROOT": str(tmp_path / "runs")})


@pytest.fixture
def change(place):
    """Changes the configuration; returns the place as it is then."""

    def write(**sections):
        content = {name: {**SETTINGS.get(name, {}), **section} for name, section in sections.items()}
        place.config.write_text(yaml.safe_dump({**SETTINGS, **content}))
        return dataclasses.replace(place, settings=settings_lib.load(place.config))

    return write


@pytest.fixture
def ran():
    """Leaves what a pipeline's run leaves for variants: its examples, empty, and what it says of them."""

    def leave(place, *splits):
        place.schema.parent.mkdir(parents=True)
        place.schema.write_text(schema.text(place.settings.data.context))
        for name in splits:
            split = place.artifacts / "examples" / f"Split-{name}"
            split.mkdir(parents=True)
            (split / "part-0.gz").touch()
        last = {
            "examples_fingerprint": local_runner.examples_fingerprint_of(place),
            "transformed_examples": str(place.artifacts / "examples"),
            "transform_graph": str(place.artifacts / "graph"),
        }
        place.last_run.write_text(json.dumps(last))

    return leave


@pytest.fixture
def fits(top4, monkeypatch):
    """Lets Trainer export a `ToyRecommender` in no time; holds the splits trained on and `final` of each fit."""
    done = []

    def fit_and_export(settings, data, *, export_dir, log_dir, checkpoints, final=None):
        done.append(([pathlib.Path(file).parent.name for file in data.train_files], final))
        shutil.copytree(top4 / "7", export_dir)
        pathlib.Path(export_dir, contract.RUN_FILE).write_text(json.dumps({"final": bool(final), "best_epoch": 3}))

    monkeypatch.setattr(trainer, "fit_and_export", fit_and_export)
    return done


def seconds(date: str) -> int:
    return int(datetime.datetime.fromisoformat(date).replace(tzinfo=datetime.timezone.utc).timestamp())
