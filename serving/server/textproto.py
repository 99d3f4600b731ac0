"""The text protos that the server reads: models, batching, monitoring, TLS.

`tensorflow-serving-api` has no modules for `session_bundle_config.proto`, `monitoring_config.proto` and
`ssl_config.proto`; their messages are built here from the table below, in a descriptor pool of their own. All fields
of the originals are there, so that an unknown one is an error as in the real server.
"""

from __future__ import annotations

import logging
import pathlib
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format, wrappers_pb2
from tensorflow_serving.config import model_server_config_pb2

from serving.server.errors import ServingError, invalid_argument

log = logging.getLogger("serving.server")

_PACKAGE = "tensorflow.serving"
_Field = descriptor_pb2.FieldDescriptorProto
_SCALARS = {"bool": _Field.TYPE_BOOL, "int64": _Field.TYPE_INT64, "string": _Field.TYPE_STRING}

#: message -> {field: (type, number)}; `[]T` repeats T.
_MESSAGES = {
    "BatchingParameters": {
        "max_batch_size": ("google.protobuf.Int64Value", 1),
        "batch_timeout_micros": ("google.protobuf.Int64Value", 2),
        "max_enqueued_batches": ("google.protobuf.Int64Value", 3),
        "num_batch_threads": ("google.protobuf.Int64Value", 4),
        "thread_pool_name": ("google.protobuf.StringValue", 5),
        "allowed_batch_sizes": ("[]int64", 6),
        "pad_variable_length_inputs": ("bool", 7),
        "enable_large_batch_splitting": ("google.protobuf.BoolValue", 8),
        "max_execution_batch_size": ("google.protobuf.Int64Value", 9),
    },
    "PrometheusConfig": {"enable": ("bool", 1), "path": ("string", 2)},
    "MonitoringConfig": {"prometheus_config": ("tensorflow.serving.PrometheusConfig", 1)},
    "SSLConfig": {
        "server_key": ("string", 1),
        "server_cert": ("string", 2),
        "custom_ca": ("string", 3),
        "client_verify": ("bool", 4),
    },
}


def _classes() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(name="server_files.proto", package=_PACKAGE, syntax="proto3")
    file.dependency.append(wrappers_pb2.DESCRIPTOR.name)
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field_name, (kind, number) in fields.items():
            label = _Field.LABEL_REPEATED if kind.startswith("[]") else _Field.LABEL_OPTIONAL
            kind = kind.removeprefix("[]")
            field = message.field.add(name=field_name, number=number, label=label)
            if kind in _SCALARS:
                field.type = _SCALARS[kind]
            else:
                field.type, field.type_name = _Field.TYPE_MESSAGE, f".{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    pool.AddSerializedFile(file.SerializeToString())
    factory = message_factory.MessageFactory(pool)
    return {name: factory.GetPrototype(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}")) for name in _MESSAGES}


_CLASSES = _classes()
BatchingParameters: Any = _CLASSES["BatchingParameters"]
MonitoringConfig: Any = _CLASSES["MonitoringConfig"]
SSLConfig: Any = _CLASSES["SSLConfig"]
ModelServerConfig: Any = model_server_config_pb2.ModelServerConfig


def read_text_proto(path: str | pathlib.Path, kind: Any) -> Any:
    """Reads a file as a message of the given class.

    Raises:
      ServingError: NOT_FOUND when there is no such file, INVALID_ARGUMENT when it does not parse (where and why is
        logged).
    """
    try:
        text = pathlib.Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise ServingError(grpc.StatusCode.NOT_FOUND, f"{path}; {error.strerror}") from None
    except UnicodeDecodeError:
        raise invalid_argument(f"Invalid protobuf file: '{path}'") from None
    try:
        return text_format.Parse(text, kind())
    except text_format.ParseError as error:
        log.error("Error parsing text-format %s: %s", kind.DESCRIPTOR.full_name, error)
        raise invalid_argument(f"Invalid protobuf file: '{path}'") from None
