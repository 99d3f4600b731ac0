"""The graph of the pipeline: who waits for whom, on which splits, and what the cache is told."""

import json

import pytest
from tfx.dsl.compiler import compiler
from tfx.orchestration import metadata

from models import features
from tfx_pipeline import pipeline, settings, source_hash

CONTENT = {
    "name": "graph",
    "data": {"adapter": "online_retail", "context": ["country"]},
    "evaluate": {"thresholds": {"ndcg@10": 0.1}},
}


@pytest.fixture(autouse=True)
def hashes(monkeypatch):
    """What test_source_hash.py holds of the real ones is not computed again for each pipeline here."""
    monkeypatch.setattr(source_hash, "component_hash", lambda name, contents, more=(): f"hash of {name}")


@pytest.fixture
def data(tmp_path):
    file = tmp_path / "online_retail.csv"
    file.write_text("InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n")
    return str(file)


def nodes_of(data, content=None, **changes):
    """Compiles; gives node id -> compiled node."""
    arguments = {
        "pipeline_root": "/runs/graph/artifacts",
        "data_path": data,
        "serving_dir": "/served/ranker",
        "schema_file": "/configs/schema.pbtxt",
        "schema_hash": "hash of the schema",
        "platform": pipeline.Platform(metadata=metadata.sqlite_metadata_connection_config("unused.db")),
        **changes,
    }
    built = pipeline.create_pipeline(settings.from_dict({**CONTENT, **(content or {})}), **arguments)
    return {node.pipeline_node.node_info.id: node.pipeline_node for node in compiler.Compiler().compile(built).nodes}


def parameter(node, name):
    value = node.parameters.parameters[name].field_value.string_value
    return json.loads(value) if value.startswith(("{", "[")) else value


ORDER = [
    "FileBasedExampleGen",
    "StatisticsGen",
    "ExampleValidator",
    "AnomalyGate",
    "Transform",
    "Trainer",
    "Baseline",
    "Evaluator",
    "ServingCheck",
    "Pusher",
]


def test_the_components_and_their_order(data):
    nodes = nodes_of(data)
    assert set(nodes) == {*ORDER, "ImportSchemaGen"}
    assert [name for name in nodes if name != "ImportSchemaGen"] == ORDER
    assert set(nodes["Transform"].upstream_nodes) >= {"AnomalyGate"}
    assert set(nodes["ServingCheck"].upstream_nodes) == {"Trainer", "Evaluator"}
    assert set(nodes["Pusher"].upstream_nodes) == {"Trainer", "Evaluator", "ServingCheck"}
    assert all(node.execution_options.caching_options.enable_cache for node in nodes.values())


def test_with_final_the_second_trainer_is_checked_and_pushed(data):
    nodes = nodes_of(data, {"train": {"final": True}})
    assert list(nodes)[-3:] == ["FinalTrainer", "ServingCheck", "Pusher"]
    final = nodes["FinalTrainer"]
    assert set(final.upstream_nodes) >= {"Trainer", "Evaluator"}
    assert producer(final, "base_model") == "Trainer"
    assert parameter(final, "custom_config")["fit"] == "final"
    assert parameter(nodes["Trainer"], "custom_config")["fit"] == "validation"
    assert parameter(final, "train_args") == {"splits": [features.TRAIN_SPLIT, features.RECENT_SPLIT]}
    for name in ("ServingCheck", "Pusher"):
        assert producer(nodes[name], "model") == "FinalTrainer"
    assert producer(nodes["Evaluator"], "model") == "Trainer"
    assert producer(nodes["Pusher"], "model_blessing") == "Evaluator"
    assert producer(nodes["Pusher"], "infra_blessing") == "ServingCheck"


def producer(node, key):
    (channel,) = node.inputs.inputs[key].channels
    return channel.producer_node_query.id


@pytest.mark.parametrize("final", [False, True])
def test_only_what_comes_after_the_evaluator_needs_the_blessing(data, final):
    nodes = nodes_of(data, {"train": {"final": final}})
    conditional = {name for name, node in nodes.items() if node.inputs.conditionals}
    assert conditional == {"ServingCheck", "Pusher"} | ({"FinalTrainer"} if final else set())


@pytest.mark.parametrize(("final", "recent"), [(False, []), (True, [features.RECENT_SPLIT])])
def test_each_component_reads_its_splits(data, final, recent):
    nodes = nodes_of(data, {"train": {"final": final}})
    unchecked = {features.CATALOGUE_SPLIT} | ({features.RECENT_SPLIT} - set(recent))
    assert set(parameter(nodes["StatisticsGen"], "exclude_splits")) == unchecked
    assert set(parameter(nodes["ExampleValidator"], "exclude_splits")) == unchecked
    splits = parameter(nodes["Transform"], "splits_config")
    assert splits["analyze"] == [features.TRAIN_SPLIT, features.CATALOGUE_SPLIT]
    assert splits["transform"] == [features.TRAIN_SPLIT, features.EVAL_SPLIT, *recent, features.CATALOGUE_SPLIT]
    assert parameter(nodes["Trainer"], "train_args") == {"splits": [features.TRAIN_SPLIT]}
    assert parameter(nodes["Trainer"], "eval_args") == {"splits": [features.EVAL_SPLIT, features.CATALOGUE_SPLIT]}
    assert parameter(nodes["Evaluator"], "example_splits") == [features.EVAL_SPLIT]
    assert producer(nodes["Evaluator"], "examples") == "FileBasedExampleGen"


def test_the_baseline_is_never_the_candidate(data):
    nodes = nodes_of(data)
    assert producer(nodes["Evaluator"], "baseline_model") == "Baseline"
    assert set(nodes["Baseline"].upstream_nodes) == {"Trainer"}
    operators = [graph for graph in nodes["Baseline"].inputs.input_graphs.values()]
    assert "tfx_pipeline.components.baseline.BlessedBefore" in str(operators)


def test_an_update_starts_from_what_was_blessed_on_other_examples(data):
    before, nodes = nodes_of(data), nodes_of(data, {"train": {"warm_start": {"enabled": True}}})
    assert set(nodes) - set(before) == {"WarmBase"}
    assert producer(nodes["Trainer"], "base_model") == "WarmBase"
    assert nodes["Trainer"].inputs.inputs["base_model"].min_count == 0  # the first run has none
    assert set(nodes["WarmBase"].upstream_nodes) == {"Transform"}
    operators = [graph for graph in nodes["WarmBase"].inputs.input_graphs.values()]
    assert "tfx_pipeline.components.warm_base.BlessedOnOtherExamples" in str(operators)
    # What comes after is the same gate.
    assert [name for name in nodes if name not in ("ImportSchemaGen", "WarmBase")] == ORDER
    assert changed(before, {name: nodes[name] for name in before}) == {"Trainer"}


def changed(before, after):
    """Components whose own execution properties differ."""
    return {name for name, node in before.items() if node.parameters != after[name].parameters}


def test_settings_reach_only_the_components_that_read_them(data):
    before = nodes_of(data)
    assert changed(before, nodes_of(data)) == set()
    assert changed(before, nodes_of(data, {"model": {"dimension": 32}})) == {"Trainer"}
    assert changed(before, nodes_of(data, {"train": {"epochs": 3}})) == {"Trainer"}
    assert changed(before, nodes_of(data, {"transform": {"price_buckets": 5}})) == {"Transform", "Trainer"}
    thresholds = nodes_of(data, {"evaluate": {"thresholds": {"ndcg@10": 0.2}}})
    assert changed(before, thresholds) == {"Evaluator"}
    decisions = nodes_of(data, {"decisions": {"candidates": 60}})
    assert changed(before, decisions) == {"FileBasedExampleGen", "Transform", "Trainer"}
    beam = pipeline.Platform(
        metadata=metadata.sqlite_metadata_connection_config("unused.db"), beam_args=("--direct_num_workers=2",)
    )
    assert changed(before, nodes_of(data, platform=beam)) == set()
    assert changed(before, nodes_of(data, schema_hash="another")) == {"ImportSchemaGen"}
    assert changed(before, nodes_of(data, serving_dir="/elsewhere")) == {"Pusher"}


@pytest.mark.parametrize(
    ("component", "node"),
    [
        ("ExampleGen", "FileBasedExampleGen"),
        ("AnomalyGate", "AnomalyGate"),
        ("Transform", "Transform"),
        ("Trainer", "Trainer"),
        ("Evaluator", "Evaluator"),
        ("ServingCheck", "ServingCheck"),
    ],
)
def test_changed_source_reaches_its_component(data, monkeypatch, component, node):
    before = nodes_of(data)
    edited = {component: "edited"}
    monkeypatch.setattr(
        source_hash, "component_hash", lambda name, contents, more=(): edited.get(name, f"hash of {name}")
    )
    assert changed(before, nodes_of(data)) == {node}


def test_contents_of_named_files_reach_the_components_that_read_them(data, tmp_path, monkeypatch):
    monkeypatch.undo()  # the real hashes
    vocabulary, bert = tmp_path / "vocab.txt", tmp_path / "bert"
    bert.mkdir()
    vocabulary.write_text("[PAD]\none")
    (bert / "model.safetensors").write_bytes(b"1")
    named = {
        "transform": {"wordpiece": str(vocabulary)},
        "model": {"text_encoder": {"pretrained": str(bert)}},
    }
    before = nodes_of(data, named)
    assert changed(before, nodes_of(data, named)) == set()
    vocabulary.write_text("[PAD]\ntwo")
    assert changed(before, nodes_of(data, named)) == {"Transform", "Trainer"}
    vocabulary.write_text("[PAD]\none")
    (bert / "model.safetensors").write_bytes(b"2")
    assert changed(before, nodes_of(data, named)) == {"Trainer"}


def test_the_trainer_is_told_where_checkpoints_lie(data):
    config = parameter(nodes_of(data)["Trainer"], "custom_config")
    assert config["checkpoints"] == "/runs/graph/artifacts/checkpoints"
    assert settings.from_dict(config["settings"]).data.context == ("country",)


def test_without_a_threshold_there_is_no_pipeline(data):
    with pytest.raises(settings.SettingsError, match="thresholds"):
        nodes_of(data, {"evaluate": {}})
