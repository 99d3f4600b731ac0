"""Beyond the list: whatever a caller sends, it is told what is wrong with it; the server's failures are for its log."""

import json

import grpc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorflow_serving.apis import classification_pb2, inference_pb2, predict_pb2, regression_pb2

from serving.server.errors import ServingError
from serving.server.inference import classify, multi_inference, regress
from serving.server.predict import predict
from serving.server.rest_api import EmptyBadRequest

OF_CALLERS = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.UNIMPLEMENTED,
    grpc.StatusCode.OUT_OF_RANGE,
}
SIGNATURES = ["", "two", "count", "text", "matrix", "same", "variable", "classify_both", "regress_flat", "no", "É"]
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=3)
    | st.sampled_from([{"b64": "YQ=="}, {"b64": "*"}, {"b64": 1}, {}])
)
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3), max_leaves=5)
NAMED = st.dictionaries(
    st.sampled_from(["x", "x2", "a", "b", "n", "s", "m", "words", "length", "é"]), VALUES, max_size=3
)
DOCUMENTS = st.fixed_dictionaries(
    {},
    optional={
        "signature_name": st.sampled_from(SIGNATURES) | VALUES,
        "instances": VALUES | st.lists(NAMED, max_size=3),
        "inputs": VALUES | NAMED,
        "examples": VALUES | st.lists(NAMED, max_size=3),
        "context": VALUES | NAMED,
    },
)


def check(call, *arguments):
    try:
        call(*arguments)
    except ServingError as error:
        assert error.code in OF_CALLERS, error
    except EmptyBadRequest:
        pass


@settings(max_examples=60)
@given(st.sampled_from(["default", "kinds"]), st.sampled_from(["predict", "classify", "regress"]), DOCUMENTS)
def test_bodies(standard, model, method, document):
    body = json.dumps(document).encode()
    check(standard.server._rest.api.answer, "POST", f"/v1/models/{model}:{method}", body)


@settings(max_examples=60)
@given(st.binary(max_size=30) | st.text('{}[]":,0123456789eEb64.\\ux-NaInfity', max_size=30).map(str.encode))
def test_bytes(standard, body):
    check(standard.server._rest.api.answer, "POST", "/v1/models/default:predict", body)


@settings(max_examples=60)
@given(
    st.sampled_from(["GET", "POST", "PUT", "HEAD", "X"]),
    st.lists(
        st.sampled_from(
            ["/v1", "/models", "/default", "/versions", "/1", "/labels", ":predict", "/metadata", "%", "%FF", "é"]
        )
    ).map("".join),
)
def test_paths(standard, method, path):
    check(standard.server._rest.api.answer, method, path, b"{}")


@settings(max_examples=150)
@given(
    st.sampled_from(SIGNATURES),
    st.sampled_from(["x", "a", "n", "s", "m"]),
    st.integers(0, 25) | st.sampled_from([101, 999]),
    st.lists(st.integers(-2, 4) | st.sampled_from([2**31, 2**62]), max_size=4) | st.just([1] * 40),
    st.binary(max_size=24),
    st.lists(st.integers(-(2**31), 2**31 - 1), max_size=3),
)
def test_tensors(standard, signature, alias, dtype, dims, content, numbers):
    request = predict_pb2.PredictRequest()
    request.model_spec.signature_name = signature
    proto = request.inputs[alias]
    proto.dtype, proto.tensor_content = dtype, content
    for size in dims:
        proto.tensor_shape.dim.add(size=size)
    for field in ("int_val", "int64_val", "float_val"):
        getattr(proto, field).extend(numbers)
    for model in ("default", "kinds"):
        with standard.server.manager.use(model) as (runner, version):
            check(predict, runner, version, request)


@settings(max_examples=60)
@given(st.binary(max_size=40), st.sampled_from(SIGNATURES))
def test_messages_of_examples(standard, raw, signature):
    for kind, call in (
        (classification_pb2.ClassificationRequest, classify),
        (regression_pb2.RegressionRequest, regress),
        (inference_pb2.MultiInferenceRequest, multi_inference),
    ):
        request = kind()
        try:
            request.input.MergeFromString(raw)
        except Exception:  # no message: gRPC refuses it
            continue
        if kind is not inference_pb2.MultiInferenceRequest:
            request.model_spec.signature_name = signature
        with standard.server.manager.use("kinds") as (runner, version):
            check(call, runner, version, request)


def test_a_failure_of_the_server_itself_tells_no_secrets(standard, monkeypatch, caplog):
    """Its text and its paths are for the log."""

    def fail(*_):
        raise OSError("/secret/path")

    monkeypatch.setattr(standard.server.models, "use", fail)
    expected = "The server failed; its log says why."
    assert standard.predict_error({"x": [1.0]}) == ("INTERNAL", expected)
    assert standard.rest("/v1/models/default:predict", {"instances": [1.0]}) == (500, expected)
    assert "/secret/path" in caplog.text


@pytest.mark.parametrize("path", ["/v1/models/" + "a" * 60_000 + ":predict", "/v1/models/default:predict"])
def test_long_paths_and_headers(standard, path):
    status, _, _ = standard.http(path, {"instances": [2.0]}, headers={"X-Long": "a" * 60_000})
    assert status in (404, 414, 200)
