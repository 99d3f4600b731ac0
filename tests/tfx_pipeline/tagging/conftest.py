"""A small shop's texts, labelled and transformed once by Beam as the pipeline does, and a tagger fitted on them."""

import functools
import pathlib
import types

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft
import tensorflow_transform.beam as tft_beam
from tensorflow_transform.tf_metadata import dataset_metadata, schema_utils

from models import features
from tfx_pipeline import settings as settings_lib
from tfx_pipeline.tagging import preprocessing, texts, trainer
from tfx_pipeline.tagging.lexicon_learning import Catalogue, learn
from tfx_pipeline.tagging.schema import tagging_schema
from tfx_pipeline.tagging.weak_labels import Labeller, sentiment_of
from tfx_pipeline.trainer import Data

LENGTH = 12
SETTINGS = settings_lib.from_dict(
    {
        "name": "toy",
        "data": {"context": ["country"]},
        "model": {
            "entry": "profile_tagger",
            "dimension": 16,
            "dropout": 0.0,
            "word_dropout": 0.0,
            "text_encoder": {"hidden_size": 16, "layers": 1, "intermediate_size": 16},
        },
        "transform": {"profile_length": LENGTH},
        "train": {"epochs": 25, "patience": 25, "batch_size": 16, "learning_rate": 0.02},
        "serve": {"model_name": "toy", "tags": 4},
    }
)
PRODUCTS = (
    ("hiking boots", "登山靴", "Sport > Hiking"),
    ("desk lamp", "台灯", "Home > Lights"),
    ("sofa", "沙发", "Home > Rooms"),
)
BRANDS = (("Acme", "顶峰"), ("Nord", "北方"))
ATTRIBUTES = (("warm", "保暖"), ("large", "大号"))
TITLES = [
    (f"{brand} {attribute} {name} · {zh_brand} {zh_attribute} {zh_name}", brand, category)
    for brand, zh_brand in BRANDS
    for attribute, zh_attribute in ATTRIBUTES
    for name, zh_name, category in PRODUCTS
]


def make_labeller() -> Labeller:
    titles, brands, categories = zip(*TITLES, strict=True)
    return Labeller(learn(Catalogue(titles, brands, categories, [""] * len(titles))), titles, brands, categories)


def make_texts(number: int, split: str, seed: int) -> list[texts.Text]:
    """Queries and reviews about the products, in both languages."""
    labeller = make_labeller()
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(number):
        language = rng.integers(2)
        parts = [rng.choice(np.array(pairs)[:, :2], axis=0)[language] for pairs in (BRANDS, ATTRIBUTES, PRODUCTS)]
        kept = [part for part, take in zip(parts, [*(rng.random(2) < 0.5), True], strict=True) if take]
        text = (" ", "")[language].join(kept)
        rating = float(rng.integers(1, 6)) if rng.random() < 0.5 else float("nan")
        feeling = {4: "great", 5: "great", 1: "awful", 2: "awful"}.get(rating, "")
        labels = labeller.label(f"{text} {feeling}".strip())
        source = "review" if feeling else "query"
        made.append(texts.Text(split, "u", 5, source, f"{text} {feeling}".strip(), labels, sentiment_of(rating)))
    return made


@pytest.fixture(scope="package")
def toy(tmp_path_factory) -> types.SimpleNamespace:
    folder = tmp_path_factory.mktemp("texts")
    splits = {split: make_texts(number, split, seed) for split, number, seed in (("train", 160, 1), ("eval", 60, 2))}
    for text in ("large sofa " * 10, ""):  # more words than fit, and none
        splits["train"].append(texts.Text("train", "", 0, "title", text, make_labeller().label(text)))
    spec = schema_utils.schema_as_feature_spec(tagging_schema()).feature_spec
    metadata = dataset_metadata.DatasetMetadata(tagging_schema())
    function = functools.partial(
        preprocessing.preprocessing_fn, custom_config={"settings": settings_lib.to_dict(SETTINGS)}
    )

    def rows(split):
        for text in splits[split]:
            parsed = tf.io.parse_single_example(texts.to_example(text).SerializeToString(), spec)
            yield {
                name: (value.values if isinstance(value, tf.SparseTensor) else value).numpy().tolist()
                for name, value in parsed.items()
            }

    found = {}
    with tft_beam.Context(temp_dir=str(folder / "temp")):
        train = (list(rows("train")), metadata)
        (found["train"], transformed), transform = train | tft_beam.AnalyzeAndTransformDataset(function)
        found["eval"], _ = ((list(rows("eval")), metadata), transform) | tft_beam.TransformDataset()
        transform | tft_beam.WriteTransformFn(str(folder / "graph"))
    coder = tft.coders.ExampleProtoCoder(transformed.schema)
    for split, values in found.items():
        with tf.io.TFRecordWriter(str(folder / f"{split}.gz"), "GZIP") as writer:
            for row in values:
                writer.write(coder.encode(row))
    output = tft.TFTransformOutput(str(folder / "graph"))
    data = Data([str(folder / "train.gz")], [str(folder / "eval.gz")], [], output)
    return types.SimpleNamespace(folder=folder, texts=splits, rows=found, data=data, settings=SETTINGS)


@pytest.fixture(scope="package")
def fitted(toy) -> types.SimpleNamespace:
    """The toy tagger, fitted and exported: `run` is what it says of the fit, `path` the SavedModel, `loaded` that."""
    path = pathlib.Path(toy.folder) / "model"
    folders = {"log_dir": str(toy.folder / "logs"), "checkpoints": str(toy.folder / "checkpoints")}
    run = trainer.fit_and_export(toy.settings, toy.data, export_dir=str(path), **folders)
    return types.SimpleNamespace(run=run, path=path, loaded=tf.saved_model.load(str(path)))


@pytest.fixture(scope="package")
def tag_names(toy) -> list[str]:
    return [name.decode() for name in toy.data.transform.vocabulary_by_name(features.TAG_VOCABULARY)]
