"""Section 5: GetModelMetadata."""

import pytest
import tensorflow as tf
from tensorflow_serving.apis import get_model_metadata_pb2


@pytest.mark.parametrize(
    ("fields", "details"),
    [
        ((), "GetModelMetadataRequest must specify at least one metadata_field"),
        (("graph",), "Metadata field graph is not supported"),
        (("signature_def", "other"), "Metadata field other is not supported"),
    ],
)
def test_refused_fields(standard, fields, details):
    for name in ("default", "no"):  # fields are looked at before the model
        asked = standard.metadata_request(fields, name=name)
        assert standard.error(standard.prediction.GetModelMetadata, asked) == ("INVALID_ARGUMENT", details)


def test_unknown_model(standard):
    asked = standard.metadata_request(name="no")
    expected = ("NOT_FOUND", "Servable not found for request: Latest(no)")
    assert standard.error(standard.prediction.GetModelMetadata, asked) == expected


def test_answer_has_all_signatures_and_no_signature_name(standard):
    answer = standard.prediction.GetModelMetadata(standard.metadata_request(version=123, signature="ignored"))
    assert (answer.model_spec.name, answer.model_spec.signature_name) == ("default", "")
    assert answer.model_spec.version.value == 123
    assert list(answer.metadata) == ["signature_def"]
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert answer.metadata["signature_def"].Unpack(signatures)
    assert {name: signature.method_name for name, signature in signatures.signature_def.items()} == {
        "serving_default": "tensorflow/serving/predict",
        "regress_x_to_y": "tensorflow/serving/regress",
        "regress_x_to_y2": "tensorflow/serving/regress",
        "regress_x2_to_y3": "tensorflow/serving/regress",
        "classify_x_to_y": "tensorflow/serving/classify",
        "classify_x2_to_y3": "tensorflow/serving/classify",
    }
    x = signatures.signature_def["serving_default"].inputs["x"]
    assert (x.name, x.dtype) == ("x:0", tf.float32.as_datatype_enum)
    assert x.tensor_shape.unknown_rank  # as in upstream's half_plus_two_model_metadata.json


def test_tf2_exports_show_their_init_op(serve, tmp_path):
    root = tf.Module()
    root.f = tf.function(lambda x: {"y": x}, input_signature=[tf.TensorSpec(None, tf.float32)])
    tf.saved_model.save(root, str(tmp_path / "m" / "1"), signatures=root.f)
    with serve(model_base_path=tmp_path / "m") as caller:
        answer = caller.prediction.GetModelMetadata(caller.metadata_request())
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert answer.metadata["signature_def"].Unpack(signatures)
    assert set(signatures.signature_def) == {"serving_default", "__saved_model_init_op"}
