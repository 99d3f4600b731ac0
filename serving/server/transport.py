"""The gRPC port: services, credentials, channel arguments."""

from __future__ import annotations

import concurrent.futures

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from tensorflow_serving.apis import model_service_pb2_grpc, prediction_service_pb2_grpc

from serving.server.errors import ServingError, invalid_argument
from serving.server.flags import Flags
from serving.server.grpc_service import ModelService, PredictionService
from serving.server.metrics import Metrics
from serving.server.models import Models
from serving.server.servable import LoadedRunner
from serving.server.textproto import SSLConfig, read_text_proto

#: gRPC requests that may wait for a thread; TensorFlow Serving refuses all that find none.
MOST_WAITING = 1000
#: Bytes of a message at most, both ways, as in TensorFlow Serving.
_MOST_BYTES = 2**31 - 1
_HEALTH_NAMES = ("", "ModelService", "PredictionService")


def start_grpc(host: str, flags: Flags, models: Models[LoadedRunner], metrics: Metrics) -> tuple[grpc.Server, int]:
    """Opens the gRPC port, and the UNIX socket where one is asked for.

    Returns:
      The server, and the port that was bound.

    Raises:
      ServingError: when a port cannot be bound or the TLS configuration cannot be read.
    """
    server = grpc.server(
        concurrent.futures.ThreadPoolExecutor(flags.grpc_max_threads, "grpc"),
        options=[
            ("grpc.max_receive_message_length", _MOST_BYTES),
            ("grpc.max_send_message_length", _MOST_BYTES),
            ("grpc.so_reuseport", 0),  # a taken port is an error, not a second listener
            *channel_arguments(flags.grpc_channel_arguments),
        ],
        maximum_concurrent_rpcs=flags.grpc_max_threads + MOST_WAITING,
    )
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(PredictionService(models, metrics), server)
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(ModelService(models, metrics), server)
    if flags.enable_grpc_healthcheck_service:
        servicer = health.HealthServicer()
        for name in _HEALTH_NAMES:
            servicer.set(name, health_pb2.HealthCheckResponse.SERVING)
        health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    credentials = _credentials(flags.ssl_config_file) if flags.ssl_config_file else None
    port = _bind(server, f"{host}:{flags.port}", credentials, f"The gRPC port {flags.port}")
    if flags.grpc_socket_path:
        what = f"The gRPC socket {flags.grpc_socket_path}"
        _bind(server, f"unix:{flags.grpc_socket_path}", credentials, what)
    server.start()
    return server, port


def channel_arguments(text: str) -> list[tuple[str, int | str]]:
    """The pairs of `a=1,b=x`; whole numbers become ints.

    Raises:
      ServingError: INVALID_ARGUMENT for a part without `=`.
    """
    arguments: list[tuple[str, int | str]] = []
    for part in filter(None, text.split(",")):
        name, equals, value = part.partition("=")
        if not equals:
            raise invalid_argument(f"--grpc_channel_arguments holds `{part}`; expected name=value.")
        try:
            arguments.append((name, int(value)))
        except ValueError:
            arguments.append((name, value))
    return arguments


def _credentials(file: str) -> grpc.ServerCredentials:
    config = read_text_proto(file, SSLConfig)
    if not config.server_key or not config.server_cert:
        raise invalid_argument("The SSLConfig has no server_key or no server_cert; expected both as PEM text.")
    if config.client_verify and not config.custom_ca:
        raise invalid_argument("The SSLConfig has client_verify and no custom_ca; expected the PEM text of a CA.")
    return grpc.ssl_server_credentials(
        [(config.server_key.encode(), config.server_cert.encode())],
        config.custom_ca.encode() or None,
        config.client_verify,
    )


def _bind(server: grpc.Server, address: str, credentials: grpc.ServerCredentials | None, what: str) -> int:
    try:
        if credentials:
            return server.add_secure_port(address, credentials)
        return server.add_insecure_port(address)
    except RuntimeError:
        why = "is it taken, or are key and certificate no PEM text?" if credentials else "is it taken?"
        raise ServingError(grpc.StatusCode.UNAVAILABLE, f"{what} cannot be bound; {why}") from None
