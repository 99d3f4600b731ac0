"""Whole fits, from transformed records on, on a shop in which everybody buys the successor of what they looked at.

They run eagerly, because tracing a BERT takes longer than the few steps, but for the calibration, which is small and
takes many steps; the replicas' process traces everything, as pipelines do. What is about fits whatever the model is
tested with `sasrec`, a step of which is a fraction of one of `slice_ranker`, and as long tests with that.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft
from tensorflow_transform.tf_metadata import dataset_metadata, metadata_io, schema_utils

from models import features, registry, wordpiece
from models.candidate_model import CandidateModel
from models.layers.repeat_mixture import RepeatMixture
from models.metrics import RankingMetrics
from models.options import LossOptions
from models.ranker import Ranker
from tfx_pipeline import callbacks, inputs, logs, trainer
from tfx_pipeline import settings as settings_lib
from tfx_pipeline.training_step import make_training_step

ITEMS = [f"item{row:02d}" for row in range(12)]
EVAL_DAY = 30
TOKENS = 4
STEPS = 4
TRAIN = {"epochs": 4, "batch_size": 12, "learning_rate": 0.02, "warmup_share": 0.2, "losses": {"reconstruction": 0.0}}
SHORT = {"epochs": 1, "learning_rate": 0.002}
AVERAGING = {"averaging": "ema", "average_decay": 0.5}
SASREC = {
    "entry": "sasrec",
    "dimension": 16,
    "max_history": 2,
    "layers": 1,
    "heads": 2,
    "intermediate": 16,
    "dropout": 0,
}
EITHER = ["sasrec", pytest.param("slice_ranker", marks=pytest.mark.long)]

_one = tf.io.FixedLenFeature([1], tf.int64)
_lists = {"int64": tf.io.VarLenFeature(tf.int64), "float": tf.io.VarLenFeature(tf.float32)}
SPEC: dict[str, Any] = {
    features.HISTORY_ITEMS_XF: _lists["int64"],
    features.HISTORY_TYPES_XF: _lists["int64"],
    features.HISTORY_GAPS_XF: _lists["float"],
    features.HISTORY_GAP_BUCKETS_XF: _lists["int64"],
    features.CANDIDATE_ITEMS_XF: _lists["int64"],
    features.CANDIDATE_TEXT_POSITIONS_XF: _lists["int64"],
    features.CANDIDATE_TOKENS_XF: _lists["int64"],
    features.LABEL: _lists["float"],
    features.LABEL_STRENGTHS_XF: _lists["int64"],
    features.PROFILE_TOKENS_XF: tf.io.FixedLenFeature([TOKENS], tf.int64),
    features.QUERY_TOKENS_XF: tf.io.FixedLenFeature([TOKENS], tf.int64),
    features.REQUEST_DAY_XF: _one,
    features.USER_KEY_XF: _one,
    **dict.fromkeys((features.ITEM_CATEGORY_XF, features.ITEM_BRAND_XF, features.ITEM_PRICE_BUCKET_XF), _one),
    features.ITEM_PRICE_SCALED_XF: tf.io.FixedLenFeature([1], tf.float32),
    **dict.fromkeys((features.ITEM_TITLE, features.ITEM_CATEGORY, features.ITEM_BRAND), tf.io.VarLenFeature(tf.string)),
    features.ITEM_FIRST_SEEN: _lists["int64"],
    features.ITEM_SALES_DAYS: _lists["int64"],
    features.ITEM_SALES_COUNTS: _lists["int64"],
}
VOCABULARIES = {
    features.ITEM_VOCABULARY: ITEMS,
    features.EVENT_TYPE_VOCABULARY: ["view"],
    features.CATEGORY_VOCABULARY: ["things"],
    features.BRAND_VOCABULARY: ["none"],
    features.WORDPIECE_VOCABULARY: [*wordpiece.RESERVED, *ITEMS],
}


def _record(**given: Any) -> bytes:
    """A transformed record; what is not given is an empty list or zeros."""
    found = {}
    for name, spec in SPEC.items():
        zeros = [0] * spec.shape[0] if isinstance(spec, tf.io.FixedLenFeature) else []
        value = given.get(name, zeros)
        if spec.dtype == tf.string:
            found[name] = tf.train.Feature(bytes_list=tf.train.BytesList(value=[part.encode() for part in value]))
        elif spec.dtype == tf.float32:
            found[name] = tf.train.Feature(float_list=tf.train.FloatList(value=value))
        else:
            found[name] = tf.train.Feature(int64_list=tf.train.Int64List(value=value))
    return tf.train.Example(features=tf.train.Features(feature=found)).SerializeToString()


def _decision(number: int, day: int) -> bytes:
    looked_at = number * 5 % 12
    bought, other = (looked_at + 1) % 12, (looked_at + 6) % 12
    return _record(
        history_items_xf=[looked_at + features.FIRST_KNOWN_ID],
        history_types_xf=[features.FIRST_KNOWN_ID],
        history_gaps_xf=[1 + number / 100],
        history_gap_buckets_xf=[1],
        candidate_items_xf=[bought + features.FIRST_KNOWN_ID, other + features.FIRST_KNOWN_ID],
        label=[1.0, 0.0],
        label_strengths_xf=[1 + (number % 3 == 0), 0],
        profile_tokens_xf=[2, 5 + number % 3, 3, 0],
        request_day_xf=[day],
        user_key_xf=[number],
    )


def _item(row: int) -> bytes:
    return _record(
        candidate_items_xf=[row + features.FIRST_KNOWN_ID],
        candidate_tokens_xf=[2, 5 + row, 3, 0],
        item_category_xf=[features.FIRST_KNOWN_ID],
        item_title=[f"The {ITEMS[row]}"],
        item_category=["things"],
        item_first_seen=[0],
        item_sales_days=[5, EVAL_DAY + 1],
        item_sales_counts=[1 + row, 3],
    )


def _write(path: pathlib.Path, records: list[bytes]) -> str:
    with tf.io.TFRecordWriter(str(path), "GZIP") as writer:
        for record in records:
            writer.write(record)
    return str(path)


def _settings(trainable: str = "frozen", entry: str = "slice_ranker", **train: Any) -> settings_lib.Settings:
    encoder = {"trainable": trainable, "hidden_size": 8, "layers": 1, "intermediate_size": 8}
    ranker = {"dimension": 16, "code_dimension": 8, "max_history": 2, "slice_length": 2, "dropout": 0, "id_dropout": 0}
    model = SASREC if entry == "sasrec" else {**ranker, "text_encoder": encoder}
    train = {"device": "cpu", **TRAIN, **AVERAGING, **train}
    transform = {"profile_length": TOKENS, "query_length": TOKENS, "title_length": TOKENS}
    return settings_lib.from_dict({"name": "t", "model": model, "train": train, "transform": transform})


def read_shop(folder: pathlib.Path) -> trainer.Data:
    return trainer.Data(
        train_files=sorted(str(path) for path in folder.glob("train-*")),
        eval_files=[str(folder / "eval.gz")],
        catalogue_files=[str(folder / "catalogue.gz")],
        transform=tft.TFTransformOutput(str(folder)),
    )


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """48 decisions to train on, 24 held out, the catalogue, and what Transform would have learned."""
    folder = tmp_path_factory.mktemp("shop")
    train = [_decision(number, 10 + number % 20) for number in range(STEPS * 12)]
    _write(folder / "train-0.gz", train[:20])
    _write(folder / "train-1.gz", train[20:])
    _write(folder / "eval.gz", [_decision(100 + number, EVAL_DAY) for number in range(24)])
    _write(folder / "catalogue.gz", [_item(row) for row in range(12)])
    metadata = dataset_metadata.DatasetMetadata(schema_utils.schema_from_feature_spec(SPEC))
    metadata_io.write_metadata(metadata, str(folder / "transformed_metadata"))
    assets = folder / "transform_fn" / "assets"
    assets.mkdir(parents=True)
    for name, entries in VOCABULARIES.items():
        (assets / name).write_text("".join(f"{entry}\n" for entry in entries), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def data(shop):
    return read_shop(shop)


@pytest.fixture(scope="module", autouse=True)
def eagerly():
    calibrate = RepeatMixture.calibrate

    def in_a_graph(self, decisions, allowed):
        tf.config.run_functions_eagerly(False)
        try:
            return calibrate(self, decisions, allowed)
        finally:
            tf.config.run_functions_eagerly(True)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(RepeatMixture, "calibrate", in_a_graph)
        tf.config.run_functions_eagerly(True)
        yield
        tf.config.run_functions_eagerly(False)


def _fit(settings, data, folder, final=None):
    return trainer.fit(settings, data, log_dir=str(folder / "logs"), checkpoints=str(folder / "kept"), final=final)


@pytest.fixture(scope="module")
def fitted(data, tmp_path_factory):
    """An undisturbed fit with averaged weights, and its folder."""
    folder = tmp_path_factory.mktemp("fitted")
    return _fit(_settings(), data, folder), folder


def _kept(folder: pathlib.Path, epoch: int, what: str, like: tf.Variable) -> np.ndarray:
    """The one variable in the checkpoint for going on after an epoch whose key has `what` in it, shaped as `like`."""
    reader = tf.train.load_checkpoint(str(folder / "kept" / "last" / f"ckpt-{epoch}"))
    keys = [key for key, shape in reader.get_variable_to_shape_map().items() if what in key and shape == like.shape]
    assert len(keys) == 1
    return reader.get_tensor(keys[0])


AVERAGE = ".OPTIMIZER_SLOT/optimizer/average/"
RAW_IDS, AVERAGE_IDS = "item_encoder/ids/.ATTRIBUTES", f"item_encoder/ids/{AVERAGE}"


def test_loss_falls_and_the_pattern_is_found(fitted):
    run = fitted[0].run
    losses = [epoch["loss"] for epoch in run["history"]]
    assert losses[-1] < losses[-2] < losses[0]
    random = sum(1 / np.log2(rank + 1) for rank in range(1, 11)) / len(ITEMS)
    assert run["metrics"]["ndcg@10"] > random + 0.12
    assert run["device"] == "the CPU"
    assert settings_lib.from_dict({"name": "t", **run["settings"]}) == _settings()


def test_validation_and_the_best_epoch_see_the_averaged_weights(fitted):
    """The model that comes out, whose weights are the averages kept, has the metric that chose it."""
    result, folder = fitted
    best = result.run["best_epoch"]
    values = [epoch["ndcg@10"] for epoch in result.run["history"]]
    assert result.run["best_value"] == max(values) == values[best - 1]
    assert result.run["metrics"]["ndcg@10"] == pytest.approx(max(values), abs=1e-6)
    ids = result.model.item_encoder.ids
    np.testing.assert_array_equal(ids.numpy(), _kept(folder, best, AVERAGE_IDS, ids))
    assert np.abs(ids.numpy() - _kept(folder, best, RAW_IDS, ids)).max() > 1e-5
    np.testing.assert_array_equal(result.model.item_encoder.item_categories.numpy(), features.FIRST_KNOWN_ID)


def _stopped_and_resumed(settings, data, folder, step) -> Any:
    """A fit that is pulled the plug in one of its steps, counted from 1, and started again."""
    train_step, done = CandidateModel.train_step, []

    def fails(self, batch):
        done.append(batch)
        if len(done) == step:
            raise RuntimeError("pulled the plug")
        return train_step(self, batch)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(CandidateModel, "train_step", fails)
        with pytest.raises(RuntimeError, match="pulled the plug"):
            _fit(settings, data, folder)
    return _fit(settings, data, folder)


@pytest.mark.parametrize("entry", EITHER)
def test_a_run_stopped_within_an_epoch_goes_on_as_if_nothing_had_been(data, entry, tmp_path, capsys):
    settings = _settings(entry=entry)
    whole = _fit(settings, data, tmp_path / "whole")
    resumed = _stopped_and_resumed(settings, data, tmp_path / "stopped", 2 * STEPS - 1)
    assert "going on after epoch 1" in capsys.readouterr().out
    assert resumed.run["history"] == whole.run["history"]
    for one, other in zip(resumed.model.variables, whole.model.variables, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy(), err_msg=one.name)
    left = {path.name.split(".")[0] for path in (tmp_path / "stopped" / "kept").glob("best-*")}
    assert left == {f"best-{resumed.run['best_epoch']}"}, "superseded weights are swept"


def test_a_final_fit_keeps_the_last_epochs_averages_and_the_validation_runs_calibration(data, fitted, tmp_path):
    calibration = {"log_temperature": 0.25, "offset": -0.5}
    final = {**fitted[0].run, "best_epoch": 2, "calibration": calibration}
    result = _fit(_settings(), data, tmp_path, final=final)
    assert (len(result.run["history"]), result.run["best_epoch"], result.run["final"]) == (2, 2, True)
    ids = result.model.item_encoder.ids
    np.testing.assert_array_equal(ids.numpy(), _kept(tmp_path, 2, AVERAGE_IDS, ids))
    assert np.abs(ids.numpy() - _kept(tmp_path, 2, RAW_IDS, ids)).max() > 1e-5
    assert result.run["calibration"] == pytest.approx(calibration)
    assert result.run["metrics"] == fitted[0].run["metrics"]
    # A final fit also knows the sales of the evaluation's days.
    assert result.catalogue.sales.sum() == fitted[0].catalogue.sales.sum() + 3 * len(ITEMS)


def test_early_stopping_keeps_the_first_epoch_and_a_stopped_run_is_not_taken_up(data, tmp_path, monkeypatch):
    settings = _settings(entry="sasrec", learning_rate=0, patience=1, epochs=5)
    first = _fit(settings, data, tmp_path).run
    assert (len(first["history"]), first["best_epoch"]) == (2, 1)
    monkeypatch.setattr(CandidateModel, "train_step", None)
    assert _fit(settings, data, tmp_path).run["history"] == first["history"]


def _untrained(settings, data) -> Ranker:
    tf.keras.utils.set_random_seed(settings.train.seed)
    catalogue = inputs.read_catalogue(data.catalogue_files, data.transform, settings, until_day=EVAL_DAY)
    return trainer.build_model(settings, data.transform, catalogue)


def test_a_frozen_encoder_stays_as_it_was(data, fitted):
    before = _untrained(_settings(), data)
    for one, other in zip(before.text_encoder.bert.weights, fitted[0].model.text_encoder.bert.weights, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy(), err_msg=one.name)
    assert np.abs(before.item_encoder.ids.numpy() - fitted[0].model.item_encoder.ids.numpy()).max() > 1e-2


def test_a_trained_encoder_has_read_the_items_texts_with_the_averaged_weights(data, tmp_path):
    settings = _settings("full", epochs=1)
    model = _fit(settings, data, tmp_path).model
    before, after = _untrained(settings, data).text_encoder.bert, model.text_encoder.bert
    words = after.bert.embeddings.weight
    assert np.abs(before.bert.embeddings.weight.numpy() - words.numpy()).max() > 1e-3
    np.testing.assert_array_equal(words.numpy(), _kept(tmp_path, 1, AVERAGE, words))
    texts = model.text_encoder.pool(model.item_tokens)
    np.testing.assert_allclose(model.item_encoder.text_vectors.numpy(), texts.numpy(), atol=1e-6)


def test_lora_learns_after_pretraining_and_is_merged_at_the_end(data, tmp_path):
    text = {"pretraining": {"epochs": 2, "batch_size": 8}}
    fitted = _fit(_settings("lora", **{**SHORT, "learning_rate": 0.02}, text=text), data, tmp_path)
    encoder = fitted.model.text_encoder
    assert encoder.fine_tuning == "frozen"
    assert not any("lora" in weight.name for weight in fitted.model.weights)
    # Two matrices of 8 x 8 for each of two projections were trained, and no weight of BERT's own.
    frozen = sum(int(np.prod(weight.shape)) for weight in fitted.model.trainable_weights)
    assert fitted.run["parameters"] == frozen + 2 * 2 * 8 * 8
    bert = sum(int(np.prod(weight.shape)) for weight in encoder.bert.weights)
    assert fitted.run["all_parameters"] >= frozen + bert
    checkpoint = tf.train.load_checkpoint(tf.train.latest_checkpoint(str(tmp_path / "kept/pretraining/pretraining_0")))
    words, query = encoder.bert_weights[0], encoder.bert_weights[5]
    assert "word_embeddings" in words.name and "query/kernel" in query.name
    before = [checkpoint.get_tensor(f"weights/{place}/.ATTRIBUTES/VARIABLE_VALUE") for place in (0, 5)]
    np.testing.assert_array_equal(words, before[0])
    assert np.abs(query - before[1]).max() > 1e-3
    tokens = tf.constant(fitted.catalogue.table.tokens)
    np.testing.assert_allclose(fitted.model.item_encoder.text_vectors, encoder.pool(tokens), atol=1e-5)


def test_what_is_for_a_gpu_is_said_to_be_left_out():
    train = dataclasses.replace(_settings().train, mixed_precision=True)
    assert trainer.hardware_of(train).said_for(train) == "the CPU; train.mixed_precision is for a GPU and left out"
    both = dataclasses.replace(train, xla=True)
    assert (
        trainer.hardware_of(both)
        .said_for(both)
        .endswith("train.mixed_precision and train.xla are for a GPU and left out")
    )
    gpu = trainer.Hardware(tf.distribute.get_strategy(), "2 GPUs", "mixed_float16")
    assert (gpu.said_for(both), trainer.hardware_of(_settings().train).said_for(_settings().train)) == (
        "2 GPUs",
        "the CPU",
    )


def test_losses_that_an_entry_does_not_have_are_said_to_be_passed_over():
    losses = LossOptions(sampled_items=5, listwise=0.5, weighting="uncertainty")
    settings = _settings()
    settings = dataclasses.replace(settings, train=dataclasses.replace(settings.train, losses=losses))
    assert trainer.passed_over(settings) == []
    sasrec = dataclasses.replace(settings, model=registry.entry("sasrec").options())
    assert trainer.passed_over(sasrec) == ["train.losses.listwise", "train.losses.sampled_items"]


def test_a_large_catalogue_is_drawn_from_by_itself(data, capsys):
    large = _settings(losses={"catalogue": 1.0, "full_softmax_items": len(ITEMS) - 1})
    assert _untrained(large, data).config.sampled_items == 4096
    assert "softmax draws 4,096 from 12 items" in capsys.readouterr().out
    assert _untrained(_settings(), data).config.sampled_items == 0
    assert "softmax" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("entry", "train", "losses", "drawn"),
    [
        ("slice_ranker", {}, {}, 4096),
        ("slice_ranker", {}, {"full_softmax_items": 60_000}, 0),
        ("slice_ranker", {}, {"sampled_items": 300}, 300),
        ("slice_ranker", {}, {"label_smoothing": 0.1}, 0),
        ("slice_ranker", {"adversarial": {"kind": "vat"}}, {}, 0),
        ("slice_ranker", {"adversarial": {"kind": "fgm"}}, {}, 4096),
        ("slice_ranker", {"xla": True}, {"reconstruction": 0.1}, 0),
        ("sasrec", {}, {}, 0),
    ],
    ids=str,
)
def test_what_needs_the_whole_softmax_keeps_it(entry, train, losses, drawn):
    losses = {"catalogue": 1.0, "listwise": 0.0, "binary": 0.0, **losses}
    assert trainer.losses_for(_settings(entry=entry, **train, losses=losses), 60_000).sampled_items == drawn


def test_half_precision_ends_with_the_fit(data, tmp_path, monkeypatch):
    """The fit runs under the policy; what comes out computes in float32, and the policy is what it was."""
    half = trainer.Hardware(tf.distribute.get_strategy(), "the CPU", "mixed_float16")
    monkeypatch.setattr(trainer, "hardware_of", lambda train: half)
    trained_in = []
    train_step = Ranker.train_step

    def watched(self, batch):
        trained_in.append((self.compute_dtype, type(self.optimizer).__name__))
        return train_step(self, batch)

    monkeypatch.setattr(Ranker, "train_step", watched)
    # The first steps only lower the scale of the loss; the last epoch is the one to be kept.
    final = {"best_epoch": 4, "metrics": {}, "calibration": {"log_temperature": 0.1, "offset": 0.0}}
    result = _fit(_settings(epochs=4), data, tmp_path, final=final)
    assert set(trained_in) == {("float16", "LossScaleOptimizer")}
    assert tf.keras.mixed_precision.global_policy().name == "float32"
    model = result.model
    assert model.mixture.calibration() == pytest.approx((0.1, 0.0))
    ids = model.item_encoder.ids
    np.testing.assert_array_equal(ids.numpy(), _kept(tmp_path, 4, AVERAGE_IDS, ids))
    assert np.abs(ids.numpy() - _kept(tmp_path, 4, RAW_IDS, ids)).max() > 1e-4
    layers = [part for part in model.submodules if isinstance(part, tf.keras.layers.Layer)]
    assert len(layers) > 20
    assert {layer.compute_dtype for layer in layers} == {"float32"}
    batch = next(iter(result.held_out))[0]
    assert {tensor.dtype for tensor in batch.values()} == {tf.float32, tf.int64}
    with trainer.precision("mixed_float16"):
        mixed = Ranker.from_config(model.get_config())
    mixed.set_weights(model.get_weights())
    twin = trainer.in_float32(mixed)
    np.testing.assert_array_equal(twin(batch).numpy(), model(batch).numpy())
    exact, rounded = (one.score_candidates(one.encode_user(batch), batch).numpy() for one in (model, mixed))
    np.testing.assert_allclose(rounded, exact, atol=0.05)
    assert np.abs(rounded - exact).max() > 0


LEARNED = {"reconstruction": 0.1, "weighting": "uncertainty"}
BESIDE = {"accumulate": 2, "batch_size": 6, "adversarial": {"kind": "fgm", "epsilon": 0.02}}


def _beside(**changes: Any) -> settings_lib.Settings:
    """Parts, an adversary and learned weights at once, on top of averaged weights."""
    return _settings(**{**BESIDE, "losses": LEARNED, **changes})


@pytest.mark.parametrize("entry", EITHER)
def test_parts_of_a_batch_learn_what_the_whole_batch_does(data, entry, tmp_path):
    """Every decision has one positive, so that parts weigh alike; the same steps, averages and metrics."""
    whole = _fit(_settings(entry=entry), data, tmp_path / "whole").run
    run = _fit(_settings(entry=entry, accumulate=2, batch_size=6), data, tmp_path / "parts").run
    for one, other in zip(run["history"], whole["history"], strict=True):
        assert one == pytest.approx(other, abs=2e-3)


@pytest.mark.parametrize("entry", EITHER)
def test_a_step_with_everything_beside_it_goes_on_after_a_stop(data, entry, tmp_path):
    settings = _beside(entry=entry, epochs=2)
    whole = _fit(settings, data, tmp_path / "whole")
    assert {"adversarial", "loss", "catalogue"} <= set(whole.run["history"][0])
    resumed = _stopped_and_resumed(settings, data, tmp_path / "stopped", STEPS + 2)
    assert resumed.run["history"] == whole.run["history"]
    ours, theirs = (
        tf.train.load_checkpoint(str(tmp_path / name / "kept" / "last" / "ckpt-2")) for name in ("stopped", "whole")
    )
    keys = [key for key in ours.get_variable_to_shape_map() if key.startswith("beside/variables/")]
    values = [ours.get_tensor(key) for key in keys if key.endswith("VARIABLE_VALUE") and "OPTIMIZER" not in key]
    # Log variances: the catalogue's, and of the two parts of the reconstruction, which only one of the entries has.
    assert len(values) == (3 if entry == "slice_ranker" else 1)
    assert np.abs(values).max() > 1e-3
    for key in keys:
        np.testing.assert_array_equal(ours.get_tensor(key), theirs.get_tensor(key), err_msg=key)
    names = [variable.name for variable in resumed.model.variables]
    assert not [name for name in names if "log_variance" in name]


def test_tasks_learn_each_by_its_own_loss_and_are_measured_each_by_its_positives(data, tmp_path):
    """A third of the positives were purchases, which count as clicks too."""
    types = ["click", "purchase"]
    plain = settings_lib.to_dict(_settings(epochs=3, losses=LEARNED))
    plain["decisions"] |= {"label_event_types": types, "label_strengths": types}
    plain["model"]["tasks"] = {"purchase": 3, "click": 1}
    plain["train"]["losses"]["task_weights"] = {"purchase": 0.5}
    settings = settings_lib.from_dict(plain)
    result = _fit(settings, data, tmp_path)
    history = result.run["history"]
    for task in types:
        assert history[-1][f"catalogue_{task}"] < history[0][f"catalogue_{task}"]
    assert "catalogue" not in history[0]
    step = make_training_step(settings.train, result.model)
    names = [variable.name for variable in step.variables]
    starts = {
        name.removesuffix("_log_variance:0"): variable for name, variable in zip(names, step.variables, strict=True)
    }
    parts = ["reconstruction_items", "reconstruction_vector"]
    weights = {"catalogue_click": 1.0, "catalogue_purchase": 0.5, **dict.fromkeys(parts, 0.1)}
    assert {name: float(tf.exp(-variable)) for name, variable in starts.items()} == pytest.approx(weights)
    measured = {task: RankingMetrics(["ndcg@10"]) for task in types}
    for batch, labels in result.held_out:
        scores = result.model.score_catalogue(result.model.encode_user(batch)).numpy()
        bought = batch[features.CANDIDATE_ITEMS_XF].numpy()[:, 0] - features.FIRST_KNOWN_ID
        own = np.eye(len(ITEMS))[bought]
        measured["click"].update(own, scores)
        purchases = batch[features.LABEL_STRENGTHS_XF].numpy()[:, :1] == 2
        measured["purchase"].update(own * purchases, scores)
        assert 0 < purchases.sum() < len(labels)
    metrics = result.run["metrics"]
    for task, found in measured.items():
        assert metrics[f"ndcg@10_{task}"] == pytest.approx(found.result()["ndcg@10"], abs=1e-6)
    assert metrics["ndcg@10_click"] == pytest.approx(metrics["ndcg@10"]) != metrics["ndcg@10_purchase"]
    untold = dataclasses.replace(settings, decisions=settings_lib.DecisionSettings())
    batch = next(iter(inputs.decisions(data.eval_files, data.transform, untold, batch_size=5)))[0]
    assert features.LABEL_STRENGTHS_XF not in batch


@pytest.mark.long
def test_half_precision_trains_in_parts_against_an_adversary_and_two_views(data, tmp_path, monkeypatch):
    half = trainer.Hardware(tf.distribute.get_strategy(), "the CPU", "mixed_float16")
    monkeypatch.setattr(trainer, "hardware_of", lambda train: half)
    settings = _beside(epochs=3, contrastive={"weight": 0.1})
    final = {"best_epoch": 3, "metrics": {}, "calibration": {"log_temperature": 0.1, "offset": 0.0}}
    history = _fit(settings, data, tmp_path, final=final).run["history"]
    assert np.isfinite(list(history[-1].values())).all()
    assert history[-1]["catalogue"] < history[0]["catalogue"]
    assert history[-1]["contrastive"] > 0


def test_the_best_epochs_are_averaged_as_far_as_validation_gains_and_a_final_fit_averages_the_same(data, tmp_path):
    settings = _settings(entry="sasrec", averaging="best_epochs", averaged_epochs=3)
    result = _fit(settings, data, tmp_path / "validation")
    run = result.run
    chosen, values = run["averaged_epochs"], [epoch["ndcg@10"] for epoch in run["history"]]
    assert run["best_epoch"] in chosen
    assert set(chosen) <= set(np.argsort(values, kind="stable")[-3:] + 1)
    assert run["metrics"]["ndcg@10"] >= run["best_value"] - 1e-6
    left = {path.name.split(".")[0] for path in (tmp_path / "validation" / "kept").glob("best-*")}
    assert len(left) == 3
    final = {**run, "averaged_epochs": [2, 4], "best_epoch": 2}
    again = _fit(settings, data, tmp_path / "final", final=final)
    assert len(again.run["history"]) == 4
    ids = again.model.item_embeddings
    kept = [
        tf.train.load_checkpoint(str(tmp_path / "final" / "kept" / f"best-{epoch}")).get_tensor(
            _key_of(again.model, ids)
        )
        for epoch in (2, 4)
    ]
    np.testing.assert_allclose(ids.numpy(), (kept[0] + kept[1]) / 2, atol=1e-7)
    assert np.abs(kept[0] - kept[1]).max() > 1e-4
    assert again.run["averaged_epochs"] == [2, 4]


def _key_of(model: CandidateModel, wanted: tf.Variable) -> str:
    place = next(i for i, variable in enumerate(model.variables) if variable is wanted)
    return f"weights/{place}/.ATTRIBUTES/VARIABLE_VALUE"


def test_a_split_without_files_is_named(shop):
    train, evaluation = [f"{shop}/train-*"], [f"{shop}/eval*", f"{shop}/Split-{features.CATALOGUE_SPLIT}/*"]
    with pytest.raises(settings_lib.SettingsError, match=r"Split-catalogue/\*: is no file; expected a split"):
        trainer.split_files(train, evaluation, str(shop))
    with pytest.raises(settings_lib.SettingsError, match=r"Split-recent/\*: is no file; expected a split"):
        trainer.split_files([*train, f"{shop}/Split-recent/*"], evaluation[:1], str(shop))
    found = trainer.split_files(train, evaluation[:1], str(shop))
    assert [pathlib.Path(file).name for file in found.train_files] == ["train-0.gz", "train-1.gz"]


def test_an_item_without_an_id_in_the_vocabulary_is_named_by_its_title(data, tmp_path):
    record = _record(candidate_items_xf=[features.FIRST_KNOWN_ID - 1], item_title=["木椅 · chair"])
    with pytest.raises(ValueError, match="the item titled '木椅 · chair' is not in the vocabulary"):
        inputs.read_catalogue([_write(tmp_path / "c.gz", [record])], data.transform, _settings(), until_day=None)


def _values(dataset: tf.data.Dataset) -> list[Any]:
    return [tf.nest.map_structure(lambda tensor: tensor.numpy().tolist(), batch) for batch in dataset]


def test_the_same_decisions_are_held_out_however_they_are_spread_over_files(data, tmp_path):
    records = list(tf.data.TFRecordDataset(data.eval_files, "GZIP").as_numpy_iterator())
    order = np.random.default_rng(0).permutation(len(records))
    shards = [_write(tmp_path / f"{i}.gz", [records[row] for row in part]) for i, part in enumerate(np.split(order, 3))]
    options: dict[str, Any] = {"number": 7, "batch_size": 5}
    one = _values(inputs.held_out_decisions(data.eval_files, data.transform, _settings(), **options))
    other = _values(inputs.held_out_decisions(shards, data.transform, _settings(), **options))
    assert one == other
    assert [len(labels) for _, labels in one] == [5, 2]
    first = _values(inputs.decisions(data.eval_files, data.transform, _settings(), batch_size=5).take(1))
    assert one[:1] != first, "chosen by content, not the first of the file"


def test_an_epoch_comes_in_one_order_whichever_epoch_is_the_first(data):
    def epochs(*which: int) -> list[Any]:
        options: dict[str, Any] = {"batch_size": 12, "seed": 3, "epochs": range(*which)}
        dataset, steps = inputs.training_decisions(data.train_files, data.transform, _settings(), **options)
        assert steps == STEPS
        gaps = [batch[features.HISTORY_GAPS_XF].numpy()[:, 0].tolist() for batch, _ in dataset]
        return [gaps[i : i + steps] for i in range(0, len(gaps), steps)]

    everything = epochs(0, 3)
    assert len(everything) == 3
    assert epochs(2, 3) == everything[2:]
    assert everything[0] != everything[1]
    flat = [sorted(gap for batch in epoch for gap in batch) for epoch in everything]
    assert flat[0] == flat[1] == flat[2] == pytest.approx([1 + number / 100 for number in range(STEPS * 12)])


def test_calibration_keeps_no_more_scores_than_allowed_and_metrics_see_every_decision(fitted, monkeypatch):
    model, decisions = fitted[0].model, fitted[0].held_out
    given, balanced = [], []
    monkeypatch.setattr(RepeatMixture, "calibrate", lambda self, batches, allowed: given.append(len(batches)))
    monkeypatch.setattr(RepeatMixture, "balance", lambda self, batches, allowed: balanced.append(len(batches)))
    found = []
    for limit in (1, 13 * 12, 10_000):
        found.append(callbacks.CatalogueRanking(model, decisions, calibration_scores=limit).evaluate())
    assert given == balanced == [1, 2, 2], "batches of 12 decisions and 12 items"
    assert found[0] == found[1] == found[2]
    assert found[0]["ndcg@10"] == pytest.approx(fitted[0].run["metrics"]["ndcg@10"])


def test_the_projector_shows_the_items_with_most_events(fitted, tmp_path):
    result = fitted[0]
    logs.write_logs(str(tmp_path), _settings(), result.model, result.catalogue, result.held_out, most_items=3)
    rows = [line.split("\t") for line in (tmp_path / "items.tsv").read_text(encoding="utf-8").splitlines()]
    assert rows[0] == ["item_id", "title", "category", "events"]
    assert rows[1:] == [[ITEMS[row], f"The {ITEMS[row]}", "things", str(1 + row)] for row in (11, 10, 9)]
    vectors = np.loadtxt(tmp_path / "items_vectors.tsv", delimiter="\t")
    np.testing.assert_allclose(vectors, result.model.item_encoder(None).numpy()[[11, 10, 9]], atol=1e-5)
    users = (tmp_path / "users.tsv").read_text(encoding="utf-8").splitlines()
    assert len(users) == 1 + 24
    assert users[1].startswith("1\tThe item")


@pytest.mark.parametrize("use_profile", [True, False])
def test_a_frozen_encoder_reads_what_is_used_and_every_text_of_a_chunk_once(data, use_profile):
    settings = _settings()
    settings = dataclasses.replace(settings, model=dataclasses.replace(settings.model, use_profile=use_profile))
    read, places = [], [1.0, 10, 100, 1000]

    def encode(tokens):
        def pool(rows):
            read.extend(rows.tolist())
            return rows @ places

        pooled = tf.numpy_function(pool, [tokens], tf.double)
        return tf.ensure_shape(pooled, [None])[:, tf.newaxis]

    texts = dataclasses.replace(trainer._texts(_untrained(settings, data)), encode=encode)
    batches = inputs.decisions(data.eval_files, data.transform, settings, batch_size=24, texts=texts)
    found = next(iter(batches))[0]
    tokens = next(iter(inputs.decisions(data.eval_files, data.transform, settings, batch_size=24)))[0]
    profiles, queries = tokens[features.PROFILE_TOKENS_XF].numpy(), tokens[features.QUERY_TOKENS_XF].numpy()
    np.testing.assert_array_equal(found[features.QUERY_POOLED_XF][:, 0], queries @ places)
    different = set(map(tuple, queries))
    if use_profile:
        np.testing.assert_array_equal(found[features.PROFILE_POOLED_XF][:, 0], profiles @ places)
        different |= set(map(tuple, profiles))
    else:
        assert features.PROFILE_POOLED_XF not in found
    assert sorted(map(tuple, read)) == sorted(different)


PARTS = {"accumulate": 2, "batch_size": 6}


@pytest.mark.parametrize(
    ("entry", "parts"),
    [
        ("sasrec", PARTS),
        pytest.param("slice_ranker", {}, marks=pytest.mark.long),
        pytest.param("slice_ranker", PARTS, marks=pytest.mark.long),
    ],
)
def test_two_replicas_learn_what_one_learns(shop, data, tmp_path, entry, parts):
    """In another process with two logical CPUs.

    Every decision has one positive, so that both halves of a batch weigh alike. Weights are no measure, and the rate is
    low: Adam makes whole steps of gradients that are zero but for rounding.
    """
    folders = [tmp_path / "one", tmp_path / "two"]
    one = _fit(_settings(entry=entry, **SHORT), data, folders[0]).run
    arguments = [sys.executable, __file__, str(shop), str(folders[1]), entry, json.dumps(parts)]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    two = json.loads((folders[1] / "run.json").read_text(encoding="utf-8"))
    assert two["device"] == "2 CPUs"
    assert two["history"][0] == pytest.approx(one["history"][0], abs=1e-4)
    if entry == "slice_ranker":
        temperatures, offsets = zip(*(run["calibration"].values() for run in (one, two)), strict=True)
        assert temperatures[1] == pytest.approx(temperatures[0], abs=1e-2)
        assert offsets[1] == pytest.approx(offsets[0], abs=0.14)  # a step of the balance may turn on rounding
    ours, theirs = (tf.train.load_checkpoint(str(folder / "kept" / "last" / "ckpt-1")) for folder in folders)
    means = [key for key in ours.get_variable_to_shape_map() if key.endswith("/m/.ATTRIBUTES/VARIABLE_VALUE")]
    assert len(means) > (30 if entry == "slice_ranker" else 8)
    for key in means:  # Adam's running means of the gradients
        np.testing.assert_allclose(theirs.get_tensor(key), ours.get_tensor(key), atol=1e-4, err_msg=key)
    assert max(np.abs(ours.get_tensor(key)).max() for key in means) > 1e-2


def _two_replicas(shop: str, folder: str, entry: str, parts: str) -> None:
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    settings = _settings(entry=entry, **{**SHORT, **json.loads(parts)})
    run = _fit(settings, read_shop(pathlib.Path(shop)), pathlib.Path(folder)).run
    (pathlib.Path(folder) / "run.json").write_text(json.dumps(run), encoding="utf-8")


if __name__ == "__main__":
    _two_replicas(*sys.argv[1:])
