"""The embedded server over gRPC, held to TensorFlow Serving's answers and error texts."""

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

INVALID = grpc.StatusCode.INVALID_ARGUMENT


@pytest.fixture(scope="module")
def channel(toy_server):
    with grpc.insecure_channel(f"127.0.0.1:{toy_server.port}") as channel:
        yield channel


@pytest.fixture(scope="module")
def stub(channel):
    return prediction_service_pb2_grpc.PredictionServiceStub(channel)


@pytest.fixture(scope="module")
def model_stub(channel):
    return model_service_pb2_grpc.ModelServiceStub(channel)


def request(inputs=None, name="toy", signature="", version=None, label=None, outputs=()):
    made = predict_pb2.PredictRequest(output_filter=outputs)
    made.model_spec.name = name
    made.model_spec.signature_name = signature
    if version is not None:
        made.model_spec.version.value = version
    if label is not None:
        made.model_spec.version_label = label
    for alias, value in (inputs or {}).items():
        made.inputs[alias].CopyFrom(tf.make_tensor_proto(value))
    return made


def x(*values, dtype=np.float32):
    return {"x": np.array(values, dtype)}


TYPED = {
    "x": np.array([1.5, -2.0], np.float32),
    "n": np.array([2**40, -5], np.int64),
    "s": np.array(["茶".encode(), b"\xff\x00"], object),
    "b": np.array([True, False]),
}


# --- predict -----------------------------------------------------------------------------------------------------


def test_outputs_are_in_typed_fields(stub):
    outputs = stub.Predict(request(TYPED, signature="typed")).outputs
    assert all(not proto.tensor_content for proto in outputs.values())
    assert list(outputs["x"].float_val) == [3.0, -4.0]
    assert list(outputs["n"].int64_val) == [2**40 + 1, -4]
    assert list(outputs["small"].int_val) == [0, -5]
    assert list(outputs["s"].string_val) == ["茶!".encode(), b"\xff\x00!"]
    assert list(outputs["b"].bool_val) == [False, True]
    assert [dim.size for dim in outputs["x"].tensor_shape.dim] == [2]
    half = stub.Predict(request(x(1.5, -0.25, dtype=np.float16), signature="half")).outputs["y"]
    assert tf.make_ndarray(half).tolist() == [3.0, -0.5]
    assert len(half.half_val) == 2


def test_typed_inputs_shorter_than_the_shape_repeat_their_last_value(stub):
    asked = request(signature="total")
    asked.inputs["x"].dtype = 1
    asked.inputs["x"].float_val.extend([1.0, 2.0])
    asked.inputs["x"].tensor_shape.dim.add(size=4)
    assert stub.Predict(asked).outputs["y"].float_val[0] == 1 + 2 + 2 + 2


def test_strings_packed_in_tensor_content(stub):
    texts = [b"a", b"", b"x" * 300]
    asked = request({**TYPED, "x": np.ones(3, np.float32)}, signature="typed", outputs=["s"])
    asked.inputs["s"].Clear()
    asked.inputs["s"].dtype = 7
    asked.inputs["s"].tensor_shape.dim.add(size=3)
    asked.inputs["s"].tensor_content = bytes([1, 0, 0xAC, 0x02]) + b"".join(texts)
    assert list(stub.Predict(asked).outputs["s"].string_val) == [text + b"!" for text in texts]


def test_shapes_are_not_checked_and_zero_rows_are_no_error(stub):
    scalar = stub.Predict(request({"x": np.float64(6)}, signature="double")).outputs["y"]
    assert (list(scalar.double_val), len(scalar.tensor_shape.dim)) == ([2.0], 0)
    empty = stub.Predict(request({"x": np.zeros([0, 2], np.float32)})).outputs["y"]
    assert [dim.size for dim in empty.tensor_shape.dim] == [0, 2]


def test_output_filter_returns_only_what_is_asked(stub):
    asked = stub.Predict(request(TYPED, signature="typed", outputs=["s", "b"]))
    assert set(asked.outputs) == {"s", "b"}


def test_specific_version(stub):
    assert stub.Predict(request({"x": np.ones([1, 2], np.float32)}, version=7)).model_spec.version.value == 7


def broken_tensor():
    made = request()
    made.inputs["x"].dtype = 1
    made.inputs["x"].tensor_shape.dim.add(size=3)
    made.inputs["x"].tensor_content = b"12345678"
    return made


ROWS = {"x": np.ones([1, 2], np.float32)}
PREDICT_ERRORS = [
    (predict_pb2.PredictRequest(), INVALID, "Missing ModelSpec"),
    (request(ROWS, name=""), INVALID, "ModelSpec has no name specified."),
    (request(ROWS, name="no"), grpc.StatusCode.NOT_FOUND, "Servable not found for request: Latest(no)"),
    (request(ROWS, name="no", version=1), grpc.StatusCode.NOT_FOUND, "Servable not found for request: Specific(no, 1)"),
    (request(ROWS, version=8), grpc.StatusCode.NOT_FOUND, "Servable not found for request: Specific(toy, 8)"),
    (request(ROWS, label="gold"), INVALID, "Unrecognized servable version label: gold"),
    (request({}, signature="no"), grpc.StatusCode.FAILED_PRECONDITION, 'Serving signature key "no" not found.'),
    (
        request({"b": 1.0, "a": 1.0}),
        INVALID,
        "input size does not match signature: 2!=1 len({a,b}) != len({x}). Sent extra: {a,b}. "
        "Missing but required: {x}.",
    ),
    (
        request({}),
        INVALID,
        "input size does not match signature: 0!=1 len({}) != len({x}). Sent extra: {}. Missing but required: {x}.",
    ),
    (
        request({"z": 1.0}),
        INVALID,
        "Signature input alias: x(feed name: serving_default_x:0) not found in request and no default value provided. "
        "Inputs expected to be in the request {z}, or default input alias set: ",
    ),
    (broken_tensor(), INVALID, "tensor parsing error: x"),
    (request({"x": [[1, 2]]}), INVALID, "Expects arg[0] to be float but int32 is provided"),
    (request({"x": [["a", "b"]]}), INVALID, "Expects arg[0] to be float but string is provided"),
    (
        request(ROWS, outputs=["y", "z"]),
        INVALID,
        "output tensor alias not found in signature: z Outputs expected to be in the set {y}.",
    ),
    (request(ROWS, outputs=["y", "y"]), INVALID, "duplicate output tensor alias: y"),
    (
        request({}, signature="__saved_model_init_op"),
        INVALID,
        "Tried to fetch data for 'NoOp', which produces no output.  To run to a node but not fetch any data, pass "
        "'NoOp' as an argument to the 'target_node_names' argument of the Session::Run API.",
    ),
]


@pytest.mark.parametrize(("asked", "code", "details"), PREDICT_ERRORS, ids=[case[2][:40] for case in PREDICT_ERRORS])
def test_predict_errors(stub, asked, code, details):
    with pytest.raises(grpc.RpcError) as caught:
        stub.Predict(asked)
    assert (caught.value.code(), caught.value.details()) == (code, details)


def test_kernel_errors_and_long_texts(stub):
    with pytest.raises(grpc.RpcError, match="Matrix size-incompatible") as caught:
        stub.Predict(request({"x": np.ones([1, 3], np.float32)}))
    assert caught.value.code() == INVALID
    with pytest.raises(grpc.RpcError) as caught:
        stub.Predict(request(ROWS, outputs=["z" * 5000]))
    assert (
        caught.value.details() == ("output tensor alias not found in signature: " + "z" * 5000)[:1024] + "...TRUNCATED"
    )


def test_the_callers_deadline_stops_the_run(stub, toy_server):
    forever = request({"n": np.array([2**60], np.int64)}, signature="slow")
    with pytest.raises(grpc.RpcError) as caught:
        stub.Predict(forever, timeout=0.3)
    assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    # The run itself ended: its version has no user left.
    version = toy_server.manager._models["toy"].versions[7]
    with toy_server.manager._changed:
        assert toy_server.manager._changed.wait_for(lambda: version.users == 0, 60)


# --- metadata and status -----------------------------------------------------------------------------------------


def metadata_request(name="toy", fields=("signature_def",)):
    made = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=fields)
    made.model_spec.name = name
    return made


def test_metadata(stub):
    answer = stub.GetModelMetadata(metadata_request())
    assert (answer.model_spec.version.value, answer.model_spec.signature_name) == (7, "")
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert answer.metadata["signature_def"].Unpack(signatures)
    assert signatures.signature_def["typed"].inputs["n"].dtype == tf.int64.as_datatype_enum
    assert signatures.signature_def["typed"].method_name == "tensorflow/serving/predict"
    assert "__saved_model_init_op" in signatures.signature_def


def test_status(model_stub):
    asked = get_model_status_pb2.GetModelStatusRequest()
    asked.model_spec.name = "toy"
    (item,) = model_stub.GetModelStatus(asked).model_version_status
    assert (item.version, item.state, item.status.error_code) == (7, 30, 0)


def test_metadata_and_status_errors(stub, model_stub):
    def details(call, message):
        with pytest.raises(grpc.RpcError) as caught:
            call(message)
        return caught.value.code().name, caught.value.details()

    no_spec = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    assert details(stub.GetModelMetadata, no_spec) == ("INVALID_ARGUMENT", "Missing ModelSpec")
    assert details(stub.GetModelMetadata, metadata_request(fields=())) == (
        "INVALID_ARGUMENT",
        "GetModelMetadataRequest must specify at least one metadata_field",
    )
    assert details(stub.GetModelMetadata, metadata_request(fields=("graph",))) == (
        "INVALID_ARGUMENT",
        "Metadata field graph is not supported",
    )
    assert details(stub.GetModelMetadata, metadata_request(name="no")) == (
        "NOT_FOUND",
        "Servable not found for request: Latest(no)",
    )
    asked = get_model_status_pb2.GetModelStatusRequest()
    assert details(model_stub.GetModelStatus, asked) == ("INVALID_ARGUMENT", "Missing ModelSpec")
    asked.model_spec.name = "no"
    assert details(model_stub.GetModelStatus, asked) == ("NOT_FOUND", "Could not find any versions of model no")
    asked.model_spec.name = "toy"
    asked.model_spec.version.value = 3
    assert details(model_stub.GetModelStatus, asked) == ("NOT_FOUND", "Could not find version 3 of model toy")
