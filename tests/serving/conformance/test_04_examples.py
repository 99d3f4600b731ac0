"""Section 4: Classify, Regress and MultiInference."""

import pytest
from tensorflow_serving.apis import classification_pb2, inference_pb2, regression_pb2

CLASSIFY, REGRESS = "tensorflow/serving/classify", "tensorflow/serving/regress"
TWO = [{"x": 2.0}, {"x": 4.0}]


def classify(caller, examples, context=None, **spec):
    response = caller.prediction.Classify(caller.classify_request(examples, context, **spec))
    return [[(c.label, c.score) for c in row.classes] for row in response.result.classifications]


def regress(caller, examples, context=None, **spec):
    response = caller.prediction.Regress(caller.regress_request(examples, context, **spec))
    return [regression.value for regression in response.result.regressions]


def errors(caller, examples=TWO, **spec):
    """What Classify and Regress say."""
    return [
        caller.error(caller.prediction.Classify, caller.classify_request(examples, **spec)),
        caller.error(caller.prediction.Regress, caller.regress_request(examples, **spec)),
    ]


def test_upstreams_classify(standard):
    """tensorflow_model_server_test.testClassify: one class with score 3.0, no label."""
    assert classify(standard, [{"x": 2.0}], signature="classify_x_to_y") == [[("", 3.0)]]


def test_upstreams_regress(standard):
    assert regress(standard, [{"x": 2.0}], signature="regress_x_to_y") == [3.0]


def test_upstreams_multi_inference(standard):
    """testMultiInference: results in task order, each with its model_spec."""
    tasks = [("regress_x_to_y", REGRESS), ("classify_x_to_y", CLASSIFY)]
    response = standard.prediction.MultiInference(standard.multi_request([{"x": 2.0}], *tasks))
    assert response.results[0].regression_result.regressions[0].value == 3.0
    assert response.results[1].classification_result.classifications[0].classes[0].score == 3.0
    for result, (signature, _) in zip(response.results, tasks, strict=True):
        assert (result.model_spec.name, result.model_spec.signature_name) == ("default", signature)
        assert result.model_spec.version.value == 123


def test_multi_inference_runs_once(serve, shelf, tmp_path):
    """Sec. 4: one Session::Run for all tasks, which the batching session counts."""
    shelf.put(tmp_path, 1)
    tasks = [("regress_x_to_y", REGRESS), ("regress_x_to_y2", REGRESS), ("classify_x_to_y", CLASSIFY)]
    with serve(model_base_path=tmp_path, enable_batching=True) as caller:
        response = caller.prediction.MultiInference(caller.multi_request([{"x": 2.0}], *tasks))
        assert [result.regression_result.regressions[0].value for result in response.results[:2]] == [3.0, 4.0]
        assert caller.batches() == 1


def test_model_spec_of_the_answers(standard):
    for response in (
        standard.prediction.Classify(standard.classify_request(TWO, signature="classify_x_to_y")),
        standard.prediction.Regress(standard.regress_request(TWO, signature="regress_x_to_y")),
    ):
        assert response.model_spec.name == "default"
        assert response.model_spec.signature_name in ("classify_x_to_y", "regress_x_to_y")
        assert response.model_spec.version.value == 123


def test_context_is_shared_and_an_examples_own_feature_wins(standard):
    assert regress(standard, [{}, {"x": 4.0}], {"x": 2.0}, signature="regress_x_to_y") == [3.0, 4.0]


@pytest.mark.parametrize(
    ("method", "kind", "signature"),
    [
        ("Classify", classification_pb2.ClassificationRequest, "classify_x_to_y"),
        ("Regress", regression_pb2.RegressionRequest, "regress_x_to_y"),
    ],
)
def test_no_examples_in_any_of_the_three_ways(standard, method, kind, signature):
    nothing, no_list, no_list_with_context = kind(), kind(), kind()
    no_list.input.example_list.SetInParent()
    no_list_with_context.input.example_list_with_context.context.SetInParent()
    for request in (nothing, no_list, no_list_with_context):
        standard.spec(request.model_spec, signature=signature)
        expected = ("INVALID_ARGUMENT", "Input is empty.")
        assert standard.error(getattr(standard.prediction, method), request) == expected


def test_unknown_signature(standard):
    expected = ("INVALID_ARGUMENT", "No signature was found with the name: no")
    assert errors(standard, signature="no") == [expected] * 2


def test_default_signature_is_looked_for_when_none_is_named(standard):
    """`serving_default` of half_plus_two takes x, not examples."""
    said = errors(standard)
    assert [code for code, _ in said] == ["INVALID_ARGUMENT"] * 2
    assert said[0][1].startswith("No classification inputs found in SignatureDef: ")
    assert said[1][1].startswith("No regression inputs found in SignatureDef: ")


CLASSIFICATION = [
    ("classify_other_input", "No classification inputs found in SignatureDef: "),
    ("classify_two_inputs", "Expected one input Tensor."),
    ("classify_three", "Expected one or two output Tensors, found 3"),
    (
        "classify_no_outputs",
        'Expected classification signature outputs to contain at least one of "classes" or "scores"',
    ),
    ("classify_flat", "Expected Tensor shape: [batch_size num_classes] but got [2]"),
    ("classify_short", "Expected scores output batch size of 2. Got: 1"),
    ("classify_uneven", "Tensors class and score should match in dim_size(1). Got 2 vs. 1"),
]
REGRESSION = [
    ("regress_other_input", "No regression inputs found in SignatureDef: "),
    ("classify_two_inputs", "Expected one input Tensor."),
    ("regress_two_outputs", "Expected one output Tensor."),
    ("regress_other_output", "No regression outputs found in SignatureDef: "),
    (
        "regress_wide",
        "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got [2,2]",
    ),
    ("regress_short", "Input batch size did not match output batch size: 2 vs. 1"),
]


@pytest.mark.parametrize(("signature", "start"), CLASSIFICATION)
def test_signatures_that_do_not_classify(standard, signature, start):
    code, details = errors(standard, name="kinds", signature=signature)[0]
    assert code == "INVALID_ARGUMENT"
    assert details.startswith(start)


@pytest.mark.parametrize(("signature", "start"), REGRESSION)
def test_signatures_that_do_not_regress(standard, signature, start):
    code, details = errors(standard, name="kinds", signature=signature)[1]
    assert code == "INVALID_ARGUMENT"
    assert details.startswith(start)


def test_method_names_are_not_checked(standard):
    """Sec. 4: a TF2 export's signature (method .../predict) can be classified."""
    assert classify(standard, TWO, name="kinds", signature="classify_as_predict") == [[("", 0.25), ("", 0.25)]] * 2


def test_labels_and_scores_each_of_which_may_be_absent(standard):
    assert classify(standard, TWO, name="kinds", signature="classify_both") == [[("a", 0.25), ("b", 0.25)]] * 2
    assert classify(standard, TWO, name="kinds", signature="classify_labels") == [[("a", 0.0), ("b", 0.0)]] * 2


def test_regress_output_may_be_flat(standard):
    assert regress(standard, TWO, name="kinds", signature="regress_flat") == [0.25, 0.25]


@pytest.mark.parametrize(("signature", "place"), [("classify_x2_to_y3", 0), ("regress_x2_to_y3", 1)])
def test_signature_that_takes_floats(standard, signature, place):
    expected = ("INVALID_ARGUMENT", "Expects arg[0] to be float but string is provided")
    assert errors(standard, signature=signature)[place] == expected


MULTI = [
    ([], "default", "INVALID_ARGUMENT", "ModelSpec has no name specified."),
    ([("no", CLASSIFY)], "default", "INVALID_ARGUMENT", "Requested signature not found in model graph: no"),
    (
        [("classify_x_to_y", CLASSIFY)] * 2,
        "default",
        "INVALID_ARGUMENT",
        "Duplicate evaluation of signature: classify_x_to_y",
    ),
    (
        [("classify_x_to_y", "tensorflow/serving/predict")],
        "default",
        "UNIMPLEMENTED",
        "Unsupported signature method_name: tensorflow/serving/predict",
    ),
    ([("classify_x_to_y", "")], "default", "UNIMPLEMENTED", "Unsupported signature method_name: "),
    ([("classify_x_to_y", CLASSIFY)], "no", "NOT_FOUND", "Servable not found for request: Latest(no)"),
]


@pytest.mark.parametrize(("tasks", "name", "code", "details"), MULTI)
def test_multi_inference_refusals(standard, tasks, name, code, details):
    request = standard.multi_request([{"x": 2.0}], *tasks, name=name)
    assert standard.error(standard.prediction.MultiInference, request) == (code, details)


def test_all_tasks_must_be_of_one_model_and_one_input(standard):
    request = standard.multi_request([{"x": 2.0}], ("regress_x_to_y", REGRESS), ("classify_x_to_y", CLASSIFY))
    request.tasks[1].model_spec.name = "kinds"
    assert standard.error(standard.prediction.MultiInference, request) == (
        "INVALID_ARGUMENT",
        "All ModelSpecs in a MultiInferenceRequest must access the same model name.",
    )
    request = standard.multi_request([{"x": 2.0}], ("regress_x_to_y", REGRESS), ("classify_x2_to_y3", CLASSIFY))
    expected = ("INVALID_ARGUMENT", "Input tensor must be the same for all Signatures.")
    assert standard.error(standard.prediction.MultiInference, request) == expected


def test_multi_inference_without_examples(standard):
    request = inference_pb2.MultiInferenceRequest()
    task = request.tasks.add(method_name=CLASSIFY)
    standard.spec(task.model_spec, signature="classify_x_to_y")
    assert standard.error(standard.prediction.MultiInference, request) == ("INVALID_ARGUMENT", "Input is empty.")


def test_a_feature_that_the_graph_does_not_find_is_the_kernels_error(standard):
    code, details = standard.error(
        standard.prediction.Regress, standard.regress_request([{"z": 1.0}], signature="regress_x_to_y")
    )
    assert code == "INVALID_ARGUMENT"
    assert "Feature: x (data type: float) is required but could not be found." in details
