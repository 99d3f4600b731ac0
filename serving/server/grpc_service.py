"""The gRPC services of TensorFlow Serving."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import grpc
from tensorflow_serving.apis import (
    inference_pb2,
    model_management_pb2,
    model_pb2,
    model_service_pb2_grpc,
    prediction_service_pb2_grpc,
)

from serving.server.errors import ServingError, invalid_argument
from serving.server.inference import classify, multi_inference, regress
from serving.server.metrics import Metrics
from serving.server.models import Models
from serving.server.predict import predict
from serving.server.queries import get_model_metadata, get_model_status
from serving.server.servable import LoadedRunner
from serving.server.timed import TimedRunner, measured_request

log = logging.getLogger("serving.server")

_LONGEST_SECONDS = 1e9


class PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Predict, Classify, Regress, MultiInference and GetModelMetadata.

    Args:
      models: that are served.
      metrics: count the first three.
    """

    def __init__(self, models: Models[LoadedRunner], metrics: Metrics) -> None:
        self._models = models
        self._metrics = metrics

    def Predict(self, request: Any, context: grpc.ServicerContext) -> Any:
        """Runs a signature; what is left of the caller's deadline limits the run."""
        return self._measured("Predict", predict, request, context)

    def Classify(self, request: Any, context: grpc.ServicerContext) -> Any:
        """Labels and scores of examples."""
        return self._measured("Classify", classify, request, context)

    def Regress(self, request: Any, context: grpc.ServicerContext) -> Any:
        """One value an example."""
        return self._measured("Regress", regress, request, context)

    def MultiInference(self, request: Any, context: grpc.ServicerContext) -> Any:
        """Several of classify and regress on the same examples; the first task's model answers."""

        def answer() -> inference_pb2.MultiInferenceResponse:
            spec = request.tasks[0].model_spec if request.tasks else model_pb2.ModelSpec()
            with self._models.use(spec) as (runner, version):
                return multi_inference(runner, version, request, _timeout_ms(context))

        return _answer(context, answer)

    def GetModelMetadata(self, request: Any, context: grpc.ServicerContext) -> Any:
        """All signatures of a version."""
        return _answer(context, lambda: get_model_metadata(self._models, request))

    def _measured(self, api: str, call: Callable[..., Any], request: Any, context: grpc.ServicerContext) -> Any:
        def answer() -> Any:
            name = request.model_spec.name
            with measured_request(self._metrics, name, self._models.knows, api, "GRPC"):
                if not request.HasField("model_spec"):
                    raise invalid_argument("Missing ModelSpec")
                with self._models.use(request.model_spec) as (runner, version):
                    timed = TimedRunner(runner, self._metrics, name, api)
                    return call(timed, version, request, _timeout_ms(context))

        return _answer(context, answer)


class ModelService(model_service_pb2_grpc.ModelServiceServicer):
    """GetModelStatus and HandleReloadConfigRequest.

    Args:
      models: that are served.
      metrics: whose increase a reload may ask for.
    """

    def __init__(self, models: Models[LoadedRunner], metrics: Metrics) -> None:
        self._models = models
        self._metrics = metrics

    def GetModelStatus(self, request: Any, context: grpc.ServicerContext) -> Any:
        """State of versions."""
        return _answer(context, lambda: get_model_status(self._models, request))

    def HandleReloadConfigRequest(self, request: Any, context: grpc.ServicerContext) -> Any:
        """Replaces the configuration; answers when each new model serves."""

        def answer() -> model_management_pb2.ReloadConfigResponse:
            before = {name: self._metrics.value(name) for name in request.metric_names}
            if request.config.WhichOneof("config") != "model_config_list":
                raise invalid_argument(
                    "ServerModelConfig type not supported by HandleReloadConfigRequest. Only ModelConfigList is "
                    "currently supported"
                )
            if not self._models.reload(request.config, context.is_active):
                raise ServingError(grpc.StatusCode.CANCELLED, "The caller has gone, or the server stops.")
            response = model_management_pb2.ReloadConfigResponse()
            response.status.SetInParent()
            for name, value in before.items():
                response.metric.add(name=name, int64_value_increase=self._metrics.value(name) - value)
            return response

        return _answer(context, answer)


def _timeout_ms(context: grpc.ServicerContext) -> int | None:
    left = context.time_remaining()
    # Without a deadline gRPC says None, or the centuries until the end of its clock.
    return None if left is None or left > _LONGEST_SECONDS else max(1, int(left * 1000))


def _answer(context: grpc.ServicerContext, call: Callable[[], Any]) -> Any:
    try:
        return call()
    except ServingError as error:
        context.abort(error.code, error.details)
    except Exception:
        log.exception("A request failed in the server itself")
        context.abort(grpc.StatusCode.INTERNAL, "The server failed; its log says why.")
