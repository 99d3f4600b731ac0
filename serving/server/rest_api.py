"""The REST API of TensorFlow Serving, apart from HTTP: a path and a body in, a body out."""

from __future__ import annotations

import json
import re
import urllib.parse
from typing import Any, NamedTuple

from google.protobuf import json_format
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_pb2,
    regression_pb2,
)

from serving.contract import SERVING_DEFAULT
from serving.server.errors import invalid_argument
from serving.server.inference import classify, regress
from serving.server.json_examples import read_examples
from serving.server.json_request import read_inputs
from serving.server.json_response import classify_text, predict_text, regress_text
from serving.server.json_text import parse_body
from serving.server.metrics import Metrics
from serving.server.models import Models
from serving.server.predict import run_signature
from serving.server.queries import SIGNATURE_DEF, get_model_metadata, get_model_status
from serving.server.servable import LoadedRunner
from serving.server.timed import TimedRunner, measured_request

_SPEC = r"(?:/versions/([0-9]+)|/labels/([^/:]+))?"
_POST = re.compile(rf"/v1/models/([^/:]+){_SPEC}:(classify|regress|predict)", re.IGNORECASE)
_GET = re.compile(rf"/v1/models(?:/([^/:]+))?{_SPEC}(?:/(metadata))?", re.IGNORECASE)
_MAX_INT64 = 2**63 - 1


class EmptyBadRequest(Exception):
    """400 without a body: TensorFlow Serving's answer to a version number beyond int64."""


class _Route(NamedTuple):
    spec: model_pb2.ModelSpec
    method: str


class RestApi:
    """Answers what `HttpRestApiHandler` answers.

    Args:
      models: that are served.
      metrics: count requests.
      timeout_ms: of a run; 0 or less for no limit.
    """

    def __init__(self, models: Models[LoadedRunner], metrics: Metrics, timeout_ms: int) -> None:
        self._models = models
        self._metrics = metrics
        self._timeout_ms = timeout_ms if timeout_ms > 0 else None

    def answer(self, http_method: str, path: str, body: bytes) -> bytes:
        """The JSON body of a request's answer.

        Raises:
          ServingError: whose text and HTTP status are the answer.
          EmptyBadRequest: whose answer has no body.
        """
        route = _route(http_method, path)
        name, method = (route.spec.name, route.method) if route else ("", "")
        api = method if http_method == "POST" else ""
        with measured_request(self._metrics, name, self._models.knows, api, "REST"):
            if route is None:
                raise invalid_argument(f"Malformed request: {http_method} {path}")
            return getattr(self, f"_{method}")(route.spec, body).encode("utf-8", "surrogateescape")

    def _predict(self, spec: model_pb2.ModelSpec, body: bytes) -> str:
        document = parse_body(body)
        name = document.get("signature_name") or SERVING_DEFAULT
        with self._models.use(spec) as (runner, _):
            if name not in runner.signatures:
                raise invalid_argument(f'Serving signature name: "{name}" not found in signature def')
            signature = runner.signatures[name]
            arrays, rows = read_inputs(document, signature.input_types)
            feeds = {signature.inputs[alias]: array for alias, array in arrays.items()}
            timed = TimedRunner(runner, self._metrics, spec.name, "Predict")
            outputs = run_signature(timed, signature, feeds, timeout_ms=self._timeout_ms)
        return predict_text(outputs, rows)

    def _classify(self, spec: model_pb2.ModelSpec, body: bytes) -> str:
        document = parse_body(body)
        spec.signature_name = document.get("signature_name", "")
        request = classification_pb2.ClassificationRequest(model_spec=spec, input=read_examples(document))
        with self._models.use(spec) as (runner, version):
            timed = TimedRunner(runner, self._metrics, spec.name, "Classify")
            return classify_text(classify(timed, version, request, self._timeout_ms).result)

    def _regress(self, spec: model_pb2.ModelSpec, body: bytes) -> str:
        document = parse_body(body)
        spec.signature_name = document.get("signature_name", "")
        request = regression_pb2.RegressionRequest(model_spec=spec, input=read_examples(document))
        with self._models.use(spec) as (runner, version):
            timed = TimedRunner(runner, self._metrics, spec.name, "Regress")
            return regress_text(regress(timed, version, request, self._timeout_ms).result)

    def _status(self, spec: model_pb2.ModelSpec, body: bytes) -> str:
        if not spec.name:
            raise invalid_argument("Missing model name in request.")
        return _proto_text(get_model_status(self._models, get_model_status_pb2.GetModelStatusRequest(model_spec=spec)))

    def _metadata(self, spec: model_pb2.ModelSpec, body: bytes) -> str:
        if not spec.name:
            raise invalid_argument("Missing model name in request.")
        request = get_model_metadata_pb2.GetModelMetadataRequest(model_spec=spec, metadata_field=[SIGNATURE_DEF])
        response = get_model_metadata(self._models, request)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        response.metadata[SIGNATURE_DEF].Unpack(signatures)
        spec_text, signature_text = _proto_text(response.model_spec), _proto_text(signatures)
        return f'{{\n"model_spec":{spec_text},\n"metadata": {{"signature_def": {signature_text}}}\n}}\n'


def _route(http_method: str, path: str) -> _Route | None:
    """What a path asks for; None for a path that the API does not have.

    Raises:
      EmptyBadRequest: for a version number beyond int64.
    """
    match = {"POST": _POST, "GET": _GET}[http_method].fullmatch(path) if http_method in ("POST", "GET") else None
    if not match:
        return None
    name, version, label, last = match.groups()
    spec = model_pb2.ModelSpec(name=urllib.parse.unquote(name or ""))
    if version is not None:
        if len(version.lstrip("0")) > len(str(_MAX_INT64)) or int(version) > _MAX_INT64:
            raise EmptyBadRequest
        spec.version.value = int(version)
    if label is not None:
        spec.version_label = urllib.parse.unquote(label)
    return _Route(spec, (last or "status").lower())


def _proto_text(message: Any) -> str:
    content = json_format.MessageToDict(message, including_default_value_fields=True, preserving_proto_field_name=True)
    return json.dumps(content, indent=1, ensure_ascii=False)
