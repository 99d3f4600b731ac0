"""A tiny shop, from raw tables to Transform's graph, and SavedModels of the zoo's entries on it."""

from __future__ import annotations

import functools
import pathlib
import shutil
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
import tensorflow_transform as tft
import tensorflow_transform.beam as tft_beam
from tensorflow_transform.tf_metadata import dataset_metadata, metadata_io, schema_utils

from models import features, registry
from serving import contract
from serving.client import build_inputs
from serving.requests import Request
from serving.server.servable import Servable
from tfx_pipeline import inputs, preprocessing, schema, trainer
from tfx_pipeline import settings as settings_lib
from tfx_pipeline.example_gen.examples import catalogue, to_example
from tfx_pipeline.example_gen.in_memory import prepare
from tfx_pipeline.export import export
from tfx_pipeline.raw_tables.read import read
from tfx_pipeline.shoppers import read_shoppers

DAY = 86_400
FIRST_DAY = 19_000
#: Day of the requests, after the log.
NOW = (FIRST_DAY + 12) * DAY
SPARE = 0.5
BERT = {"hidden_size": 8, "layers": 1, "intermediate_size": 8}
ITEMS = pd.DataFrame(
    [
        ("boots", "Hiking boots", "leather, waterproof", "Shoes", "Alpa", 120.0),
        ("trail", "Trail boots, red", "", "Shoes", "Bergo", 90.0),
        ("clogs", "Garden clogs", "", "Shoes", "", 20.0),
        ("green", "Green tea", "from Uji", "Tea", "Cha", 8.5),
        ("black", "Black tea", "", "Tea", "Cha", 6.0),
        ("pot", "Tea pot", "cast iron", "Kitchen", "Cha", 45.0),
        ("pan", "Frying pan", "", "Kitchen", "", 30.0),
        ("knife", "Kitchen knife", "", "Kitchen", "Bergo", 60.0),
        ("tent", "Tent for two", "3 kg", "Camping", "Alpa", 250.0),
        ("stove", "Camping stove", "", "Camping", "Bergo", None),
        ("late", "Camping lamp", "", "Camping", "Alpa", 35.0),  # first seen after the cut
    ],
    columns=["item_id", "title", "description", "category", "brand", "price"],
)
ENTRIES: dict[str, dict[str, Any]] = {
    "popularity": {},
    "sasrec": {"dimension": 4, "max_history": 4, "intermediate": 8},
    "two_tower": {"dimension": 4, "hidden": [6]},
    "query_recommender": {"dimension": 4, "heads": 2, "vocabulary": 40, "neighbours": 3, "content_neighbours": 2},
    "click_classifier": {"use_text": False, "dimension": 4, "hidden": [6]},
    "slice_ranker": {
        **{"dimension": 4, "code_dimension": 4, "max_history": 4, "slice_length": 2, "text_encoder": BERT},
        **{"use_affinity": True, "use_words": True, "neighbours": 3, "linear_regularisation": 1.0},
    },
}
LOSSES = {"click_classifier": {"binary": 1.0, "catalogue": 0.0}}


def _events() -> pd.DataFrame:
    rng = np.random.default_rng(4)
    rows = []
    for user in range(12):
        for place in range(8):
            item = ITEMS["item_id"][int(rng.integers(0, 10))]
            kind = ("click", "purchase")[place % 2]
            query = f"{item} please" if place == 5 else ""
            rows.append((f"u{user}", item, kind, (FIRST_DAY + place) * DAY + 60 * user, query))
    rows.append(("u0", "late", "click", (FIRST_DAY + 11) * DAY, ""))
    return pd.DataFrame(rows, columns=["user_id", "item_id", "event_type", "timestamp", "query"])


def settings_of(entry: str, **changed: Any) -> settings_lib.Settings:
    content: dict[str, Any] = {
        "name": "t",
        "data": {"events": {"path": "events.parquet"}, "items": {"path": "items.parquet"}},
        "decisions": {"train_until": "0.7", "eval_until": "1.0"},
        "transform": {"wordpiece_size": 200, "title_length": 12},
        "model": {"entry": entry, **ENTRIES[entry]},
        "train": {
            "losses": LOSSES.get(entry, {}),
            "monitor": "gauc" if entry == "click_classifier" else "ndcg@10",
        },
        "export": {"spare_items": SPARE},
        "serve": {"top_k": 30},
    }
    return settings_lib.from_dict({**content, **changed})


class Shop:
    """The shop's examples, transformed; SavedModels of models that were counted, and moved instead of trained."""

    def __init__(self, folder: pathlib.Path) -> None:
        self._folder = folder
        ITEMS.to_parquet(folder / "items.parquet")
        _events().to_parquet(folder / "events.parquet")
        settings = settings_of("slice_ranker")
        prepared = prepare(read(settings.data, folder), settings)
        builder = prepared.builder
        examples = list(catalogue(builder.table, builder.stats, builder.boundaries))
        number = len(examples)
        examples += [to_example(decision, ()) for log in prepared.logs() for decision in builder.decisions(log)]
        spec = schema_utils.schema_as_feature_spec(schema.build(())).feature_spec
        spec = {name: part for name, part in spec.items() if name not in features.SLICE_FEATURES}
        rows = []
        for example in examples:
            row: dict[str, Any] = {name: [] for name in spec}
            for name, feature in example.features.feature.items():
                if name in spec:
                    row[name] = list(getattr(feature, feature.WhichOneof("kind")).value)
            rows.append(row)
        metadata = dataset_metadata.DatasetMetadata(schema_utils.schema_from_feature_spec(spec))
        plain = {"settings": settings_lib.to_dict(settings)}
        function = functools.partial(preprocessing.preprocessing_fn, custom_config=plain)
        with tft_beam.Context(temp_dir=str(folder / "temp")):
            (found, outputs), transform = (rows, metadata) | tft_beam.AnalyzeAndTransformDataset(function)
            transform | tft_beam.WriteTransformFn(str(folder / "graph"))
        metadata_io.write_metadata(metadata, str(folder / "graph" / "metadata"))  # as Transform does
        coder = tft.coders.ExampleProtoCoder(outputs.schema)
        records = [coder.encode(row) for row in found]
        self.transform = tft.TFTransformOutput(str(folder / "graph"))
        self.files = []
        for name, part in (("catalogue", records[:number]), ("train", records[number:])):
            self.files.append(str(folder / f"{name}.gz"))
            with tf.io.TFRecordWriter(self.files[-1], "GZIP") as writer:
                for record in part:
                    writer.write(record)
        self.cut = FIRST_DAY + 9
        self.catalogue = inputs.read_catalogue(self.files[:1], self.transform, settings, until_day=self.cut)
        self._exported: dict[str, pathlib.Path] = {}

    def model(self, settings: settings_lib.Settings) -> Any:
        tf.keras.utils.set_random_seed(1)
        tf.config.run_functions_eagerly(True)  # tracing a BERT takes longer than running it once
        try:
            model = trainer.build_model(settings, self.transform, self.catalogue)
            rng = np.random.default_rng(2)
            for weight in model.trainable_weights:
                weight.assign_add(tf.cast(rng.normal(0, 0.3, weight.shape), weight.dtype))
            if model.counts:
                model.count(read_shoppers(self.files[1:], self.transform))
            model.refresh_item_text()
        finally:
            tf.config.run_functions_eagerly(False)
        return model

    def export(self, entry: str, folder: pathlib.Path, **changed: Any) -> pathlib.Path:
        """A folder of versions with version 1."""
        key = f"{entry} {changed}"
        if key not in self._exported:
            settings = settings_of(entry, **changed)
            path = self._folder / f"exported{len(self._exported)}"
            export(self.model(settings), settings, self.transform, self.catalogue, str(path))
            self._exported[key] = path
        shutil.copytree(self._exported[key], folder / "1")
        return folder


class Version:
    """Asks a version as a server does."""

    def __init__(self, folder: pathlib.Path) -> None:
        self._servable = Servable(folder)

    def ask(self, signature: str, requests: Sequence[Request]) -> dict[str, np.ndarray]:
        found = self._servable.signatures[signature]
        feeds = {}
        for name, values in build_inputs(signature, requests, ()).items():
            strings = values.dtype.kind in "SUO"
            feeds[found.inputs[name]] = np.array(values, object) if strings else values
        names = list(found.outputs)
        arrays = self._servable.run(feeds, [found.outputs[name] for name in names])
        return dict(zip(names, arrays, strict=True))

    def rank(self, candidates: Sequence[str], texts: Sequence[str] = (), **request: Any) -> dict[str, float]:
        asked = Request(candidates=list(candidates), candidate_text=list(texts), **{**SHOPPER, **request})
        scores = self.ask(contract.RANK, [asked])[contract.SCORES][0]
        return dict(zip(candidates, scores.tolist(), strict=True))

    def recommend(self, signature: str = contract.RECOMMEND, **request: Any) -> dict[str, float]:
        found = self.ask(signature, [Request(**{**SHOPPER, **request})])
        pairs = zip(found[contract.ITEM_IDS][0], found[contract.SCORES][0].tolist(), strict=True)
        return {item_id.decode(): score for item_id, score in pairs if item_id}

    def close(self) -> None:
        self._servable.close()


SHOPPER: dict[str, Any] = {
    "user_id": "u1",
    "request_time": NOW,
    "history": [("boots", "click", NOW - 5 * DAY), ("green", "purchase", NOW - 3 * DAY), ("gone", "click", NOW - DAY)],
    "profile_text": "likes tea",
}


class Tools:
    """What the test files of this folder share; a fixture hands it over, since tests are no package."""

    items = ITEMS
    entries = tuple(ENTRIES)
    day, now, shopper = DAY, NOW, SHOPPER
    settings_of = staticmethod(settings_of)
    Version = Version

    @staticmethod
    def table(
        folder: pathlib.Path, *added: Mapping[str, Any], without: Sequence[str] = (), **stock: Any
    ) -> pathlib.Path:
        """The items' table as CSV, with and without some."""
        frame = ITEMS[~ITEMS["item_id"].isin([*without, *(row["item_id"] for row in added)])]
        frame = pd.concat([frame, pd.DataFrame(list(added))]) if added else frame
        frame = frame.assign(stock=[stock.get(item_id, 5) for item_id in frame["item_id"]])
        path = folder / "items.csv"
        frame.to_csv(path, index=False)
        return path


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return Shop(tmp_path_factory.mktemp("shop"))


@pytest.fixture(scope="session")
def tools() -> type[Tools]:
    return Tools


@pytest.fixture(scope="session")
def signatures_of() -> Any:
    return {name: registry.entry(name).signatures for name in ENTRIES}
