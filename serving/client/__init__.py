"""Asks a server that speaks TensorFlow Serving's gRPC API; imports no TensorFlow.

    from serving.client import Client, Request

    with Client("localhost:8500", "ranker") as client:
        print(client.recommend(Request(user_id="17850")).item_ids)

`python -m serving.client --help` asks from a shell.
"""

from serving.client.async_client import AsyncClient
from serving.client.client import Client
from serving.client.inputs import build_inputs
from serving.client.model_config import ModelConfig, read_model_config, write_model_config
from serving.client.tls import Tls
from serving.requests import Event, Request
from serving.results import CallError

__all__ = [
    "AsyncClient",
    "CallError",
    "Client",
    "Event",
    "ModelConfig",
    "Request",
    "Tls",
    "build_inputs",
    "read_model_config",
    "write_model_config",
]
