"""The whole path on a tiny shop: raw tables, pipeline, gate, push, server, and what happens when it is run again."""

from __future__ import annotations

import dataclasses
import pathlib
import shutil
import signal

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_text  # noqa: F401  (registers the tokeniser's ops)

from models import features
from models.dense_inputs import dense_inputs
from models.metrics import RankingMetrics
from serving import contract
from serving.client import Client, build_inputs
from serving.requests import Request
from serving.server.process import ServerProcess
from serving.signatures import CatalogueServable
from tfx_pipeline import inputs, trainer
from tfx_pipeline import settings as settings_lib

ROOT = pathlib.Path(__file__).parents[2]
CONTEXT = ("country", "gender", "age_band")
HISTORY = ("history_item_ids", "history_event_types", "history_timestamps")


def _states(run: dict) -> dict[str, str]:
    return {component["name"]: component["state"] for component in run["components"]}


def _newest(home: pathlib.Path, component: str, output: str) -> pathlib.Path:
    folders = (home / "artifacts" / component / output).iterdir()
    return max(folders, key=lambda folder: int(folder.name))


def test_a_first_run_ends_with_a_blessed_pushed_model(tiny):
    printed = (tiny.folder / "first_output.txt").read_text(encoding="utf-8")
    run = tiny.last_run()
    assert run["blessed"], printed
    assert run["pushed"]["anew"]
    assert pathlib.Path(run["pushed"]["path"], "saved_model.pb").is_file()
    assert set(_states(run).values()) <= {"done", "resolved"}, _states(run)
    assert "epoch 1/3" in printed
    assert _states(run)["FinalTrainer"] == "done"
    assert "Warning" not in printed
    assert "Traceback" not in printed


def test_tensorboard_has_losses_metrics_projector_and_configuration(tiny):
    logs = pathlib.Path(tiny.last_run()["tensorboard"])
    tags: set[str] = set()
    has_graph = False
    for file in logs.rglob("events.out.tfevents*"):
        for event in tf.compat.v1.train.summary_iterator(str(file)):
            tags.update(value.tag for value in event.summary.value)
            has_graph |= bool(event.graph_def)
    assert has_graph
    for wanted in (
        "epoch_catalogue",
        "epoch_reconstruction_items",
        "epoch_ndcg@10",
        "epoch_learning_rate",
        "configuration",
    ):
        assert wanted in tags
    titles = (logs / "items.tsv").read_text(encoding="utf-8").splitlines()
    vectors = np.loadtxt(logs / "items_vectors.tsv")
    assert len(titles) == len(vectors) + 1
    users = (logs / "users.tsv").read_text(encoding="utf-8").splitlines()
    assert len(users) == len(np.loadtxt(logs / "users_vectors.tsv")) + 1 > 2
    assert any("·" in title for title in titles)


def test_evaluator_reports_what_the_exported_model_scores(tiny):
    run = tiny.last_run()
    # What was pushed was fitted once more, on everything; Evaluator judged the validation fit.
    model = tf.saved_model.load(str(_newest(tiny.home, "Trainer", "model") / "Format-Serving"))
    examples = _newest(tiny.home, "FileBasedExampleGen", "examples") / "Split-eval"
    metrics = RankingMetrics(["ndcg@10", "mrr", "auc"])
    files = [str(file) for file in examples.iterdir()]
    for records in tf.data.TFRecordDataset(files, compression_type="GZIP").batch(64):
        scores = model.signatures[contract.SERVING_DEFAULT](examples=records)[contract.SCORES].numpy()
        parsed = tf.io.parse_example(records, {features.LABEL: tf.io.FixedLenFeature([scores.shape[1]], tf.float32)})
        metrics.update(parsed[features.LABEL].numpy(), scores)
    for name, value in metrics.result().items():
        assert run["metrics"][name] == pytest.approx(value, abs=1e-6)


def _requests(item_ids: list[str]) -> list[Request]:
    moment = 1_711_000_000
    long = [
        (item_ids[i % len(item_ids)], ("click", "view", "purchase")[i % 3], moment - 60 * (1000 - i))
        for i in range(1000)
    ]
    return [
        Request(
            user_id="somebody", request_time=moment, history=long, profile_text="I like hiking", candidates=item_ids[:7]
        ),
        Request(user_id="nobody", request_time=moment, candidates=item_ids[:3]),
        Request(
            user_id="谁",
            request_time=moment,
            query="防水登山靴",
            profile_text="我喜欢徒步 🥾🥾",
            history=[("no such item", "click", moment - 50), (item_ids[3], "no such type", moment - 9)],
            context={"country": "nowhere"},
            candidates=["an unknown item", item_ids[5]],
            candidate_text=["Waterproof boots · 防水 登山靴 👢", ""],
        ),
    ]


def _as_example(request: Request, width: int) -> bytes:
    values = build_inputs(contract.RANK, [request], CONTEXT)
    example = tf.train.Example()
    feature = example.features.feature
    for name in (features.USER_ID, features.PROFILE_TEXT, features.QUERY, *CONTEXT):
        text = values[name][0]
        feature[name].bytes_list.value.append(text if isinstance(text, bytes) else text.encode())
    feature[features.REQUEST_TIME].int64_list.value.append(int(values[features.REQUEST_TIME][0]))
    length = int(values[contract.HISTORY_LENGTH][0])
    for name in HISTORY:
        for value in values[name][0][:length]:
            if name == features.HISTORY_TIMESTAMPS:
                feature[name].int64_list.value.append(int(value))
            else:
                feature[name].bytes_list.value.append(value if isinstance(value, bytes) else value.encode())
    number = int(values[contract.CANDIDATE_COUNT][0])
    for name in (features.CANDIDATE_ITEM_IDS, features.CANDIDATE_TEXT):
        row = [value if isinstance(value, bytes) else value.encode() for value in values[name][0][:number]]
        feature[name].bytes_list.value.extend(row + [b""] * (width - number))
    return example.SerializeToString()


def test_server_over_grpc_and_evaluators_signature_score_alike(tiny):
    run = tiny.last_run()
    model = tf.saved_model.load(run["pushed"]["path"])
    item_ids = [line.split("\t")[0] for line in _items(run)]
    requests = _requests(item_ids)
    examples = tf.constant([_as_example(request, 7) for request in requests])
    expected = model.signatures[contract.SERVING_DEFAULT](examples=examples)[contract.SCORES].numpy()
    name = run["model_name"]
    with (
        ServerProcess(pathlib.Path(run["serving"]), name, flags=("--max_num_load_retries=0",)) as server,
        Client(server.address, model_name=name, context_columns=CONTEXT, timeout=60) as client,
    ):
        together = client.rank(requests)
        alone = [client.rank(request) for request in requests]
        recommended = client.recommend(requests)
        excluded = client.recommend(
            Request(user_id="x", request_time=1_711_000_000, exclude=item_ids[:60], allow=item_ids[50:70])
        )
        profile = client.profile(requests[0])
    for row, request in enumerate(requests):
        number = len(request.candidates)
        assert np.isfinite(expected[row, :number]).all()
        np.testing.assert_allclose(together[row].scores, expected[row, :number], atol=1e-4)
        np.testing.assert_allclose(alone[row].scores, expected[row, :number], atol=1e-4)
        assert together[row].version == run["pushed"]["version"]
        assert len(recommended[row].item_ids) == 100
    assert sorted(item for item in excluded.item_ids if item) == sorted(item_ids[60:70])
    assert len(profile.tags) == 10


def test_the_fitted_model_and_its_export_score_alike(tiny, tmp_path, monkeypatch):
    """Trainer's own scores, from transformed examples, are those of the SavedModel, from raw ones.

    To be quick, the steps of the fit run eagerly, and no other signature is traced: the first run did both.
    """
    settings = settings_lib.load(tiny.folder / "tiny.yaml")
    transformed = _newest(tiny.home, "Transform", "transformed_examples")
    data = trainer.split_files(
        [f"{transformed}/Split-train/*"],
        [f"{transformed}/Split-eval/*", f"{transformed}/Split-catalogue/*"],
        str(_newest(tiny.home, "Transform", "transform_graph")),
    )
    once = settings_lib.from_dict({**settings_lib.to_dict(settings), "train": {"epochs": 1, "batch_size": 64}})
    tf.config.run_functions_eagerly(True)
    try:
        fitted = trainer.fit(once, data, log_dir=str(tmp_path / "logs"), checkpoints=str(tmp_path / "checkpoints"))
    finally:
        tf.config.run_functions_eagerly(False)
    monkeypatch.setattr(
        CatalogueServable,
        "signatures",
        lambda self, names: {contract.SERVING_DEFAULT: self._serving_default_function()},
    )
    trainer.export(fitted.model, once, data.transform, fitted.catalogue, str(tmp_path / "model"))
    exported = tf.saved_model.load(str(tmp_path / "model"))
    raw = _newest(tiny.home, "FileBasedExampleGen", "examples") / "Split-eval"
    batches = inputs.decisions(data.eval_files, data.transform, once, batch_size=32)
    records = tf.data.TFRecordDataset(sorted(str(file) for file in raw.iterdir()), compression_type="GZIP").batch(32)
    live, served = {}, {}
    for batch, labels in batches.take(3):
        scores = fitted.model(batch).numpy()
        for row in range(len(labels)):
            live[batch[features.CANDIDATE_ITEMS_XF][row].numpy().tobytes()] = scores[row]
    for record in records:
        scores = exported.signatures[contract.SERVING_DEFAULT](examples=record)[contract.SCORES].numpy()
        parsed = data.transform.transform_raw_features(tf.io.parse_example(record, data.transform.raw_feature_spec()))
        rows = tf.sparse.to_dense(parsed[features.CANDIDATE_ITEMS_XF]).numpy()
        served.update({row.tobytes(): score for row, score in zip(rows, scores, strict=True)})
    compared = [key for key in live if key in served]
    assert len(compared) > 30
    for key in compared:
        real = np.isfinite(served[key])
        np.testing.assert_allclose(live[key][real], served[key][real], atol=1e-4)
    # The requests that the server was asked, too: no history, unknown ids, Chinese, emoji, a thousand events.
    requests = _requests([line.split("\t")[0] for line in _items(tiny.last_run())])
    examples = tf.constant([_as_example(request, 7) for request in requests])
    wanted = {*features.REQUEST_FEATURES, *CONTEXT}
    spec = {name: part for name, part in data.transform.raw_feature_spec().items() if name in wanted}
    transformed = data.transform.transform_features_layer()(tf.io.parse_example(examples, spec))
    scores = fitted.model(dense_inputs(transformed, once.transform.title_length)).numpy()
    answered = exported.signatures[contract.SERVING_DEFAULT](examples=examples)[contract.SCORES].numpy()
    for row, request in enumerate(requests):
        number = len(request.candidates)
        np.testing.assert_allclose(scores[row, :number], answered[row, :number], atol=1e-4)


def _items(run: dict) -> list[str]:
    return pathlib.Path(run["tensorboard"], "items.tsv").read_text(encoding="utf-8").splitlines()[1:]


def test_nothing_new_says_so_and_a_forced_run_takes_all_from_the_cache(tiny):
    version = tiny.last_run()["pushed"]["version"]
    assert "Nothing is new" in tiny.run()
    printed = tiny.run(PIPELINE_FORCE="1")
    run = tiny.last_run()
    fresh = {name for name, state in _states(run).items() if state == "done"}
    assert fresh <= {"Pusher"}, fresh
    assert "training on" not in printed
    assert run["pushed"]["version"] == version
    assert not run["pushed"]["anew"]


@pytest.mark.long
def test_a_changed_layer_retrains_only_and_a_run_killed_in_training_goes_on(tiny, tmp_path):
    before = tiny.last_run()["pushed"]["version"]
    for package in ("models", "serving", "tfx_pipeline", "configs"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    changed = dataclasses.replace(tiny, code=tmp_path)
    layer = tmp_path / "models" / "fusion.py"
    written = layer.read_text(encoding="utf-8")
    layer.write_text(f"# A comment is no change.\n{written}", encoding="utf-8")
    assert "Nothing is new" in changed.run()
    assert 'activation="gelu"' in written
    layer.write_text(written.replace('activation="gelu"', 'activation="relu"'), encoding="utf-8")
    process = changed.start()
    assert process.stdout is not None
    for line in process.stdout:
        if "epoch 2/3" in line:  # so the checkpoint of the first is whole
            break
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    printed = changed.run()
    assert "going on after epoch" in printed
    assert "epoch 1/3" not in printed
    states = _states(tiny.last_run())
    assert states["Trainer"] == "done"
    for name in ("FileBasedExampleGen", "StatisticsGen", "ExampleValidator", "AnomalyGate", "Transform"):
        assert states[name] == "from the cache", states
    run = tiny.last_run()
    assert run["blessed"]
    assert run["pushed"]["version"] > before
    # Folders only: Pusher's lock is a hidden file, its half-done copies would be hidden folders.
    served = {child.name for child in pathlib.Path(run["serving"]).iterdir() if child.is_dir()}
    assert served == {str(before), str(run["pushed"]["version"])}
    assert not (tiny.home / "artifacts" / "checkpoints").exists()
