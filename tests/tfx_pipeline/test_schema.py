"""The curated schema: equal to features.py, and what it makes of rows as ExampleGen writes them."""

import pathlib

import pytest
import tensorflow as tf
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2
from tensorflow_transform.tf_metadata import schema_utils

import configs
from models import features
from tfx_pipeline import schema, settings

CONFIGS = pathlib.Path(configs.__file__).parent
RUNNABLE = sorted(CONFIGS.glob("*.yaml"))


def test_there_are_configurations():
    assert RUNNABLE


@pytest.mark.parametrize("config", RUNNABLE, ids=lambda path: path.stem)
def test_the_committed_schema_is_what_features_say(config):
    loaded = settings.load(config)
    committed = schema.schema_path(config, loaded.name).read_text(encoding="utf-8")
    expected = schema.text(loaded.data.context, declared=loaded.declared_features)
    assert committed == expected, f"run: python -m tfx_pipeline.schema --config {config.name}"


def test_every_feature_has_its_type_and_shape():
    built = {feature.name: feature for feature in schema.build(("country",)).feature}
    assert set(built) == set(features.raw_features(("country",)))
    user = built[features.USER_ID]
    assert user.type == schema_pb2.BYTES and [d.size for d in user.shape.dim] == [1] and user.presence.min_fraction == 1
    assert built[features.HISTORY_TIMESTAMPS].type == schema_pb2.INT
    assert not built[features.HISTORY_TIMESTAMPS].HasField("shape")
    assert built[features.ITEM_PRICE].type == schema_pb2.FLOAT and built[features.ITEM_PRICE].presence.min_fraction == 0
    assert built["country"].value_count.max == 1 and built["country"].presence.min_count == 1
    unserved = {name for name, feature in built.items() if schema.SERVING in feature.not_in_environment}
    assert unserved == {features.LABEL, *features.SLICE_FEATURES}


def test_what_made_a_candidate_positive_is_in_the_schema_of_a_configuration_that_asks_for_it(tmp_path):
    config = tmp_path / "mine.yaml"
    strengths = "{label_event_types: [click, purchase], label_strengths: [click, purchase]}"
    for entry, path in (("slice_ranker", "mine"), ("profile_tagger", "tagging")):
        content = f"name: mine\nmodel: {{entry: {entry}}}\ndecisions: {strengths}\n"
        config.write_text(content, encoding="utf-8")
        assert schema.main(["--config", str(config)]) == 0
        written = (tmp_path / "schema" / path / "schema.pbtxt").read_text(encoding="utf-8")
        built = {feature.name: feature for feature in text_format.Parse(written, schema_pb2.Schema()).feature}
        assert (features.LABEL_EVENT_TYPES in built) == (entry == "slice_ranker")
        if entry == "slice_ranker":
            found = built[features.LABEL_EVENT_TYPES]
            assert found.type == schema_pb2.BYTES and found.value_count.min == 1
            assert list(found.not_in_environment) == [schema.SERVING]


def test_features_of_items_that_the_data_declares():
    declared = tuple(features.DECLARED_ITEM_FEATURES)
    built = {feature.name: feature for feature in schema.build((), declared).feature}
    assert set(built) - {feature.name for feature in schema.build(()).feature} == set(declared)
    assert built[features.ITEM_IMAGE].type == schema_pb2.FLOAT
    assert {built[name].presence.min_fraction for name in declared} == {0}
    assert not any(built[name].HasField("shape") or built[name].HasField("value_count") for name in declared)


def test_a_catalogue_row_without_context_and_slices_parses():
    spec = schema_utils.schema_as_feature_spec(schema.build(("country",))).feature_spec
    row = tf.train.Example()
    for name, (dtype, kind) in features.REQUEST_FEATURES.items():
        values = row.features.feature[name]
        field = values.bytes_list if dtype == "string" else values.int64_list
        field.SetInParent()
        if kind == "scalar" or name.startswith("candidate"):
            field.value.append(b"a" if dtype == "string" else 3)
    row.features.feature[features.LABEL].float_list.value.append(-1.0)
    row.features.feature[features.ITEM_TITLE].bytes_list.value.append("椅子".encode())
    parsed = tf.io.parse_single_example(row.SerializeToString(), spec)
    assert parsed[features.USER_ID].shape == [1]
    assert tf.sparse.to_dense(parsed[features.ITEM_TITLE]).numpy()[0].decode() == "椅子"
    assert parsed["country"].values.shape == [0] and parsed[features.HISTORY_ITEM_IDS].values.shape == [0]


def test_the_command_writes_the_file(tmp_path, capsys):
    config = tmp_path / "mine.yaml"
    config.write_text(
        "name: mine\ndata: {context: [country, age], image_embedding_width: 2}\n",
        encoding="utf-8",
    )
    assert schema.main(["--config", str(config)]) == 0
    path = tmp_path / "schema" / "mine" / "schema.pbtxt"
    assert str(path) in capsys.readouterr().out
    written = text_format.Parse(path.read_text(encoding="utf-8"), schema_pb2.Schema())
    assert {"country", "age", features.ITEM_IMAGE} <= {feature.name for feature in written.feature}


def test_a_bad_configuration_is_one_sentence(tmp_path, capsys):
    assert schema.main(["--config", str(tmp_path / "none.yaml")]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
