"""With TensorFlow: real SavedModels, warm-up by real requests, and the embedded server under traffic."""

import dataclasses
import json

import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from serving import contract
from serving.client import Client
from serving.release import placement
from serving.release.errors import ReleaseError
from serving.release.recorded import WARMUP_FILE, RecordedRequests
from serving.release.saved_model import SavedModel
from serving.release.state import State
from serving.server.embedded import Server

REQUEST = {"user_id": "u1", "candidates": ["ab"], "context": {"country": "France"}}


@pytest.fixture
def pushed(toys, tmp_path):
    """Toy versions 1 (its scores are doubled) and 2 (tripled)."""
    for version, factor in ((1, 2), (2, 3)):
        toys.put(tmp_path / "pushed", version, factor)
    return tmp_path / "pushed"


@pytest.fixture
def recorded(tmp_path):
    file = tmp_path / "requests.jsonl"
    file.write_text("".join(json.dumps({**REQUEST, "user_id": f"u{number}"}) + "\n" for number in range(300)))
    return file


def test_a_real_saved_model_is_read(pushed):
    model = SavedModel.read(pushed / "1")
    loaded = tf.saved_model.load(str(pushed / "1"))
    assert set(model.signatures) == set(loaded.signatures)
    for name, function in loaded.signatures.items():
        inputs = function.structured_input_signature[1]
        assert {alias: list(spec.shape) for alias, spec in model.signatures[name].inputs.items()} == {
            alias: [-1 if size is None else size for size in spec.shape] for alias, spec in inputs.items()
        }
        assert set(model.signatures[name].outputs) == set(function.structured_outputs)
    assert model.signatures["typed"].inputs["n"].dtype == "int64" and model.context_columns == ("country",)
    model.check_variables()


@pytest.mark.parametrize("cut", [slice(0, -1), slice(0, 0), "flip"])
def test_variables_that_are_not_whole_are_refused(pushed, cut):
    (shard,) = (pushed / "1" / "variables").glob("*.data-*")
    content = shard.read_bytes()
    shard.write_bytes(content[:-1] + bytes([content[-1] ^ 1]) if cut == "flip" else content[cut])
    with pytest.raises(ReleaseError, match="its variables cannot be read"):
        SavedModel.read(pushed / "1").check_variables()


def test_warm_up_by_real_requests(pushed, recorded, toy_flags, tmp_path):
    model = SavedModel.read(pushed / "1")
    assert RecordedRequests(recorded).write_warmup(model, "toy") == 1000  # 250 of 300, in 4 signatures
    logs = [
        prediction_log_pb2.PredictionLog.FromString(record.numpy()).predict_log.request
        for record in tf.data.TFRecordDataset(str(model.path / WARMUP_FILE))
    ]
    assert {log.model_spec.signature_name for log in logs} == {
        contract.RANK,
        contract.RECOMMEND,
        contract.SEARCH,
        contract.PROFILE,
    }
    assert {log.inputs["user_id"].string_val[0] for log in logs} == {f"u{n}".encode() for n in range(50, 300)}
    # What was recorded as TFRecord warms up too, and asks.
    again = RecordedRequests(model.path / WARMUP_FILE)
    other = SavedModel.read(pushed / "2")
    assert again.write_warmup(other, "toy") == 1000
    questions = again.questions(other, "toy", 7)
    assert len(questions) == 7 and questions[0].model_spec.name == "toy"
    with Server(dataclasses.replace(toy_flags, model_base_path=str(pushed))) as server:
        assert server.metrics.value("/tensorflow/serving/model_warmup_records_read") == 1000
    for name in ("profile", "none"):
        log = prediction_log_pb2.PredictionLog()
        log.predict_log.request.model_spec.signature_name = name
        with tf.io.TFRecordWriter(str(tmp_path / "bad")) as writer:
            writer.write(log.SerializeToString())
        with pytest.raises(ReleaseError, match=r"for the signature none, which|for profile with the inputs ;"):
            RecordedRequests(tmp_path / "bad").write_warmup(model, "toy")
    for content in (b"no records at all", b""):
        (tmp_path / "bad").write_bytes(content)
        with pytest.raises(ReleaseError, match=r"is no TFRecord of PredictionLog|holds no request"):
            RecordedRequests(tmp_path / "bad")


def test_a_model_with_torn_variables_is_not_staged(shop, pushed):
    release = shop.release(model="toy")
    (shard,) = (pushed / "1" / "variables").glob("*.data-*")
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(ReleaseError, match="its variables cannot be read"):
        release.stage(pushed / "1")
    assert not placement.versions(shop.folder)


@pytest.mark.parametrize("polls", [False, True], ids=["told", "polling"])
def test_promotion_and_rollback_at_the_embedded_server(shop, pushed, recorded, toy_flags, polls):
    """By RPC, and by polling the file: no request fails, each answer is its version's."""
    recorded.write_text("".join(recorded.read_text().splitlines(True)[:20]))
    shop.release(model="toy").stage(pushed / "1", requests=recorded)
    flags = dataclasses.replace(
        toy_flags,
        model_config_file=str(shop.config),
        model_config_file_poll_wait_seconds=0.1 if polls else 0,
        allow_version_labels_for_unavailable_models=True,
    )
    with Server(flags) as server:
        address = f"127.0.0.1:{server.port}"
        release = shop.release(model="toy", servers=[address], reload="poll" if polls else "rpc")
        assert release.promote() == State(1, 1)
        shop.ask(addresses=[address], model="toy", scores={1: 4.0, 2: 6.0})
        assert release.stage(pushed / "2", requests=recorded).version == 2
        assert release.canary(2) == State(1, 2)
        assert release.promote() == State(2, 2)
        assert release.rollback() == State(1, 1)
        failures, versions = shop.answered()
        assert failures == []
        assert versions == {"stable": [1, 2, 1], "canary": [1, 2, 1]}
        assert sum(one.requests for one in shop.traffic) > 50
        with release.steps.fleet() as fleet:
            assert {one.version: one.state for one in fleet.statuses()[address]} == {1: "AVAILABLE", 2: "END"}
    # One that starts anew comes up with the labels.
    with Server(flags) as server, Client(f"127.0.0.1:{server.port}", "toy") as client:
        assert client.metadata(label="canary").version == 1
