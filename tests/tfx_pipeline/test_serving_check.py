"""The check before a push, with the real embedded server on small SavedModels."""

import pathlib
import types

import grpc
import pytest
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2, prediction_service_pb2_grpc
from tfx.types import standard_artifacts
from tfx.utils import path_utils

from models import features
from serving import contract
from serving.server.process import ServerProcess
from serving.warmup import WARMUP_FILE
from tfx_pipeline.components import serving_check

USERS = tf.TensorSpec([None], tf.string, features.USER_ID)
CANDIDATES = tf.TensorSpec([None, None], tf.string, features.CANDIDATE_ITEM_IDS)
COUNT = tf.TensorSpec([None], tf.int64, contract.CANDIDATE_COUNT)


class Small(tf.Module):
    """Scores by the length of ids; `noise` makes every call different."""

    def __init__(self, noise=0.0):
        super().__init__()
        self.noise = tf.Variable(noise)

    @tf.function(input_signature=[USERS, CANDIDATES, COUNT])
    def rank(self, user_id, candidate_item_ids, candidate_count):
        del user_id, candidate_count
        lengths = tf.cast(tf.strings.length(candidate_item_ids), tf.float32)
        return {contract.SCORES: lengths / 3 + self.noise * tf.random.uniform(tf.shape(lengths))}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, contract.EXAMPLES)])
    def default(self, examples):
        parsed = tf.io.parse_example(examples, {features.USER_ID: tf.io.FixedLenFeature([1], tf.string)})
        return {contract.SCORES: tf.cast(tf.strings.length(parsed[features.USER_ID]), tf.float32) + self.noise}

    @tf.function(input_signature=[USERS])
    def recommend(self, user_id):
        ids = tf.strings.join([tf.repeat(user_id[:, None], 3, 1), tf.constant("ü")])
        return {contract.ITEM_IDS: ids, contract.SCORES: tf.constant([[1.0, 0.5, float("-inf")]])}


def save(folder, noise=0.0, warmup=()):
    module = Small(noise)
    signatures = {
        contract.SERVING_DEFAULT: module.default,
        contract.RANK: module.rank,
        contract.RECOMMEND: module.recommend,
    }
    tf.saved_model.save(module, str(folder), signatures)
    if warmup:
        file = pathlib.Path(folder, WARMUP_FILE)
        file.parent.mkdir(exist_ok=True)
        with tf.io.TFRecordWriter(str(file)) as writer:
            for record in warmup:
                writer.write(record)
    return str(folder)


def rank_record(users, candidates):
    log = prediction_log_pb2.PredictionLog()
    request = log.predict_log.request
    request.model_spec.name = "another name"
    request.model_spec.signature_name = contract.RANK
    request.inputs[features.USER_ID].CopyFrom(tf.make_tensor_proto(users))
    request.inputs[features.CANDIDATE_ITEM_IDS].CopyFrom(tf.make_tensor_proto(candidates))
    request.inputs[contract.CANDIDATE_COUNT].CopyFrom(tf.make_tensor_proto([len(candidates[0])], tf.int64))
    return log.SerializeToString()


def test_a_good_model_is_blessed_for_all_its_signatures(tmp_path, monkeypatch):
    monkeypatch.setenv("TF_USE_LEGACY_KERAS", "1")  # as transformers leaves it behind in a Trainer's process
    model, blessing = standard_artifacts.Model(), standard_artifacts.InfraBlessing()
    model.uri, blessing.uri = str(tmp_path / "model"), str(tmp_path / "blessing")
    save(path_utils.serving_model_dir(model.uri), warmup=[rank_record(["椅子"], [["a", "bcd", "🪑"]])])
    before = sorted(p.relative_to(tmp_path) for p in tmp_path.rglob("*"))
    serving_check.ServingCheck.test_call(model=model, blessing=blessing, model_name="ranker")
    assert blessing.get_int_custom_property("blessed") == 1
    assert blessing.get_string_custom_property("signatures") == "rank, recommend, serving_default"
    assert sorted(p.relative_to(tmp_path) for p in tmp_path.rglob("*")) == before


def test_recorded_requests_are_preferred_to_neutral_ones(tmp_path):
    path = save(tmp_path, warmup=[rank_record(["u"], [["x", "yy"]]), rank_record(["v"], [["zzz"]])])
    requests = serving_check.requests_of(tmp_path, tf.saved_model.load(path))
    named = [request.model_spec.signature_name for request in requests]
    assert sorted(named) == ["rank", "rank", "recommend", "serving_default"]
    neutral = next(r for r in requests if r.model_spec.signature_name == contract.RECOMMEND)
    assert tf.make_ndarray(neutral.inputs[features.USER_ID]).tolist() == [b""]


def test_an_answer_that_differs_and_a_refused_request_name_the_signature(tmp_path):
    loaded = tf.saved_model.load(save(tmp_path / "models" / "1", noise=0.5))
    good = prediction_log_pb2.PredictionLog.FromString(rank_record(["u"], [["x"]])).predict_log.request
    good.model_spec.name = "ranker"
    # Where an earlier test has set TensorFlow's seed, noise repeats from the start: be a draw ahead of the server.
    loaded.signatures["rank"](**{name: tf.constant(tf.make_ndarray(x)) for name, x in good.inputs.items()})
    short = type(good)()
    short.CopyFrom(good)
    del short.inputs[features.USER_ID]
    with (
        ServerProcess(tmp_path / "models", "ranker", rest=False) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        with pytest.raises(serving_check.ServingError, match="signature rank: the server refuses"):
            serving_check.compare(stub, loaded, short)
        with pytest.raises(serving_check.ServingError, match=r"rank: scores\[0, 0\] is .* from the server and "):
            serving_check.compare(stub, loaded, good)


class Ranked(tf.Module):
    """Answers with the best three of four items."""

    def __init__(self, scores, names=tuple("abcd")):
        super().__init__()
        self.scores, self.names = tf.Variable(scores), tf.Variable(names)

    @tf.function(input_signature=[USERS])
    def recommend(self, user_id):
        best, places = tf.math.top_k(tf.repeat(self.scores[None], tf.size(user_id), 0), 3)
        return {contract.ITEM_IDS: tf.gather(self.names, places), contract.SCORES: best}


def test_items_with_close_scores_may_change_places_and_others_may_not(tmp_path):
    served, request = Ranked([0.5, 0.50001, 0.2, 0.1]), predict_pb2.PredictRequest()
    tf.saved_model.save(served, str(tmp_path / "models" / "1"), {contract.RECOMMEND: served.recommend})
    request.model_spec.name, request.model_spec.signature_name = "ranker", contract.RECOMMEND
    request.inputs[features.USER_ID].CopyFrom(tf.make_tensor_proto(["u", "v"]))

    def compared_with(scores, names="abcd"):
        module = Ranked(scores, tuple(names))
        concrete = module.recommend.get_concrete_function()
        loaded = types.SimpleNamespace(signatures={contract.RECOMMEND: concrete})
        serving_check.compare(stub, loaded, request)

    with (
        ServerProcess(tmp_path / "models", "ranker", rest=False) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        compared_with([0.50001, 0.5, 0.2, 0.1])  # a and b
        compared_with([0.5, 0.50001, 0.2, 0.20001])  # d in place of c, which it may just exceed
        for scores, names in (
            ([0.5, 0.50001, 0.2, 0.1], "acbd"),  # the same scores, of other items
            ([0.5, 0.50001, 0.2, 0.1], "axcd"),
        ):
            with pytest.raises(serving_check.ServingError, match=r"recommend: item_ids\[0, 0\] is b'b' from"):
                compared_with(scores, names)


def test_a_model_that_does_not_load_is_refused(tmp_path):
    path = save(tmp_path)
    (tmp_path / "variables" / "variables.index").write_bytes(b"broken")
    with pytest.raises(serving_check.ServingError, match="no SavedModel that TensorFlow loads"):
        serving_check.check(path, "ranker")


def test_a_server_that_does_not_get_ready_is_given_up_with_its_last_words(tmp_path):
    bad = prediction_log_pb2.PredictionLog()
    bad.predict_log.request.model_spec.signature_name = "no such signature"
    with pytest.raises(serving_check.ServingError) as error:
        serving_check.check(save(tmp_path, warmup=[bad.SerializeToString()]), "ranker")
    assert "no such signature" in str(error.value) and "\n" not in str(error.value) and len(str(error.value)) < 400
