"""Predict: checks a request, runs it, writes the answer. The order of checks and the texts are TensorFlow Serving's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import grpc
import numpy as np
from tensorflow_serving.apis import predict_pb2

from serving.contract import SERVING_DEFAULT
from serving.server import tensors
from serving.server.errors import ServingError, invalid_argument
from serving.server.servable import Runner
from serving.server.signature import Signature


def predict(
    runner: Runner, version: int | None, request: predict_pb2.PredictRequest, timeout_ms: int | None = None
) -> predict_pb2.PredictResponse:
    """Answers one request from one version.

    Args:
      runner: of that version.
      version: its number, for the answer's model_spec; None leaves it out.
      request: its model_spec already led here.
      timeout_ms: of the run.

    Raises:
      ServingError: FAILED_PRECONDITION for an unknown signature, INVALID_ARGUMENT for inputs or output_filter that
        do not fit, and whatever the run raises.
    """
    name = request.model_spec.signature_name or SERVING_DEFAULT
    signature = runner.signatures.get(name)
    if signature is None:
        raise ServingError(grpc.StatusCode.FAILED_PRECONDITION, f'Serving signature key "{name}" not found.')
    feeds = _feeds(signature, request)
    aliases = _output_aliases(signature, request.output_filter)
    outputs = run_signature(runner, signature, feeds, aliases, timeout_ms)
    response = predict_pb2.PredictResponse()
    response.model_spec.name = request.model_spec.name
    response.model_spec.signature_name = name
    if version is not None:
        response.model_spec.version.value = version
    for alias, array in outputs.items():
        tensors.to_proto(array, response.outputs[alias])
    return response


def run_signature(
    runner: Runner,
    signature: Signature,
    feeds: Mapping[str, np.ndarray],
    aliases: Iterable[str] = (),
    timeout_ms: int | None = None,
) -> dict[str, np.ndarray]:
    """Runs a signature.

    Args:
      runner: of the version.
      signature: one of its signatures.
      feeds: tensor name -> array.
      aliases: of the outputs; none stands for all.
      timeout_ms: of the run.

    Returns:
      Output alias -> array.
    """
    chosen = list(aliases) or list(signature.outputs)
    arrays = runner.run(feeds, [signature.outputs[alias] for alias in chosen], timeout_ms)
    return {alias: np.asarray(array) for alias, array in zip(chosen, arrays, strict=True)}


def _feeds(signature: Signature, request: predict_pb2.PredictRequest) -> dict[str, np.ndarray]:
    sent, wanted = len(request.inputs), len(signature.inputs)
    if sent > wanted or (sent < wanted and not signature.defaults):
        asked, expected = set(request.inputs), set(signature.inputs)
        raise invalid_argument(
            f"input size does not match signature: {sent}!={wanted} len({_names(asked)}) != len({_names(expected)}). "
            f"Sent extra: {_names(asked - expected)}. Missing but required: {_names(expected - asked)}."
        )
    feeds, used = {}, set()
    given = dict(request.inputs)
    for alias, feed_name in signature.inputs.items():
        if alias in given:
            used.add(alias)
            try:
                feeds[feed_name] = tensors.to_numpy(given[alias])
            except ValueError:
                raise invalid_argument(f"tensor parsing error: {alias}") from None
        elif alias in signature.defaults:
            feeds[feed_name] = signature.defaults[alias]
        else:
            raise invalid_argument(
                f"Signature input alias: {alias}(feed name: {feed_name}) not found in request and no default value "
                f"provided. Inputs expected to be in the request {_names(request.inputs)}, or default input alias "
                f"set: {','.join(signature.defaults)}"
            )
    if len(used) != sent:
        raise invalid_argument(
            f"Inputs contains invalid name. Used request inputs: {','.join(sorted(used))}, "
            f"request input: {','.join(sorted(request.inputs))}"
        )
    return feeds


def _output_aliases(signature: Signature, output_filter: Iterable[str]) -> list[str]:
    aliases: list[str] = []
    for alias in output_filter:
        if alias not in signature.outputs:
            raise invalid_argument(
                f"output tensor alias not found in signature: {alias} Outputs expected to be in the set "
                f"{_names(signature.outputs)}."
            )
        if alias in aliases:
            raise invalid_argument(f"duplicate output tensor alias: {alias}")
        aliases.append(alias)
    return aliases


def _names(names: Iterable[str]) -> str:
    return "{" + ",".join(sorted(names)) + "}"
