"""Image embeddings and relations on their whole way from raw tables to the vectors of a model, without TFX around."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
import tensorflow_transform as tft
import tensorflow_transform.beam as tft_beam
from tensorflow_transform.tf_metadata import dataset_metadata, metadata_io, schema_utils

from models import features
from tfx_pipeline import inputs, preprocessing, schema, trainer
from tfx_pipeline import settings as settings_lib
from tfx_pipeline.example_gen.examples import catalogue, to_example
from tfx_pipeline.example_gen.in_memory import prepare
from tfx_pipeline.example_gen.report import report
from tfx_pipeline.raw_tables.read import read

DAY = 86_400
FIRST_DAY = 18_500
TRAIN_UNTIL = FIRST_DAY + 5
# d is there from the validation window on, e after it alone.
ITEMS = pd.DataFrame(
    {
        "item_id": ["a", "b", "c", "d", "e"],
        "title": ["tea", "mug", "pot", "new tea", "newest tea"],
        "first_seen": [(FIRST_DAY + day) * DAY for day in (0, 0, 0, 6, 10)],
        "image_embedding": [[3.0, 4.0], None, [0.0, 2.0], [1.0, 0.0], [5.0, 5.0]],
    }
)
RELATIONS = pd.DataFrame(
    [
        ("a", "also_bought", "e"),
        ("a", "also_bought", "d"),
        ("a", "also_bought", "b"),
        ("a", "also_bought", "c"),
        ("a", "same_brand", "c"),
        ("b", "also_bought", "b"),
        ("b", "also_bought", "no such item"),
        ("d", "also_bought", "c"),
        ("e", "same_brand", "a"),
    ],
    columns=["item_id", "relation", "related_item_id"],
)
EVENTS = pd.DataFrame(
    [("u", item, (FIRST_DAY + day) * DAY) for item, day in (("a", 0), ("b", 1), ("c", 2), ("b", 7), ("a", 10))],
    columns=["user_id", "item_id", "timestamp"],
).assign(event_type="purchase")
CONTENT: dict[str, Any] = {
    "name": "t",
    "data": {
        "events": {"path": "events.parquet"},
        "items": {"path": "items.parquet"},
        "relations": {"path": "relations.parquet"},
        "image_embedding_width": 2,
        "item_relations": True,
    },
    "decisions": {"train_until": "0.5", "eval_until": "0.9"},
    "transform": {"wordpiece_size": 200},
    "model": {
        "dimension": 4,
        "text_encoder": {"hidden_size": 4, "layers": 1, "intermediate_size": 4},
        "use_image_embedding": True,
        "use_relations": True,
        "relation_neighbours": 2,
    },
}
SETTINGS = settings_lib.from_dict(CONTENT)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tables")
    for name, frame in (("events", EVENTS), ("items", ITEMS), ("relations", RELATIONS)):
        frame.to_parquet(folder / f"{name}.parquet")
    return prepare(read(SETTINGS.data, folder), SETTINGS)


def rows_of(prepared) -> list[dict[str, Any]]:
    """Examples as ExampleGen writes them, as Transform gets them."""
    builder = prepared.builder
    examples = list(catalogue(builder.table, builder.stats, builder.boundaries))
    examples += [to_example(decision, ()) for log in prepared.logs() for decision in builder.decisions(log)]
    names = features.raw_features((), SETTINGS.data.item_features)
    found = []
    for example in examples:
        row: dict[str, Any] = {name: [] for name in names}
        for name, feature in example.features.feature.items():
            row[name] = list(getattr(feature, feature.WhichOneof("kind")).value)
        found.append(row)
    return found


@pytest.fixture(scope="module")
def transformed(prepared, tmp_path_factory):
    """(Transform's output, the file of its catalogue split)."""
    folder = tmp_path_factory.mktemp("transform")
    spec = schema_utils.schema_as_feature_spec(schema.build((), SETTINGS.data.item_features)).feature_spec
    spec = {name: part for name, part in spec.items() if name not in features.SLICE_FEATURES}
    rows = [{name: row[name] for name in spec} for row in rows_of(prepared)]
    metadata = dataset_metadata.DatasetMetadata(schema_utils.schema_from_feature_spec(spec))
    function = functools.partial(preprocessing.preprocessing_fn, custom_config={"settings": CONTENT})
    with tft_beam.Context(temp_dir=str(folder / "temp")):
        (found, outputs), transform = (rows, metadata) | tft_beam.AnalyzeAndTransformDataset(function)
        transform | tft_beam.WriteTransformFn(str(folder / "graph"))
    metadata_io.write_metadata(metadata, str(folder / "graph" / "metadata"))  # as Transform does
    coder = tft.coders.ExampleProtoCoder(outputs.schema)
    file = str(folder / "catalogue.gz")
    with tf.io.TFRecordWriter(file, "GZIP") as writer:
        for row in found[:4]:
            writer.write(coder.encode(row))
    return tft.TFTransformOutput(str(folder / "graph")), file


def named(catalogue: inputs.Catalogue, kinds: list[str]) -> list[tuple[str, str, str]]:
    ids = catalogue.item_ids
    return sorted((ids[item], kinds[kind], ids[other]) for item, kind, other in catalogue.table.relations)


def test_what_is_left_out_is_counted(prepared):
    rejects = prepared.tables.rejects
    assert rejects.counts == {
        ("relations", "rejected", "an item related to itself"): 1,
        ("relations", "rejected", "unknown related_item_id"): 1,
    }
    builder = prepared.builder
    counted = report([], rejects, builder.table, builder.stats, builder.boundaries, (0, 1))
    assert counted["left_out"] == {
        "items first seen from eval_until on": 1,
        "relations to items first seen from eval_until on": 1,
    }


def test_the_trainer_knows_nothing_of_the_time_after_its_boundary(transformed):
    transform, file = transformed
    kinds = [name.decode() for name in transform.vocabulary_by_name(features.RELATION_VOCABULARY)]
    assert kinds == ["also_bought", "same_brand"]
    later = [("a", "also_bought", "b"), ("a", "also_bought", "c"), ("a", "also_bought", "d"), ("a", "same_brand", "c"),
             ("d", "also_bought", "c")]  # fmt: skip
    whole = inputs.read_catalogue([file], transform, SETTINGS, until_day=None)
    assert named(whole, kinds) == later
    assert whole.unknown_relations == 0
    before = inputs.read_catalogue([file], transform, SETTINGS, until_day=TRAIN_UNTIL)
    assert named(before, kinds) == [row for row in later if row[2] != "d"]
    assert before.unknown_relations == 1
    images = dict(zip(whole.item_ids, whole.table.images.tolist(), strict=True))
    assert images == {"a": [3, 4], "b": [0, 0], "c": [0, 2], "d": [1, 0]}


def test_a_request_without_them_has_all_that_it_had(transformed):
    """tf.Transform drops whatever depends on an input that is not there, and no request brings images or relations."""
    request = {
        name: tf.sparse.from_dense(tf.constant([["" if dtype == "string" else 0]], dtype))
        if kind == "list"
        else tf.constant([["" if dtype == "string" else 0]], dtype)
        for name, (dtype, kind) in features.REQUEST_FEATURES.items()
    }
    found = set(transformed[0].transform_features_layer()(request))
    whole = set(transformed[0].transformed_feature_spec())
    assert {features.HISTORY_ITEMS_XF, features.CANDIDATE_ITEMS_XF, features.CANDIDATE_TOKENS_XF} <= found
    of_items = {name for name in whole if name.startswith("item_")}
    assert whole - found == of_items | {features.LABEL}


def test_it_reaches_the_vectors_of_the_model(transformed):
    transform, file = transformed
    known = inputs.read_catalogue([file], transform, SETTINGS, until_day=TRAIN_UNTIL)
    tf.config.run_functions_eagerly(True)  # tracing a BERT takes longer than running it once
    try:
        model = trainer.build_model(SETTINGS, transform, known)
    finally:
        tf.config.run_functions_eagerly(False)
    encoder, rows = model.item_encoder, {item: row for row, item in enumerate(known.item_ids)}
    related = encoder.related_items
    assert related.of().shape == [4, 2, 2]
    assert related.of().numpy()[rows["a"], 0].tolist() == [rows["b"], rows["c"]]  # in the table's order
    kernel = np.array([[1.0, 2, 3, 4], [5, 6, 7, 8]], np.float32)
    encoder.image_projection.set_weights([np.zeros_like(kernel)])
    bare = model.item_vectors().numpy()
    encoder.image_projection.set_weights([kernel])
    images = np.zeros([4, 4])
    for item, direction in {"a": [0.6, 0.8], "c": [0, 1], "d": [1, 0]}.items():
        images[rows[item]] = direction @ kernel
    own = bare + images
    np.testing.assert_allclose(model.item_vectors(), own, atol=1e-5)
    related.projections.assign([np.eye(4), 2 * np.eye(4)])
    expected = own.copy()
    expected[rows["a"]] += (own[rows["b"]] + own[rows["c"]]) / 2 + 2 * own[rows["c"]]
    expected[rows["d"]] += own[rows["c"]]  # a cold item, whose id was never trained
    np.testing.assert_allclose(model.item_vectors(), expected, atol=1e-5)


def test_without_the_settings_the_examples_are_as_ever(prepared):
    data = dataclasses.replace(SETTINGS.data, image_embedding_width=0, item_relations=False)
    tables = dataclasses.replace(prepared.tables, items=prepared.tables.items.drop(columns="image_embedding"))
    plain = prepare(tables, dataclasses.replace(SETTINGS, data=data)).builder
    for example in catalogue(plain.table, plain.stats, plain.boundaries):
        assert not set(example.features.feature) & set(features.DECLARED_ITEM_FEATURES)


def test_an_old_schema_is_one_sentence():
    with pytest.raises(settings_lib.SettingsError, match="the curated schema lacks item_image, which `data` declares"):
        preprocessing._declared({}, features.ITEM_IMAGE)
