"""Classify, Regress and MultiInference: examples in, labels and scores or values out."""

from __future__ import annotations

from collections.abc import Mapping

import grpc
import numpy as np
from tensorflow.core.framework import types_pb2
from tensorflow_serving.apis import classification_pb2, inference_pb2, input_pb2, model_pb2, regression_pb2

from serving.contract import SERVING_DEFAULT
from serving.server import tensors
from serving.server.errors import ServingError, invalid_argument
from serving.server.examples import serialized_examples
from serving.server.servable import Runner
from serving.server.signature import Signature

CLASSIFY = "tensorflow/serving/classify"
REGRESS = "tensorflow/serving/regress"
_INPUTS, _CLASSES, _SCORES, _OUTPUTS = "inputs", "classes", "scores", "outputs"


def classify(
    runner: Runner,
    version: int | None,
    request: classification_pb2.ClassificationRequest,
    timeout_ms: int | None = None,
) -> classification_pb2.ClassificationResponse:
    """Labels and scores of each example; the arguments are those of `predict`.

    Raises:
      ServingError: INVALID_ARGUMENT for a signature that is not there or does not classify, no examples, or outputs
        that are no classification; and whatever the run raises.
    """
    signature = _signature(runner, request.model_spec)
    fetches = _check_classification(signature)
    count, outputs = _run(runner, request.input, signature.inputs[_INPUTS], fetches, timeout_ms)
    response = classification_pb2.ClassificationResponse()
    _fill_spec(response.model_spec, request.model_spec, version)
    _fill_classifications(signature, count, outputs, response.result)
    return response


def regress(
    runner: Runner, version: int | None, request: regression_pb2.RegressionRequest, timeout_ms: int | None = None
) -> regression_pb2.RegressionResponse:
    """One value an example; the arguments are those of `predict`.

    Raises:
      ServingError: as `classify`.
    """
    signature = _signature(runner, request.model_spec)
    fetches = _check_regression(signature)
    count, outputs = _run(runner, request.input, signature.inputs[_INPUTS], fetches, timeout_ms)
    response = regression_pb2.RegressionResponse()
    _fill_spec(response.model_spec, request.model_spec, version)
    _fill_regressions(signature, count, outputs, response.result)
    return response


def multi_inference(
    runner: Runner, version: int | None, request: inference_pb2.MultiInferenceRequest, timeout_ms: int | None = None
) -> inference_pb2.MultiInferenceResponse:
    """Several signatures on the same examples in one run; results in the order of the tasks.

    Raises:
      ServingError: as `classify`; UNIMPLEMENTED for a method that is neither classify nor regress.
    """
    first, inputs = "", ""
    signatures: dict[str, Signature] = {}
    fetches: set[str] = set()
    for task in request.tasks:
        if not task.model_spec.name:
            raise invalid_argument("Found ModelSpec with an empty model name.")
        first = first or task.model_spec.name
        if task.model_spec.name != first:
            raise invalid_argument("All ModelSpecs in a MultiInferenceRequest must access the same model name.")
        name = task.model_spec.signature_name or SERVING_DEFAULT
        if name in signatures:
            raise invalid_argument(f"Duplicate evaluation of signature: {name}")
        if name not in runner.signatures:
            raise invalid_argument(f"Requested signature not found in model graph: {name}")
        signature = signatures[name] = runner.signatures[name]
        if task.method_name == CLASSIFY:
            fetches.update(_check_classification(signature))
        elif task.method_name == REGRESS:
            fetches.update(_check_regression(signature))
        else:
            raise ServingError(grpc.StatusCode.UNIMPLEMENTED, f"Unsupported signature method_name: {task.method_name}")
        inputs = inputs or signature.inputs[_INPUTS]
        if signature.inputs[_INPUTS] != inputs:
            raise invalid_argument("Input tensor must be the same for all Signatures.")
    count, outputs = _run(runner, request.input, inputs, sorted(fetches), timeout_ms)
    response = inference_pb2.MultiInferenceResponse()
    for task, signature in zip(request.tasks, signatures.values(), strict=True):
        result = response.results.add()
        if task.method_name == CLASSIFY:
            _fill_classifications(signature, count, outputs, result.classification_result)
        else:
            _fill_regressions(signature, count, outputs, result.regression_result)
        _fill_spec(result.model_spec, task.model_spec, version)
    return response


def _signature(runner: Runner, spec: model_pb2.ModelSpec) -> Signature:
    name = spec.signature_name or SERVING_DEFAULT
    if name not in runner.signatures:
        raise invalid_argument(f"No signature was found with the name: {name}")
    return runner.signatures[name]


def _check_classification(signature: Signature) -> list[str]:
    """The tensors to fetch."""
    if len(signature.inputs) != 1:
        raise invalid_argument("Expected one input Tensor.")
    if len(signature.outputs) not in (1, 2):
        raise invalid_argument(f"Expected one or two output Tensors, found {len(signature.outputs)}")
    if _INPUTS not in signature.inputs:
        raise invalid_argument(f"No classification inputs found in SignatureDef: {signature.proto}")
    names = [signature.outputs[alias] for alias in (_CLASSES, _SCORES) if alias in signature.outputs]
    if not names:
        raise invalid_argument(
            f'Expected classification signature outputs to contain at least one of "{_CLASSES}" or "{_SCORES}". '
            f"Signature was: {signature.proto}"
        )
    return names


def _check_regression(signature: Signature) -> list[str]:
    """The tensor to fetch."""
    if len(signature.inputs) != 1:
        raise invalid_argument("Expected one input Tensor.")
    if len(signature.outputs) != 1:
        raise invalid_argument("Expected one output Tensor.")
    if _INPUTS not in signature.inputs:
        raise invalid_argument(f"No regression inputs found in SignatureDef: {signature.proto}")
    if _OUTPUTS not in signature.outputs:
        raise invalid_argument(f"No regression outputs found in SignatureDef: {signature.proto}")
    return [signature.outputs[_OUTPUTS]]


def _run(
    runner: Runner, message: input_pb2.Input, inputs: str, fetches: list[str], timeout_ms: int | None
) -> tuple[int, dict[str, np.ndarray]]:
    """How many examples there were, and the fetched tensors by name."""
    examples = serialized_examples(message)
    arrays = runner.run({inputs: examples}, fetches, timeout_ms)
    return len(examples), dict(zip(fetches, map(np.asarray, arrays), strict=True))


def _fill_classifications(
    signature: Signature,
    count: int,
    outputs: Mapping[str, np.ndarray],
    result: classification_pb2.ClassificationResult,
) -> None:
    arrays: dict[str, np.ndarray] = {}
    for alias, kind in ((_CLASSES, types_pb2.DT_STRING), (_SCORES, types_pb2.DT_FLOAT)):
        if alias in signature.outputs:
            array = arrays[alias] = outputs[signature.outputs[alias]]
            if array.ndim != 2:
                raise invalid_argument(f"Expected Tensor shape: [batch_size num_classes] but got {_shape(array)}")
            if tensors.NUMBERS[array.dtype] != kind:
                expected = types_pb2.DataType.Name(kind)
                raise invalid_argument(f"Expected {alias} Tensor of {expected}. Got: {_type(array)}")
            if len(array) != count:
                raise invalid_argument(f"Expected {alias} output batch size of {count}. Got: {len(array)}")
    widths = [array.shape[1] for array in arrays.values()]
    if len(set(widths)) > 1:
        raise invalid_argument(f"Tensors class and score should match in dim_size(1). Got {widths[0]} vs. {widths[1]}")
    for row in range(count):
        labels = arrays[_CLASSES][row].tolist() if _CLASSES in arrays else [b""] * widths[0]
        scores = arrays[_SCORES][row].tolist() if _SCORES in arrays else [0.0] * widths[0]
        classes = result.classifications.add().classes
        for label, score in zip(labels, scores, strict=True):
            classes.add(label=label.decode("utf-8", "replace"), score=score)


def _fill_regressions(
    signature: Signature,
    count: int,
    outputs: Mapping[str, np.ndarray],
    result: regression_pb2.RegressionResult,
) -> None:
    array = outputs[signature.outputs[_OUTPUTS]]
    if not (array.ndim == 1 or (array.ndim == 2 and array.shape[1] == 1)):
        raise invalid_argument(
            f"Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got {_shape(array)}"
        )
    if len(array) != count:
        raise invalid_argument(f"Input batch size did not match output batch size: {count} vs. {len(array)}")
    if array.dtype != np.float32:
        raise invalid_argument(f"Expected output Tensor of DT_FLOAT.  Got: {_type(array)}")
    for value in array.ravel().tolist():
        result.regressions.add(value=value)


def _fill_spec(spec: model_pb2.ModelSpec, asked: model_pb2.ModelSpec, version: int | None) -> None:
    spec.name = asked.name
    spec.signature_name = asked.signature_name or SERVING_DEFAULT
    if version is not None:
        spec.version.value = version


def _shape(array: np.ndarray) -> str:
    return "[" + ",".join(map(str, array.shape)) + "]"


def _type(array: np.ndarray) -> str:
    return types_pb2.DataType.Name(tensors.NUMBERS[array.dtype])
