"""Section 3: Predict."""

import numpy as np
import pytest
import tensorflow as tf

ONE = {"x": np.array([2.0], np.float32)}
PAIR = {"a": np.array([5.0], np.float32), "b": np.array([3.0], np.float32)}


def test_upstreams_predict_with_and_without_output_filter(standard):
    """tensorflow_model_server_test.VerifyPredictRequest: [1] to a [None, 1] input, y = 3.0."""
    for outputs in ([], ["y"]):
        response = standard.prediction.Predict(standard.predict_request(ONE, outputs))
        assert response.outputs["y"].dtype == tf.float32.as_datatype_enum
        assert list(response.outputs["y"].float_val) == [3.0]


def test_model_spec_of_the_answer(standard):
    """Sec. 3: name as asked, signature_name resolved, version."""
    for signature in ("", "serving_default"):
        spec = standard.prediction.Predict(standard.predict_request(ONE, signature=signature)).model_spec
        assert (spec.name, spec.signature_name, spec.version.value) == ("default", "serving_default", 123)


def test_unknown_signature(standard):
    expected = ("FAILED_PRECONDITION", 'Serving signature key "no" not found.')
    assert standard.predict_error(ONE, signature="no") == expected


@pytest.mark.parametrize(
    ("signature", "output", "value"), [("regress_x2_to_y3", "outputs", 4.0), ("classify_x2_to_y3", "scores", 4.0)]
)
def test_predict_works_on_classify_and_regress_signatures(standard, signature, output, value):
    """Sec. 3: the method name is not checked by default."""
    inputs = {"inputs": np.array([[2.0]], np.float32)}
    assert standard.predict(inputs, signature=signature) == {output: [[value]]}


COUNTS = [
    (
        {"a": [1.0], "b": [1.0]},
        "",
        "input size does not match signature: 2!=1 len({a,b}) != len({x}). Sent extra: {a,b}. "
        "Missing but required: {x}.",
    ),
    (
        {},
        "",
        "input size does not match signature: 0!=1 len({}) != len({x}). Sent extra: {}. Missing but required: {x}.",
    ),
]


@pytest.mark.parametrize(("inputs", "signature", "details"), COUNTS)
def test_count_of_inputs_differs(standard, inputs, signature, details):
    assert standard.predict_error(inputs, signature=signature) == ("INVALID_ARGUMENT", details)


def test_right_count_but_wrong_name(standard):
    code, details = standard.predict_error({"z": [1.0]})
    assert code == "INVALID_ARGUMENT"
    assert details.startswith("Signature input alias: x")
    assert "not found in request and no default value provided. Inputs expected to be in the request {z}" in details


DEFAULTED = [
    ({"a": PAIR["a"]}, {"sum": [15.0]}),
    (PAIR, {"sum": [8.0]}),
]


@pytest.mark.parametrize(("inputs", "answer"), DEFAULTED, ids=["a", "a and b"])
def test_defaults_of_a_signature_stand_in_for_what_is_not_sent(standard, inputs, answer):
    """Sec. 3: fewer inputs are let through; `b` is 10 by default."""
    assert standard.predict(inputs, name="kinds", signature="two_with_defaults") == answer


def test_what_defaults_do_not_let_through(standard):
    spec = {"name": "kinds", "signature": "two_with_defaults"}
    code, details = standard.predict_error({"b": PAIR["b"]}, **spec)
    assert code == "INVALID_ARGUMENT"
    assert details.startswith("Signature input alias: a(feed name: x:0) not found in request and no default value")
    assert details.endswith("Inputs expected to be in the request {b}, or default input alias set: b")
    assert standard.predict_error({"a": PAIR["a"], "z": PAIR["b"]}, **spec) == (
        "INVALID_ARGUMENT",
        "Inputs contains invalid name. Used request inputs: a, request input: a,z",
    )


BROKEN = [
    {"dtype": 1, "tensor_content": b"1234567", "dims": [2]},
    {"dtype": 1, "tensor_content": b"12345678", "dims": [3]},
    {"dtype": 1, "float_val": [1.0], "dims": [-1]},
    {"dtype": 0, "float_val": [1.0], "dims": [1]},
    {"dtype": 99, "dims": [1]},
    {"dtype": 7, "tensor_content": b"\x05ab", "dims": [1]},
    {"dtype": 1, "float_val": [1.0], "dims": [1 << 40]},
]


@pytest.mark.parametrize("broken", BROKEN, ids=str)
def test_tensor_that_does_not_parse(standard, broken):
    request = standard.predict_request()
    proto = request.inputs["x"]
    proto.dtype = broken["dtype"]
    for size in broken["dims"]:
        proto.tensor_shape.dim.add(size=size)
    proto.tensor_content = broken.get("tensor_content", b"")
    proto.float_val.extend(broken.get("float_val", []))
    assert standard.error(standard.prediction.Predict, request) == ("INVALID_ARGUMENT", "tensor parsing error: x")


def test_a_short_typed_list_repeats_its_last_value(standard):
    """Sec. 3: as with `float_val: 2.0` and shape [3]."""
    request = standard.predict_request()
    request.inputs["x"].dtype = 1
    request.inputs["x"].float_val.append(2.0)
    request.inputs["x"].tensor_shape.dim.add(size=3)
    assert list(standard.prediction.Predict(request).outputs["y"].float_val) == [3.0, 3.0, 3.0]


def test_typed_whole_numbers_of_every_length_are_read(standard):
    values = [0, 1, 127, 128, 300, 2**21, 2**35, 2**62, -1, -(2**63)]
    request = standard.predict_request(name="kinds", signature="count")
    request.inputs["n"].dtype = 9
    request.inputs["n"].int64_val.extend(values)
    request.inputs["n"].tensor_shape.dim.add(size=len(values))
    answer = standard.prediction.Predict(request).outputs["n"]
    assert list(answer.int64_val) == [value + 1 for value in values]


@pytest.mark.parametrize(
    ("value", "name"), [(np.array([2]), "int64"), (np.array([2.0]), "double"), (np.array([b"2"], object), "string")]
)
def test_types_are_never_cast(standard, value, name):
    expected = ("INVALID_ARGUMENT", f"Expects arg[0] to be float but {name} is provided")
    assert standard.predict_error({"x": value}) == expected


def test_the_number_in_a_type_error_is_the_feeds_place(standard):
    wrong = {"a": PAIR["a"], "b": np.array([3])}
    code, details = standard.predict_error(wrong, name="kinds", signature="two")
    assert (code, details) == ("INVALID_ARGUMENT", "Expects arg[1] to be float but int64 is provided")


@pytest.mark.parametrize("shape", [[], [1], [4], [2, 1], [2, 3, 1]])
def test_shapes_are_not_checked_against_the_signature(standard, shape):
    """Sec. 3: an elementwise graph takes any rank."""
    request = standard.predict_request({"x": np.full(shape, 2.0, np.float32)})
    answer = standard.prediction.Predict(request).outputs["y"]
    assert [dim.size for dim in answer.tensor_shape.dim] == shape
    assert set(tf.make_ndarray(answer).ravel().tolist()) == {3.0}


def test_kernels_complain_of_shapes(standard):
    three = {"m": np.ones([1, 3], np.float32)}
    code, details = standard.predict_error(three, name="kinds", signature="matrix")
    assert code == "INVALID_ARGUMENT"
    assert details.startswith("Matrix size-incompatible: ")


def test_zero_rows_are_no_error(standard):
    assert standard.predict({"x": np.zeros([0, 1], np.float32)}) == {"y": []}


@pytest.mark.parametrize("outputs", [["sum"], ["difference"], ["difference", "sum"], ["sum", "difference"]])
def test_only_asked_outputs_are_returned(standard, outputs):
    answer = standard.predict(PAIR, outputs, name="kinds", signature="two")
    assert answer == {name: {"sum": [8.0], "difference": [2.0]}[name] for name in outputs}


def test_an_empty_filter_means_all(standard):
    assert set(standard.predict(PAIR, name="kinds", signature="two")) == {"sum", "difference"}


FILTERS = [
    (["z"], "output tensor alias not found in signature: z Outputs expected to be in the set {y}."),
    (["y", "y"], "duplicate output tensor alias: y"),
    (["y:0"], "output tensor alias not found in signature: y:0 Outputs expected to be in the set {y}."),
]


@pytest.mark.parametrize(("outputs", "details"), FILTERS)
def test_output_filter_refusals(standard, outputs, details):
    assert standard.predict_error(ONE, outputs) == ("INVALID_ARGUMENT", details)


def test_outputs_are_in_typed_fields(standard):
    strings = {"s": np.array([b"a", b"\xff"], object)}
    for inputs, signature, field in (
        ({"n": np.array([-5, 300])}, "count", "int64_val"),
        (PAIR, "two", "float_val"),
        (strings, "text", "string_val"),
    ):
        request = standard.predict_request(inputs, name="kinds", signature=signature)
        for proto in standard.prediction.Predict(request).outputs.values():
            assert not proto.tensor_content
            assert len(getattr(proto, field)) == proto.tensor_shape.dim[0].size


@pytest.fixture(scope="module")
def tf2(serve, tmp_path_factory):
    """Upstream's test_tf_saved_model_save_multiple_signatures, and a table."""
    root = tf.Module()
    root.v = tf.Variable(3.0)
    spec = [tf.TensorSpec(None, tf.float32)]
    root.f = tf.function(lambda x: {"y": root.v * 2.0 * x}, input_signature=spec)
    root.g = tf.function(lambda x: {"y": 2.0 + 0.0 * x}, input_signature=spec)
    asset = tmp_path_factory.mktemp("asset") / "words.txt"
    asset.write_text("zero\none\n")
    initializer = tf.lookup.TextFileInitializer(
        str(asset), tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER, tf.string, tf.lookup.TextFileIndex.WHOLE_LINE
    )
    root.table = tf.lookup.StaticHashTable(initializer, "?")
    root.h = tf.function(lambda n: {"word": root.table.lookup(n)}, input_signature=[tf.TensorSpec([None], tf.int64)])
    base = tmp_path_factory.mktemp("tf2")
    signatures = {"serving_default": root.f, "custom_signature_key": root.g, "lookup": root.h}
    tf.saved_model.save(root, str(base / "00000123"), signatures=signatures)
    with serve(model_base_path=base) as caller:
        yield caller


def test_tf2_export_and_several_signatures(tf2):
    assert tf2.half() == (12.0, 123)
    assert tf2.half(signature="custom_signature_key") == (2.0, 123)


def test_tables_and_assets_are_initialised_at_load(tf2):
    assert tf2.predict({"n": np.array([1, 0, 7])}, signature="lookup") == {"word": [b"one", b"zero", b"?"]}
