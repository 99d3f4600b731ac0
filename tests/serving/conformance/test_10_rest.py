"""Section 10: REST."""

import base64
import concurrent.futures
import gzip
import http.client
import json
import socket

import grpc
import pytest

from serving.server.errors import ServingError

PREDICT = "/v1/models/default:predict"
KINDS = "/v1/models/kinds:predict"


def kinds(caller, body):
    return caller.rest(KINDS, body)


# --- upstream's tests: tensorflow_model_server_test.py and http_rest_api_handler_test.cc --------------------------


UPSTREAM = [
    ("default:predict", {"instances": [2.0, 3.0, 4.0]}, {"predictions": [3.0, 3.5, 4.0]}),
    ("default:predict", {"inputs": [2.0, 3.0, 4.0]}, {"outputs": [3.0, 3.5, 4.0]}),
    ("default:predict", {"instances": [[1.0, 2.0], [3.0, 4.0]]}, {"predictions": [[2.5, 3.0], [3.5, 4.0]]}),
    ("default/versions/123:predict", {"instances": [1.0, 2.0]}, {"predictions": [2.5, 3.0]}),
    (
        "default/versions/123:predict",
        {"signature_name": "serving_default", "instances": [3.0, 4.0]},
        {"predictions": [3.5, 4.0]},
    ),
    (
        "default/versions/123:predict",
        {"signature_name": "serving_default", "inputs": [3.0, 4.0]},
        {"outputs": [3.5, 4.0]},
    ),
    ("default:classify", {"signature_name": "classify_x_to_y", "examples": [{"x": 2.0}]}, {"results": [[["", 3.0]]]}),
    ("default:classify", {"signature_name": "classify_x_to_y", "examples": [{"x": 20.0}]}, {"results": [[["", 12]]]}),
    ("default:regress", {"signature_name": "regress_x_to_y", "examples": [{"x": 2.0}]}, {"results": [3.0]}),
    (
        "default/versions/123:regress",
        {"signature_name": "regress_x_to_y", "examples": [{"x": 80.0}]},
        {"results": [42]},
    ),
]


@pytest.mark.parametrize(("path", "body", "expected"), UPSTREAM)
def test_upstreams_requests(standard, path, body, expected):
    status, headers, text = standard.http(f"/v1/models/{path}", body)
    assert (status, json.loads(text)) == (200, expected)
    assert headers["Content-Type"] == "application/json"


def test_upstreams_status(standard):
    expected = {
        "model_version_status": [
            {"version": "123", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
        ]
    }
    for path in ("default", "default/versions/123", "default/labels/any"):
        assert standard.rest(f"/v1/models/{path}") == (200, expected)


MALFORMED = [
    ("GET", "/v1/foo"),
    ("POST", "/v1/foo"),
    ("GET", "/v1/models/debug/model_name"),
    ("POST", "/v1/models"),
    ("GET", "/v1/models/foo:predict"),
    ("GET", "/v1/models/foo/version/50:predict"),
    ("POST", "/v1/models/foo/version/50:regress"),
    ("POST", "/v1/models/foo/versions/HELLO:regress"),
    ("POST", "/v1/models/foo/metadata"),
    ("POST", "/v1/models/foo/label/some_label:regress"),
    ("POST", "/v1/models/foo/versions/50/labels/some_label:regress"),
    ("POST", "/v1/models/foo/versions/some_label:regress"),
    ("POST", "/v1/models/default:nothing"),
    ("PUT", PREDICT),
    ("DELETE", "/v1/models/default"),
]


@pytest.mark.parametrize(("method", "path"), MALFORMED)
def test_upstreams_unsupported_calls(standard, method, path):
    body = b"{}" if method in ("POST", "PUT") else None
    assert standard.rest(path, body, method) == (400, f"Malformed request: {method} {path}")


PREDICT_ERRORS = [
    (b"", "JSON Parse error: The document is empty"),
    (b"instances = [1, 2]", "JSON Parse error: Invalid value. at offset: 0"),
    (b'{"instances": [1, 2}', "JSON Parse error: Missing a comma or ] after an array element. at offset: 19"),
    (b'{"instances": [1] 2}', "JSON Parse error: Missing a comma or } after an object member. at offset: 18"),
    (b'{"instances" [1]}', "JSON Parse error: Missing a colon after a name of object member. at offset: 13"),
    (b"{} {}", "JSON Parse error: The document root must not be followed by other values. at offset: 3"),
    (b'{ "instances": ["x", "y"] }', 'JSON Value: "x" Type: String is not of expected type: float'),
]


@pytest.mark.parametrize(("body", "text"), PREDICT_ERRORS)
def test_upstreams_predict_errors(standard, body, text):
    status, error = standard.rest(PREDICT, body)
    assert status == 400
    assert text in error


def test_signature_name_must_be_a_string(standard):
    assert standard.rest(PREDICT, {"signature_name": 100})[1].endswith("'signature_name' key must be a string value.")


# --- paths -----------------------------------------------------------------------------------------------------------


def test_paths_are_case_insensitive_and_decoded(standard):
    for path in ("/V1/Models/default:PREDICT", "/v1/models/d%65fault:predict"):
        assert standard.rest(path, {"instances": [2.0]}) == (200, {"predictions": [3.0]})


def test_a_path_need_not_be_escaped(standard):
    """Callers such as curl send what was typed, in UTF-8."""
    with socket.create_connection(("127.0.0.1", standard.server.rest_port), timeout=30) as connection:
        connection.sendall("GET /v1/models/茶é HTTP/1.0\r\n\r\n".encode())
        answer = connection.makefile("rb").read().decode()
    assert json.loads(answer.partition("\r\n\r\n")[2]) == {"error": "Could not find any versions of model 茶é"}


def test_query_strings_are_not_looked_at(standard):
    for query in ("?", "?x=1", "?/v2:classify"):
        assert standard.rest(PREDICT + query, {"instances": [2.0]}) == (200, {"predictions": [3.0]})
    assert standard.rest("/v1/models/no?default")[1] == "Could not find any versions of model no"


def test_paths_elsewhere_and_without_a_model(standard):
    for path in ("/", "/v2/models/default", "/index"):
        status, headers, text = standard.http(path)
        assert (status, text, headers["Content-Type"]) == (404, "", None)
    assert standard.rest("/v1/models") == (400, "Missing model name in request.")
    assert standard.rest("/v1/models/metadata")[0] == 404  # a model of that name


def test_a_version_beyond_int64_has_an_empty_body(standard):
    for version in (2**64 - 1, 2**63, "9" * 5000):
        status, _, text = standard.http(f"/v1/models/default/versions/{version}:regress", b"{}")
        assert (status, text) == (400, "")
    assert standard.rest(f"/v1/models/default/versions/{'0' * 30}123")[0] == 200


FOUND = [
    ("no:predict", 404, "Servable not found for request: Latest(no)"),
    ("default99:predict", 404, "Servable not found for request: Latest(default99)"),
    ("default/versions/50:predict", 404, "Servable not found for request: Specific(default, 50)"),
    ("default/labels/gold:predict", 400, "Unrecognized servable version label: gold"),
]


@pytest.mark.parametrize(("path", "status", "text"), FOUND)
def test_models_that_are_not_found(standard, path, status, text):
    assert standard.rest(f"/v1/models/{path}", {"instances": [1]}) == (status, text)


STATUSES = {
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "OUT_OF_RANGE": 400,
    "NOT_FOUND": 404,
    "DEADLINE_EXCEEDED": 504,
    "UNAVAILABLE": 503,
    "RESOURCE_EXHAUSTED": 429,
    "UNIMPLEMENTED": 501,
    "INTERNAL": 500,
    "UNKNOWN": 500,
    "DATA_LOSS": 500,
}


@pytest.mark.embedded
@pytest.mark.parametrize(("code", "status"), STATUSES.items())
def test_status_of_every_code(code, status):
    assert ServingError(grpc.StatusCode[code], "").http_status == status


def test_status_of_errors_from_a_run(standard):
    status, error = kinds(standard, {"signature_name": "lost", "instances": ["no zlib"]})
    assert (status, "inflate() failed" in error) == (500, True)  # DATA_LOSS
    assert kinds(standard, {"signature_name": "ended", "instances": [1]})[0] == 400  # OUT_OF_RANGE
    request = standard.predict_request({"x": [1.0]}, name="kinds", signature="ended")
    assert standard.error(standard.prediction.Predict, request)[0] == "OUT_OF_RANGE"


def test_unknown_signature_has_its_own_text(standard):
    for body in ({"signature_name": "S", "instances": [1]}, {"signature_name": "S"}):
        assert standard.rest(PREDICT, body) == (400, 'Serving signature name: "S" not found in signature def')
    for method in ("classify", "regress"):
        body = {"signature_name": "S", "examples": [{"x": 1.0}]}
        assert standard.rest(f"/v1/models/default:{method}", body) == (
            400,
            "No signature was found with the name: S",
        )


def test_the_content_type_of_a_request_is_ignored(standard):
    for kind in ("text/plain", "application/xml"):
        assert standard.http(PREDICT, b'{"instances": [2.0]}', headers={"Content-Type": kind})[0] == 200


# --- predict ----------------------------------------------------------------------------------------------------------


def test_rows_of_several_inputs_and_outputs_are_objects(standard):
    rows = [{"a": 5.0, "b": 3}, {"a": 1, "b": 0.5}]
    assert kinds(standard, {"signature_name": "two", "instances": rows}) == (
        200,
        {"predictions": [{"difference": 2.0, "sum": 8.0}, {"difference": 0.5, "sum": 1.5}]},
    )


def test_columns_ignore_unknown_keys(standard):
    body = {"signature_name": "two", "inputs": {"a": [5.0], "b": [3.0], "other": "x"}}
    assert kinds(standard, body) == (200, {"outputs": {"difference": [2.0], "sum": [8.0]}})
    body = {"signature_name": "two", "inputs": {"a": [5.0]}}
    assert kinds(standard, body) == (400, "Missing named input: b in 'inputs' object.")


def test_one_input_may_be_named(standard):
    assert standard.rest(PREDICT, {"instances": [{"x": 2.0}, {"x": 4.0}]}) == (200, {"predictions": [3.0, 4.0]})
    assert standard.rest(PREDICT, {"inputs": {"x": [2.0]}}) == (200, {"outputs": [3.0]})
    assert standard.rest(PREDICT, {"inputs": 2.0}) == (200, {"outputs": 3.0})


ROWS = [
    ({"instances": [1], "inputs": [1]}, "expecting only one of 'inputs' or 'instances' keys to exist "),
    ({"instances": []}, "No values in 'instances' array"),
    ({}, "Missing 'inputs' or 'instances' key"),
    ({"instances": [[1, 2], [1]]}, "Expecting tensor size: 2 but got: 1"),
    ({"instances": [{"x": 1, "z": 2}]}, "JSON object: does not have named input: z"),
    ({"signature_name": "two", "instances": [{"a": 1}]}, "keys must be equal to: a,b"),
    ({"signature_name": "two", "instances": [1]}, "instances is a plain list, but expecting list of objects"),
    ({"signature_name": "scalar", "instances": [1]}, "Tensor name: total has no shape information "),
    ({"inputs": json.loads("[" * 40 + "]" * 40)}, "Encountered more than 31 lists within each other"),
    ({"signature_name": "echo", "inputs": [[1], [2, 3]]}, "Encountered list at unexpected size: 2 at level: 1"),
    ({"signature_name": "echo", "instances": [[1.5, 2], [3, 4]]}, "Tensor name: rows has inconsistent batch size: 1"),
    ({"signature_name": "shorter", "instances": [1]}, "Tensor name: rest has invalid batch size: 0"),
]


@pytest.mark.parametrize(("body", "text"), ROWS, ids=[case[1] for case in ROWS])
def test_bodies_that_are_refused(standard, body, text):
    path = KINDS if "signature_name" in body else PREDICT
    status, error = standard.rest(path, body)
    assert status == 400
    assert text in error


def test_bytes_go_in_as_b64_and_come_out_so_where_the_alias_ends_in_bytes(standard):
    def b64(value):
        return {"b64": base64.b64encode(value).decode()}

    body = {"signature_name": "text", "instances": ["茶", b64(b"ab"), {"s": "x"}["s"]]}
    assert kinds(standard, body) == (
        200,
        {
            "predictions": [
                {"s": "茶!", "s_bytes": b64("茶!".encode())},
                {"s": "ab!", "s_bytes": b64(b"ab!")},
                {"s": "x!", "s_bytes": b64(b"x!")},
            ]
        },
    )
    _, _, text = standard.http(KINDS, {"signature_name": "text", "inputs": [b64(b"a\x00\n")]})
    assert json.loads(text)["outputs"] == {"s": ["a\x00\n!"], "s_bytes": [b64(b"a\x00\n!")]}
    body = {"signature_name": "text", "instances": [{"b64": 1}]}
    assert kinds(standard, body)[0] == 400
    body = {"signature_name": "text", "instances": [{"b64": "*"}]}
    assert kinds(standard, body)[1].endswith("Unable to base64 decode")


NUMBERS = [
    ("0.1", "0.1"),
    ("2", "2.0"),
    ("-0.0", "-0.0"),
    ("9000000", "9e+06"),
    ("0.00003", "3e-05"),
    ("1.23456789", "1.23456788"),
    ("16777215", "16777215.0"),
    ("3.4028234663852886e38", "3.40282347e+38"),
    ("NaN", "NaN"),
    ("Infinity", "Infinity"),
    ("-Infinity", "-Infinity"),
]


@pytest.mark.parametrize(("given", "written"), NUMBERS)
def test_floats_as_they_are_written(standard, given, written):
    """Sec. 10: 6 digits, or 9 where those do not bring the value back; a whole one gets `.0`; NaN and so on bare."""
    body = f'{{"signature_name": "same", "instances": [[{given}]]}}'
    assert standard.http(KINDS, body.encode())[2] == f'{{\n    "predictions": [[{written}]\n    ]\n}}'


DOUBLES = [("1", "0.33333333333333331"), ("2", "0.66666666666666663"), ("1.5", "0.5"), ("3", "1.0")]


@pytest.mark.parametrize(("given", "written"), DOUBLES)
def test_doubles_as_they_are_written(standard, given, written):
    """Sec. 10: 17 digits where 6 do not bring the value back."""
    body = f'{{"signature_name": "double", "instances": [{given}]}}'
    assert standard.http(KINDS, body.encode())[2] == f'{{\n    "predictions": [{written}\n    ]\n}}'


@pytest.mark.parametrize("kind", ["uint16", "bfloat16"])
def test_types_that_json_does_not_carry(standard, kind):
    assert kinds(standard, {"signature_name": kind, "inputs": [1]}) == (
        501,
        f"Conversion of JSON Value: 1 to type: {kind}",
    )
    assert kinds(standard, {"signature_name": f"to_{kind}", "inputs": [1]}) == (
        400,
        f"Failed to write JSON value for tensor type: {kind}",
    )


def test_whole_numbers(standard):
    body = {"signature_name": "count", "instances": [2**53, -(2**63)]}
    assert kinds(standard, body) == (200, {"predictions": [2**53 + 1, -(2**63) + 1]})
    body = {"signature_name": "count", "instances": [1.0]}
    assert kinds(standard, body)[1].endswith("JSON Value: 1.0 Type: Number is not of expected type: int64")
    body = {"signature_name": "count", "instances": [True]}
    assert kinds(standard, body)[1].endswith("JSON Value: true Type: True is not of expected type: int64")


def test_layout_is_rapidjsons(standard):
    """The line breaks of upstream's PrettyWriter, as its documentation shows them."""
    assert standard.http(PREDICT, {"instances": [1.0, 2.0, 5.0]})[2] == (
        '{\n    "predictions": [2.5, 3.0, 4.5\n    ]\n}'
    )
    assert standard.http(PREDICT, {"inputs": [[1.0], [2.0]]})[2] == (
        '{\n    "outputs": [\n        [\n            2.5\n        ],\n        [\n            3.0\n        ]\n    ]\n}'
    )
    two = {"signature_name": "two", "instances": [{"a": 5.0, "b": 3.0}]}
    assert standard.http(KINDS, two)[2] == (
        '{\n    "predictions": [\n        {\n            "difference": 2.0,\n            "sum": 8.0\n        }\n'
        "    ]\n}"
    )
    examples = {"signature_name": "regress_x_to_y", "examples": [{"x": 2.0}, {"x": 4.0}]}
    assert standard.http("/v1/models/default:regress", examples)[2] == '{\n    "results": [3.0, 4.0]\n}'
    assert standard.http("/v1/models/no:predict", {"instances": [1]})[2] == (
        '{\n    "error": "Servable not found for request: Latest(no)"\n}'
    )


# --- classify and regress --------------------------------------------------------------------------------------------


def regress(caller, body):
    return caller.rest("/v1/models/default:regress", {"signature_name": "regress_x_to_y", **body})


def test_context_and_lists(standard):
    assert regress(standard, {"context": {"x": 2.0}, "examples": [{}, {"x": [4.0]}]}) == (200, {"results": [3.0, 4.0]})


def test_labels_and_scores(standard):
    body = {"signature_name": "classify_both", "examples": [{"x": 1.0}, {}]}
    expected = {"results": [[["a", 0.25], ["b", 0.25]]] * 2}
    assert standard.rest("/v1/models/kinds:classify", body) == (200, expected)


EXAMPLES = [
    ({}, "When method is classify, key 'examples' is expected and was not found"),
    ({"examples": {}}, "Expecting 'examples' value to be an list/array"),
    ({"examples": []}, "'examples' value is an empty array"),
    ({"examples": [1]}, "Example must be JSON object but got JSON Number"),
    ({"examples": [{"x": None}]}, "Feature: x has element with unexpected JSON type: Null"),
    ({"examples": [{"x": {"y": 1}}]}, "Feature: x has element with unexpected JSON type: Object"),
    ({"examples": [{"x": [[1.0]]}]}, "Feature: x has element with unexpected JSON type: Array"),
    ({"examples": [{"x": [1.0, 2]}]}, "Unexpected element type in feature: x expecting type: float"),
    ({"examples": [{"x": [2, "a"]}]}, "Unexpected element type in feature: x expecting type: int64"),
    ({"examples": [{"x": [2**63]}]}, "Feature: x has uint64 element. Only int64 is supported."),
    ({"examples": [{"x": 2}]}, "Data types don't match"),  # a JSON 2 is an int64 feature
    ({"examples": [{"x": True}]}, "Data types don't match"),
]


@pytest.mark.parametrize(("body", "text"), EXAMPLES, ids=[case[1] for case in EXAMPLES])
def test_examples_that_are_refused(standard, body, text):
    status, error = regress(standard, body)
    assert status == 400
    assert text in error


# --- metadata, CORS, HTTP --------------------------------------------------------------------------------------------


def test_metadata(standard):
    status, answer = standard.rest("/v1/models/default/metadata")
    assert status == 200
    assert answer["model_spec"] == {"name": "default", "signature_name": "", "version": "123"}
    signatures = answer["metadata"]["signature_def"]["signature_def"]
    assert signatures["classify_x_to_y"]["method_name"] == "tensorflow/serving/classify"
    assert signatures["serving_default"]["inputs"] == {
        "x": {"dtype": "DT_FLOAT", "tensor_shape": {"dim": [], "unknown_rank": True}, "name": "x:0"}
    }
    assert set(signatures) == {
        "serving_default",
        "regress_x_to_y",
        "regress_x_to_y2",
        "regress_x2_to_y3",
        "classify_x_to_y",
        "classify_x2_to_y3",
    }


CORS = ("Access-Control-Allow-Origin", "Access-Control-Allow-Methods", "Access-Control-Allow-Headers")


def test_cors_only_where_asked_for(serve, shelf, standard, tmp_path):
    _, headers, _ = standard.http(PREDICT, {"instances": [1]})
    assert [headers[name] for name in CORS] == [None] * 3
    shelf.put(tmp_path, 1)
    with serve(model_base_path=tmp_path, rest_api_enable_cors_support=True) as caller:
        for body in ({"instances": [1]}, {}):
            _, headers, _ = caller.http(PREDICT, body)
            assert [headers[name] for name in CORS] == ["*", "POST, GET", "Content-Type"]
        assert caller.http(PREDICT, method="OPTIONS")[0] == 200


def test_a_connection_is_kept_and_a_body_may_come_in_chunks(standard):
    connection = http.client.HTTPConnection("127.0.0.1", standard.server.rest_port, timeout=30)
    for _ in range(2):
        connection.request("POST", PREDICT, iter([b'{"inst', b'ances": [2', b".0]}"]), encode_chunked=True)
        answer = connection.getresponse()
        assert (answer.status, json.loads(answer.read())) == (200, {"predictions": [3.0]})
    connection.close()


def test_a_body_may_be_compressed(standard):
    """util/net_http uncompresses gzip by default."""
    body, headers = gzip.compress(b'{"instances": [2.0]}'), {"Content-Encoding": "gzip"}
    assert json.loads(standard.http(PREDICT, body, headers=headers)[2]) == {"predictions": [3.0]}
    for broken in (b"no gzip", body[:-9]):
        status, _, text = standard.http(PREDICT, broken, headers=headers)
        assert (status, json.loads(text)["error"]) == (400, "JSON Parse error: The document is empty")


@pytest.mark.embedded
def test_a_compressed_body_is_bounded(standard):
    """The limit of 64 MiB is this server's."""
    headers = {"Content-Encoding": "gzip"}
    bomb = gzip.compress(b" " * (65 << 20))
    assert standard.http(PREDICT, bomb, headers=headers)[0] == 413


@pytest.mark.embedded
@pytest.mark.parametrize(("length", "status"), [(str(1 << 40), 413), ("9" * 5000, 413), ("-1", 400), ("x", 400)])
def test_lengths_of_bodies_that_are_refused(standard, length, status):
    connection = http.client.HTTPConnection("127.0.0.1", standard.server.rest_port, timeout=30)
    connection.putrequest("POST", PREDICT)
    connection.putheader("Content-Length", length)
    connection.endheaders()
    assert connection.getresponse().status == status
    connection.close()


def test_slow_callers_hold_up_nobody(serve, shelf, tmp_path):
    """More connections than threads, each with half a request: others are answered."""
    shelf.put(tmp_path, 1)
    with serve(model_base_path=tmp_path, rest_api_num_threads=1) as caller:
        slow = [http.client.HTTPConnection("127.0.0.1", caller.server.rest_port, timeout=30) for _ in range(10)]
        for connection in slow:
            connection.putrequest("POST", PREDICT)
            connection.putheader("Content-Length", "20")
            connection.endheaders(b'{"insta')
        assert caller.rest(PREDICT, {"instances": [2.0]}) == (200, {"predictions": [3.0]})
        for connection in slow:
            connection.close()


def test_timeout_of_a_run(serve, shelf, tmp_path):
    shelf.put(tmp_path, 1, "kinds")
    with serve(model_base_path=tmp_path, rest_api_timeout_in_ms=200) as caller:
        status, _ = caller.rest(PREDICT, {"signature_name": "slow", "instances": [2**60]})
    assert status == 504


def test_no_rest_without_a_port(serve, shelf, tmp_path):
    """Sec. 10: 0 is off."""
    shelf.put(tmp_path, 1)
    with serve(model_base_path=tmp_path, rest_api_port=0) as caller:
        assert caller.server.rest_port is None
        assert caller.half() == (3.0, 1)


@pytest.mark.embedded
def test_a_request_under_way_is_answered_when_the_server_stops_and_no_further_one(serve, shelf, tmp_path, wait_for):
    shelf.put(tmp_path, 1, "kinds")
    body = json.dumps({"signature_name": "slow", "instances": [30_000]})
    with (
        serve(model_base_path=tmp_path, enable_batching=True) as caller,
        concurrent.futures.ThreadPoolExecutor() as pool,
    ):
        kept = http.client.HTTPConnection("127.0.0.1", caller.server.rest_port, timeout=30)
        kept.request("GET", "/v1/models/default")
        assert kept.getresponse().read()
        under_way = pool.submit(caller.http, PREDICT, body.encode())
        wait_for(lambda: caller.batches() == 1 or under_way.done())
        caller.server.stop(grace=30)
        status, _, text = under_way.result(5)
        assert (status, json.loads(text)) == (200, {"predictions": [60_000]})
        kept.request("POST", PREDICT, body)
        answer = kept.getresponse()
        assert (answer.status, answer.headers["Connection"]) == (503, "close")
        assert json.loads(answer.read()) == {"error": "The server stops."}
