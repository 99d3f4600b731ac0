"""The embedded server over REST, held to TensorFlow Serving's answers and error texts."""

import base64
import json
import re
import socket
import threading
import urllib.error
import urllib.request

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from serving.server.rest import RestServer


def rest(server, path, body=None, method=None):
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    asked = urllib.request.Request(f"http://127.0.0.1:{server.rest_port}{path}", data, method=method)
    try:
        with urllib.request.urlopen(asked, timeout=30) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        text = error.read()
        return error.code, json.loads(text)["error"] if text else text


def predict_rest(server, body, path="/v1/models/toy:predict"):
    return rest(server, path, body)


def test_grpc_rest_and_in_process_agree(toy_server, toy_base):
    values = np.array([[1, 2], [3, 4.5], [-0.1, 1e-7]], np.float32)
    expected = 2 * values @ np.array([[1, 2], [3, 4]], np.float32)
    asked = predict_pb2.PredictRequest(inputs={"x": tf.make_tensor_proto(values)})
    asked.model_spec.name = "toy"
    with grpc.insecure_channel(f"127.0.0.1:{toy_server.port}") as channel:
        answer = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict(asked)
    over_grpc = tf.make_ndarray(answer.outputs["y"])
    _, rows = predict_rest(toy_server, {"instances": values.tolist()})
    _, columns = predict_rest(toy_server, {"inputs": {"x": values.tolist()}})
    in_process = tf.saved_model.load(str(toy_base / "7")).signatures["serving_default"](x=values)["y"].numpy()
    np.testing.assert_allclose(over_grpc, expected, rtol=1e-6)
    np.testing.assert_array_equal(over_grpc, in_process)
    np.testing.assert_array_equal(np.array(rows["predictions"], np.float32), over_grpc)
    np.testing.assert_array_equal(np.array(columns["outputs"], np.float32), over_grpc)
    assert answer.model_spec.name == "toy"
    assert answer.model_spec.signature_name == "serving_default"
    assert answer.model_spec.version.value == 7


def test_metadata(toy_server):
    for path in ("/v1/models/toy/metadata", "/v1/models/toy/versions/7/metadata"):
        status, plain = rest(toy_server, path)
        assert status == 200
        assert plain["model_spec"] == {"name": "toy", "signature_name": "", "version": "7"}
        typed = plain["metadata"]["signature_def"]["signature_def"]["typed"]
        assert typed["inputs"]["s"] == {
            "dtype": "DT_STRING",
            "name": "typed_s:0",
            "tensor_shape": {"dim": [{"name": "", "size": "-1"}], "unknown_rank": False},
        }


def test_status(toy_server):
    expected = {"version": "7", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    for path in ("/v1/models/toy", "/V1/Models/toy/versions/7", "/v1/models/t%6Fy", "/v1/models/toy?x=1"):
        assert rest(toy_server, path) == (200, {"model_version_status": [expected]})


def test_rest_rows_and_columns_of_several_inputs_and_outputs(toy_server):
    texts = ["茶", {"b64": base64.b64encode(b"plain").decode()}]
    rows = [
        {"x": 1, "n": 2**53, "s": texts[0], "b": True},
        {"x": -0.5, "n": -7, "s": texts[1], "b": False},
    ]
    _, answer = predict_rest(toy_server, {"signature_name": "typed", "instances": rows})
    assert answer["predictions"] == [
        {
            "x": 2.0,
            "n": 2**53 + 1,
            "small": 0,
            "s": "茶!",
            "s_bytes": {"b64": base64.b64encode("茶!".encode()).decode()},
            "b": False,
        },
        {
            "x": -1.0,
            "n": -6,
            "small": -7,
            "s": "plain!",
            "s_bytes": {"b64": base64.b64encode(b"plain!").decode()},
            "b": True,
        },
    ]
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    _, answer = predict_rest(toy_server, {"signature_name": "typed", "inputs": {**columns, "ignored": 1}})
    assert answer["outputs"]["n"] == [2**53 + 1, -6]
    assert answer["outputs"]["s"] == ["茶!", "plain!"]


def test_rest_numbers_are_written_as_tensorflow_serving_writes_them(toy_server):
    body = b'{"signature_name": "typed", "inputs": {"x": [0.1, 2, 8e6, 1.23456789, NaN, -Infinity, 1e-8],'
    body += b' "n": [1, 1, 1, 1, 1, 1, 1], "s": ["", "", "", "", "", "", ""],'
    body += b' "b": [true, true, true, true, true, true, true]}}'
    url = f"http://127.0.0.1:{toy_server.rest_port}/v1/models/toy/versions/7:predict"
    with urllib.request.urlopen(url, body, timeout=30) as answer:
        assert answer.headers["Content-Type"] == "application/json"
        text = re.sub(r"\s+", " ", answer.read().decode())
    assert '"x": [ 0.2, 4.0, 1.6e+07, 2.46913576, NaN, -Infinity, 2e-08 ]' in text
    _, doubles = predict_rest(toy_server, {"signature_name": "double", "inputs": [1, 3, 0.5]})
    assert doubles == {"outputs": [1 / 3, 1.0, 0.5 / 3]}


def test_rest_scalars_and_empty_columns(toy_server):
    assert predict_rest(toy_server, {"signature_name": "total", "inputs": [1, 2]}) == (200, {"outputs": 3.0})
    assert predict_rest(toy_server, {"signature_name": "double", "inputs": []}) == (200, {"outputs": []})


PARSE = "JSON Parse error: "
REST_ERRORS = [
    (b"", 400, PARSE + "The document is empty"),
    (b"{nope", 400, PARSE + "Missing a name for object member. at offset: 1"),
    (b'{"inputs": [' + b"1" * 5000 + b"]}", 400, PARSE + "Invalid value. A number has too many digits"),
    (b"[1]", 400, "JSON Value: [\n    1\n] Is not object"),
    ({}, 400, "Missing 'inputs' or 'instances' key"),
    ({"signature_name": "no", "instances": [1]}, 400, 'Serving signature name: "no" not found in signature def'),
    ({"instances": 3}, 400, "JSON Value: {\n    \"instances\": 3\n} Excepting 'instances' to be an list/array"),
    ({"instances": []}, 400, "JSON Value: {\n    \"instances\": []\n} No values in 'instances' array"),
    (
        {"signature_name": "typed", "instances": [1]},
        400,
        "instances is a plain list, but expecting list of objects as multiple input tensors required as per "
        "tensorinfo_map",
    ),
    (
        {"signature_name": "typed", "inputs": [1]},
        400,
        "inputs is a plain value/list, but expecting an object as multiple input tensors required as per "
        "tensorinfo_map",
    ),
    ({"signature_name": "typed", "inputs": {"x": [1]}}, 400, "Missing named input: b in 'inputs' object."),
    (
        {"instances": [{"x": [1, 2]}, [1, 2]]},
        400,
        "Expecting object but got list at item 1 of input list",
    ),
    ({"instances": [[1, 2], {"x": [1, 2]}]}, 400, "Expecting value/list but got object at item 1 of input list"),
    (
        {"instances": [{"z": 1}]},
        400,
        "Failed to process element: 0 key: z of 'instances' list. Error: INVALID_ARGUMENT: JSON object: does not have "
        "named input: z",
    ),
    (
        {"instances": [[1, 2], [1, 2, 3]]},
        400,
        "Failed to process element: 1 of 'instances' list. Error: INVALID_ARGUMENT: Expecting tensor size: 2 but got: "
        "3",
    ),
    (
        {"instances": [[[1, 2]], [[1], [2]]]},
        400,
        "Failed to process element: 1 of 'instances' list. Error: INVALID_ARGUMENT: Expecting shape [1,2] but got: "
        "[2,1]",
    ),
    ({"inputs": [[1, 2], [3]]}, 400, "Encountered list at unexpected size: 1 at level: 1 expected size: 2"),
    ({"inputs": [1, [2]]}, 400, "Encountered list at unexpected level: 1 expected < 1"),
    (
        {"inputs": [[1], 2]},
        400,
        "JSON Value: 2 found at incorrect level: 2 in the JSON DOM. Expected at level: 2",
    ),
    ({"inputs": ["a"]}, 400, 'JSON Value: "a" Type: String is not of expected type: float'),
    ({"inputs": [True]}, 400, "JSON Value: true Type: True is not of expected type: float"),
    ({"inputs": [16777217]}, 400, "Cannot convert JSON value: 16777217 to float without loss of precision."),
    ({"inputs": [10**400]}, 400, f"Cannot convert JSON value: {10**400} to float without loss of precision."),
    ({"inputs": [1e39]}, 400, "Cannot convert JSON value: 1e+39 to float without loss of precision."),
    (
        {"signature_name": "slow", "inputs": [1.0]},
        400,
        "JSON Value: 1.0 Type: Number is not of expected type: int64",
    ),
    (
        {"signature_name": "slow", "inputs": [2**63]},
        400,
        f"JSON Value: {2**63} Type: Number is not of expected type: int64",
    ),
    (
        {"signature_name": "typed", "inputs": {"b": [], "n": [], "s": [{"c64": "x"}], "x": []}},
        400,
        'JSON Value: {\n    "c64": "x"\n} not formatted correctly for base64 data',
    ),
    (
        {"signature_name": "typed", "inputs": {"b": [], "n": [], "s": [{"b64": "*"}], "x": []}},
        400,
        "Unable to base64 decode",
    ),
    ({"signature_name": "half", "inputs": [1]}, 501, "Conversion of JSON Value: 1 to type: half"),
    ({"signature_name": "to_half", "inputs": [1]}, 400, "Failed to write JSON value for tensor type: half"),
    ({"signature_name": "total", "instances": [1]}, 400, "Tensor name: y has no shape information "),
    (
        {"signature_name": "uneven", "instances": [1, 2]},
        400,
        "Tensor name: b has inconsistent batch size: 1 expecting: 2",
    ),
    (
        {"inputs": [], "instances": []},
        400,
        'JSON Value: {\n    "inputs": [],\n    "instances": []\n} Not formatted correctly expecting only one of '
        "'inputs' or 'instances' keys to exist ",
    ),
    (
        {"signature_name": 3, "instances": [1]},
        400,
        'JSON Value: {\n    "signature_name": 3,\n    "instances": [\n        1\n    ]\n} not formatted correctly. '
        "'signature_name' key must be a string value.",
    ),
]


@pytest.mark.parametrize(("body", "status", "text"), REST_ERRORS, ids=[case[2][:40] for case in REST_ERRORS])
def test_rest_predict_errors(toy_server, body, status, text):
    assert predict_rest(toy_server, body) == (status, text)


def test_rest_paths(toy_server):
    ok = {"instances": [[1, 2]]}
    assert predict_rest(toy_server, ok, "/v1/models/no:predict") == (
        404,
        "Servable not found for request: Latest(no)",
    )
    assert predict_rest(toy_server, ok, "/v1/models/toy/versions/9:predict")[1].endswith("Specific(toy, 9)")
    assert predict_rest(toy_server, ok, "/v1/models/toy/labels/gold:predict") == (
        400,
        "Unrecognized servable version label: gold",
    )
    assert predict_rest(toy_server, ok, f"/v1/models/toy/versions/{2**63}:predict") == (400, b"")
    assert rest(toy_server, "/v1/models") == (400, "Missing model name in request.")
    assert rest(toy_server, "/v1/models/toy:predict") == (400, "Malformed request: GET /v1/models/toy:predict")
    assert rest(toy_server, "/v1/models/toy", method="DELETE") == (400, "Malformed request: DELETE /v1/models/toy")
    assert rest(toy_server, "/elsewhere") == (404, b"")


def test_stop_waits_for_an_answer_that_is_being_written():
    server = RestServer("127.0.0.1", 0, None, 1, {"/page": lambda: "x" * 50_000_000})
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=30) as caller:
        caller.sendall(b"GET /page HTTP/1.1\r\nHost: x\r\n\r\n")
        assert caller.recv(1, socket.MSG_PEEK) == b"H"
        stop = threading.Thread(target=server.stop, args=(60,))
        stop.start()
        stop.join(0.3)
        assert stop.is_alive()
        with caller.makefile("rb") as stream:
            assert b"Content-Length: 50000000\r\n" in list(iter(stream.readline, b"\r\n"))
            assert len(stream.read(50_000_000)) == 50_000_000
            stop.join(20)
            assert not stop.is_alive()
            caller.sendall(b"GET /page HTTP/1.1\r\nHost: x\r\n\r\n")
            assert stream.readline() == b"HTTP/1.1 503 Service Unavailable\r\n"
            assert b"Connection: close\r\n" in list(iter(stream.readline, b"\r\n"))
            assert json.loads(stream.read()) == {"error": "The server stops."}


def test_stop_does_not_wait_for_ever():
    server = RestServer("127.0.0.1", 0, None, 1, {"/page": lambda: "x" * 50_000_000})
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=30) as caller:
        caller.sendall(b"GET /page HTTP/1.1\r\nHost: x\r\n\r\n")
        assert caller.recv(1) == b"H"
        server.stop(grace=0.2)
