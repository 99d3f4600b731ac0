"""Section 13: warm-up."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from serving.server.errors import ServingError

FILE = "assets.extra/tf_serving_warmup_requests"


def log(**kinds):
    return prediction_log_pb2.PredictionLog(**kinds)


def predict_log(value, signature="", **spec):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = spec.get("name", "any name")
    request.model_spec.version.value = spec.get("version", 77)
    request.model_spec.signature_name = signature
    request.inputs["x"].CopyFrom(tf.make_tensor_proto(value))
    return log(predict_log={"request": request})


X = tf.train.Feature(float_list=tf.train.FloatList(value=[2.0]))
EXAMPLE = tf.train.Example(features=tf.train.Features(feature={"x": X}))
INPUT = {"example_list": {"examples": [EXAMPLE]}}
TASK = {
    "model_spec": {"name": "m", "signature_name": "regress_x_to_y"},
    "method_name": "tensorflow/serving/regress",
}

ONE = predict_log(np.array([2.0], np.float32))
CLASSIFY = log(classify_log={"request": {"input": INPUT, "model_spec": {"signature_name": "classify_x_to_y"}}})
REGRESS = log(regress_log={"request": {"input": INPUT, "model_spec": {"signature_name": "regress_x_to_y"}}})
MULTI = log(multi_inference_log={"request": {"input": INPUT, "tasks": [TASK]}})


@pytest.fixture
def start(serve, shelf, tmp_path):
    """Serves half_plus_two with the given warm-up file: records, or the bytes of the file."""

    def begin(records, **flags):
        path = shelf.put(tmp_path / "m", 1)
        (path / FILE).parent.mkdir()
        if isinstance(records, bytes):
            (path / FILE).write_bytes(records)
        else:
            with tf.io.TFRecordWriter(str(path / FILE)) as writer:
                for record in records:
                    writer.write(record if isinstance(record, bytes) else record.SerializeToString())
        return serve(model_base_path=tmp_path / "m", **flags)

    return begin


def records_read(caller):
    name = ":tensorflow:serving:model_warmup_records_read{"
    return sum(number for series, number in caller.metrics().items() if series.startswith(name))


@pytest.mark.parametrize(
    "record", [ONE, CLASSIFY, REGRESS, MULTI, log()], ids=["predict", "classify", "regress", "multi", "none"]
)
def test_every_kind_is_run(start, record):
    """Sec. 13: model_spec's name and version are not looked at; a record with none set is passed over."""
    with start([record, record]) as caller:
        assert caller.half() == (3.0, 1)
        assert records_read(caller) == 2


def test_repeats(start):
    with start([ONE], num_request_iterations_for_warmup=3, enable_batching=True) as caller:
        assert caller.batches() == 3
        assert records_read(caller) == 1


FAILING = [
    ([predict_log(np.array([2]))], "Expects arg\\[0\\] to be float but int64 is provided"),
    ([ONE, predict_log(np.array([2.0], np.float32), "no")], 'Serving signature key "no" not found.'),
    ([log(classify_log={"request": {"model_spec": {"signature_name": "classify_x_to_y"}}})], "Input is empty."),
    ([log(session_run_log={})], "UNIMPLEMENTED: Unsupported log_type for warmup"),
    ([log(predict_streamed_log={})], "UNIMPLEMENTED: Unsupported log_type for warmup"),
    ([b"\xff\xff\xff"], "INVALID_ARGUMENT: Failed to parse warmup record"),
    ([log()] * 1001, "Number of warmup records exceeds the maximum \\(1000\\)"),
    (b"no TFRecord at all, but some text", "Please verify your warmup data is in TFRecord format."),
]


@pytest.mark.embedded
@pytest.mark.parametrize(("records", "message"), FAILING, ids=[case[1][:30] for case in FAILING])
def test_any_failure_fails_the_load(start, records, message):
    with pytest.raises(ServingError, match=message), start(records):
        pass


@pytest.mark.embedded
def test_a_record_that_does_not_parse_is_not_quoted(start, tmp_path):
    """Unlike in the real server: records may hold what users sent, and anybody may ask for the model's status."""
    with pytest.raises(ServingError) as caught, start([ONE, b"\xffa user's words"]):
        pass
    expected = f"INVALID_ARGUMENT: Failed to parse warmup record: number 2, 15 bytes, from {tmp_path}/m/1/{FILE}"
    assert expected in caught.value.message
    assert "words" not in caught.value.message


def test_a_thousand_records_are_allowed(start):
    with start([log()] * 1000) as caller:
        assert records_read(caller) == 1000


def test_off(start):
    with start(b"no TFRecord", enable_model_warmup=False) as caller:
        assert caller.half() == (3.0, 1)
        assert records_read(caller) == 0


DATA_LOSS, FAILED_PRECONDITION = 15, 9
BROKEN = [
    (lambda file: file.write_bytes(b"no TFRecord at all, but some text"), DATA_LOSS, "DATA_LOSS"),
    (lambda file: file.mkdir(), FAILED_PRECONDITION, "FAILED_PRECONDITION"),
]


@pytest.mark.parametrize(("damage", "code", "status"), BROKEN, ids=["text", "directory"])
def test_a_version_that_fails_its_warmup_leaves_the_old_one_serving(
    serve, shelf, tmp_path, wait_for, damage, code, status
):
    """Sec. 13; sec. 11: the outcome is a label of the warm-up's latency."""
    shelf.put(tmp_path / "m", 1)
    with serve(model_base_path=tmp_path / "m") as caller:
        path = shelf.put(tmp_path / "staged", 2, "half_plus_three")
        (path / FILE).parent.mkdir()
        damage(path / FILE)
        path.rename(tmp_path / "m" / "2")
        wait_for(lambda: caller.status() == [(2, 50), (1, 30)])
        (item, _) = caller.model.GetModelStatus(caller.status_request()).model_version_status
        assert item.status.error_code == code
        if code == DATA_LOSS:
            assert item.status.error_message.endswith("Please verify your warmup data is in TFRecord format.")
        assert caller.metric(f'model_warmup_latency_count{{model_path="{tmp_path}/m/2",status="{status}"}}') == 1
        assert caller.half() == (3.0, 1)
