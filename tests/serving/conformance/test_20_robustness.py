"""Beyond the list: whatever a caller sends, it is told what is wrong with it; the server's failures are for its log.

All but a few put it to the server's own functions, which is quicker than through the ports.
"""

import http.client
import json
import urllib.parse

import grpc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorflow_serving.apis import classification_pb2, inference_pb2, predict_pb2, regression_pb2

from serving.server.errors import ServingError
from serving.server.inference import classify, multi_inference, regress
from serving.server.predict import predict
from serving.server.rest_api import EmptyBadRequest

PREDICT = "/v1/models/default:predict"
OF_CALLERS = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.UNIMPLEMENTED,
    grpc.StatusCode.OUT_OF_RANGE,
}
SIGNATURES = ["", "two", "count", "text", "matrix", "same", "variable", "classify_both", "regress_flat", "no", "É"]
#: Half a character, as JSON can spell it; the last two are one whole.
HALVES = ["\ud800", "x\udfff", "\udc00\ud800", "\ud83d\ude00"]
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=3)
    | st.sampled_from([{"b64": "YQ=="}, {"b64": "*"}, {"b64": 1}, {}, *HALVES])
)
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3), max_leaves=5)
NAMED = st.dictionaries(
    st.sampled_from(["x", "x2", "a", "b", "n", "s", "m", "words", "length", "é", *HALVES]), VALUES, max_size=3
)
DOCUMENTS = st.fixed_dictionaries(
    {},
    optional={
        "signature_name": st.sampled_from([*SIGNATURES, *HALVES]) | VALUES,
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


@pytest.mark.parametrize(
    "name", ["..", "../..", "/etc/passwd", "a/../../b", "..%2f..", "kinds/../kinds", "a\0b", "C:\\x"]
)
def test_a_model_whose_name_is_a_path_is_not_there(standard, name):
    assert standard.predict_error({"x": [1.0]}, name=name) == (
        "NOT_FOUND",
        f"Servable not found for request: Latest({name})",
    )
    for spelled in (name.replace("\0", "%00"), urllib.parse.quote(name, safe="")):
        status, _, text = standard.http(f"/v1/models/{spelled}:predict", {"instances": [1.0]})
        assert status in (400, 404)
        assert "root:" not in text and "/tmp" not in text


LONG = [
    ("/v1/models/" + "a" * 60_000 + ":predict", 10, 404),
    ("/v1/models/" + "a" * 70_000 + ":predict", 10, 414),
    (PREDICT, 60_000, 200),
    (PREDICT, 70_000, 431),
]


@pytest.mark.parametrize(("path", "header", "expected"), LONG, ids=["path", "longer path", "header", "longer header"])
def test_long_paths_and_headers(standard, path, header, expected):
    connection = http.client.HTTPConnection("127.0.0.1", standard.server.rest_port, timeout=30)
    connection.request("POST", path, b'{"instances": [2.0]}', {"X-Long": "a" * header})
    assert connection.getresponse().status == expected
    connection.close()


def test_halves_of_characters_are_no_json(standard):
    for body in (b'{"instances": [{"\\ud800": 1}]}', b'{"signature_name": "\\udfff", "instances": [1]}'):
        at = body.index(b"\\")
        expected = f"JSON Parse error: The surrogate pair in string is invalid. at offset: {at}"
        for method in ("predict", "classify", "regress"):
            assert standard.rest(f"/v1/models/default:{method}", body) == (400, expected)
    whole = b'{"signature_name": "text", "instances": ["\\ud83d\\ude00 \\\\ud800"]}'
    answer = standard.rest("/v1/models/kinds:predict", whole)[1]["predictions"]
    assert answer[0]["s"] == "\N{GRINNING FACE} \\ud800!"


def test_deep_documents_are_refused(standard):
    """Up to where Python's own recursion ends, and beyond."""
    for depth in (50, *range(960, 1000, 3), 100_000):
        deep = "[" * depth + "]" * depth
        for body in (f'{{"signature_name": {deep}}}', f'{{"instances": 1, "x": {deep}}}', f'{{"inputs": {deep}}}'):
            status, text = standard.rest(PREDICT, body.encode())
            assert status == 400
            assert len(text) < 2000


@pytest.mark.parametrize("long", ["a" * 3_000_000, ["a"] * 1_000_000], ids=["string", "list"])
def test_errors_quote_the_beginning_of_what_is_wrong(standard, long):
    status, text = standard.rest(PREDICT, {"instances": {"x": long}})
    assert status == 400
    assert text.startswith('JSON Value: {\n    "instances": {\n        "x": ')
    assert text.endswith("...TRUNCATED Excepting 'instances' to be an list/array")
    assert len(text) < 1200


MODEL = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["m", "n", "", "é"]),
        "base_path": st.sampled_from(
            ["/", "/x\0", "/é", "s3://bucket/m", "/" + "a" * 300, "/dev/null", "relative", ""]
        ),
    },
    optional={
        "model_version_policy": st.sampled_from([{"all": {}}, {"latest": {"num_versions": 2}}, {"specific": {}}]),
        "version_labels": st.dictionaries(st.sampled_from(["", "stable", "é"]), st.integers(-1, 2), max_size=2),
    },
)


@pytest.fixture(scope="module")
def reloaded(serve, shelf, tmp_path_factory):
    base = tmp_path_factory.mktemp("reloaded")
    shelf.put(base, 1)
    with serve(model_base_path=base) as caller:
        yield caller


@settings(max_examples=60)
@given(st.lists(MODEL, max_size=3))
def test_configurations(reloaded, models):
    """Nothing is waited for here."""
    check(reloaded.server.models.reload, reloaded.reload_request(*models).config, lambda: False)


def test_no_configuration_ends_the_hot_swap(serve, shelf, tmp_path, wait_for):
    served = {"name": "default", "base_path": str(tmp_path)}
    shelf.put(tmp_path, 1)
    with serve(model_base_path=tmp_path) as caller:
        for number, base_path in enumerate(["/x\0", "/a\0/b", "s3://bucket/m", "/" + "a" * 5000, "/dev/null"]):
            request = caller.reload_request(served, {"name": f"odd {number}", "base_path": base_path})
            call = caller.model.HandleReloadConfigRequest
            assert caller.error(call, request, timeout=0.5)[0] == "DEADLINE_EXCEEDED"
        caller.reload(served)
        shelf.put(tmp_path, 2, "half_plus_three")
        wait_for(lambda: caller.half() == (4.0, 2))
