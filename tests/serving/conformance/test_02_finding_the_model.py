"""Section 2: from a ModelSpec to a version."""

import pytest
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    predict_pb2,
    regression_pb2,
)

X = {"x": [2.0]}


@pytest.mark.parametrize(
    ("method", "request_type"),
    [
        ("Predict", predict_pb2.PredictRequest),
        ("Classify", classification_pb2.ClassificationRequest),
        ("Regress", regression_pb2.RegressionRequest),
        ("GetModelMetadata", get_model_metadata_pb2.GetModelMetadataRequest),
    ],
)
def test_no_model_spec(standard, method, request_type):
    assert standard.error(getattr(standard.prediction, method), request_type()) == (
        "INVALID_ARGUMENT",
        "Missing ModelSpec",
    )


def test_no_model_spec_for_status_and_multi_inference(standard):
    asked = get_model_status_pb2.GetModelStatusRequest()
    assert standard.error(standard.model.GetModelStatus, asked) == ("INVALID_ARGUMENT", "Missing ModelSpec")
    asked = inference_pb2.MultiInferenceRequest()
    expected = ("INVALID_ARGUMENT", "ModelSpec has no name specified.")
    assert standard.error(standard.prediction.MultiInference, asked) == expected


FOUND = [
    ({"name": ""}, "INVALID_ARGUMENT", "ModelSpec has no name specified."),
    ({"name": "no"}, "NOT_FOUND", "Servable not found for request: Latest(no)"),
    ({"name": "no", "version": 3}, "NOT_FOUND", "Servable not found for request: Specific(no, 3)"),
    ({"version": 3}, "NOT_FOUND", "Servable not found for request: Specific(default, 3)"),
    ({"version": 0}, "NOT_FOUND", "Servable not found for request: Specific(default, 0)"),
    ({"label": "gold"}, "INVALID_ARGUMENT", "Unrecognized servable version label: gold"),
    ({"name": "no", "label": "gold"}, "INVALID_ARGUMENT", "Unrecognized servable version label: gold"),
]


@pytest.mark.parametrize(("spec", "code", "details"), FOUND)
def test_what_is_not_found(standard, spec, code, details):
    assert standard.predict_error(X, **spec) == (code, details)
    for call, asked in (
        (standard.prediction.Classify, standard.classify_request([], **spec)),
        (standard.prediction.Regress, standard.regress_request([], **spec)),
        (standard.prediction.GetModelMetadata, standard.metadata_request(**spec)),
    ):
        assert standard.error(call, asked) == (code, details)


def test_specific_version_is_answered(standard):
    assert standard.half(version=123) == (3.0, 123)


def test_highest_number_answers_and_label_is_replaced_by_its_version(serve, shelf, config_file, tmp_path, wait_for):
    """Sec. 2: numeric order (10 before 9); the answer's model_spec holds the version, never the label."""
    for version, model in ((9, "half_plus_two"), (10, "half_plus_three")):
        shelf.put(tmp_path / "m", version, model)
    policy = "model_version_policy { all {} }"
    file = config_file(tmp_path / "models.config", {"default": (tmp_path / "m", policy)})
    with serve(model_config_file=file, num_load_threads=2) as caller:
        wait_for(lambda: dict(caller.status()) == {10: 30, 9: 30})
        assert caller.half() == (4.0, 10)
        assert caller.half(version=9) == (3.0, 9)
        caller.reload(
            {
                "name": "default",
                "base_path": str(tmp_path / "m"),
                "model_version_policy": {"all": {}},
                "version_labels": {"stable": 9},
            }
        )
        response = caller.prediction.Predict(caller.predict_request(X, label="stable"))
        assert response.outputs["y"].float_val == [3.0]
        assert response.model_spec.WhichOneof("version_choice") == "version"
        assert response.model_spec.version.value == 9


BROKEN = {"inputs": {"a": [1.0], "b": [1.0]}, "outputs": ["z"]}
ORDER = [
    ({"name": "", "version": 1, "signature": "no"}, "ModelSpec has no name specified."),
    ({"version": 1, "signature": "no"}, "Servable not found for request: Specific(default, 1)"),
    ({"signature": "no"}, 'Serving signature key "no" not found.'),
    ({}, "input size does not match signature: 2!=1"),
]


@pytest.mark.parametrize(("spec", "start"), ORDER)
def test_order_of_checks(standard, spec, start):
    """Sec. 2: model_spec, then model and version, then signature, inputs, output_filter."""
    assert standard.predict_error(**BROKEN, **spec)[1].startswith(start)


def test_output_filter_is_checked_last(standard):
    assert standard.predict_error({"x": ["a"]}, ["z"])[1].startswith("output tensor alias not found in signature: z")
