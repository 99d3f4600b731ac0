"""The part of TensorFlow Serving's API that the client speaks, without importing TensorFlow.

`tensorflow_serving.apis` imports TensorFlow and registers its messages in protobuf's default pool, where a second
definition would clash. The messages here are built from the tables below in a descriptor pool of their own, so they
live beside TensorFlow or without it. They are wire-compatible subsets of `tensorflow/core/framework/tensor.proto`,
`tensorflow/core/protobuf/meta_graph.proto`, `tensorflow_serving/apis/*.proto` and `tensorflow_serving/config/*.proto`:
same names, numbers and types, fields and methods the client has no use for left out (protobuf passes over those),
gRPC's codes as int32 (the same bytes). Only oneofs have another name, `choice`, which is not on the wire.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, message_factory, wrappers_pb2

_Field = descriptor_pb2.FieldDescriptorProto
_SCALARS = {
    "double": _Field.TYPE_DOUBLE,
    "float": _Field.TYPE_FLOAT,
    "int64": _Field.TYPE_INT64,
    "int32": _Field.TYPE_INT32,
    "uint32": _Field.TYPE_UINT32,
    "bool": _Field.TYPE_BOOL,
    "string": _Field.TYPE_STRING,
    "bytes": _Field.TYPE_BYTES,
}

#: `tensorflow.DataType` of the tensors the client sends or reads.
DATA_TYPES = {"float": 1, "double": 2, "int32": 3, "string": 7, "int64": 9, "bool": 10}
DATA_TYPE_NAMES = {number: name for name, number in DATA_TYPES.items()}
#: `tensorflow.serving.ModelVersionStatus.State`.
STATES = {0: "UNKNOWN", 10: "START", 20: "LOADING", 30: "AVAILABLE", 40: "UNLOADING", 50: "END"}

_DATA_TYPE, _STATE = "tensorflow.DataType", "tensorflow.serving.ModelVersionStatus.State"
#: enum -> {value: number}
_ENUMS = {
    _DATA_TYPE: {"DT_INVALID": 0, **{f"DT_{name.upper()}": number for name, number in DATA_TYPES.items()}},
    _STATE: {name: number for number, name in STATES.items()},
}

#: message -> {field: (type, number)}. `[]T` repeats T, `{}T` is a map from string to T, `|T` is in the message's one
#: oneof (whose fields stand side by side).
_TENSORFLOW: dict[str, dict[str, tuple[str, int]]] = {
    "TensorShapeProto.Dim": {"size": ("int64", 1)},
    "TensorShapeProto": {"dim": ("[]tensorflow.TensorShapeProto.Dim", 2), "unknown_rank": ("bool", 3)},
    "TensorProto": {
        "dtype": (_DATA_TYPE, 1),
        "tensor_shape": ("tensorflow.TensorShapeProto", 2),
        "tensor_content": ("bytes", 4),
        "float_val": ("[]float", 5),
        "double_val": ("[]double", 6),
        "int_val": ("[]int32", 7),
        "string_val": ("[]bytes", 8),
        "int64_val": ("[]int64", 10),
        "bool_val": ("[]bool", 11),
    },
    "TensorInfo": {
        "name": ("string", 1),
        "dtype": (_DATA_TYPE, 2),
        "tensor_shape": ("tensorflow.TensorShapeProto", 3),
    },
    "SignatureDef": {
        "inputs": ("{}tensorflow.TensorInfo", 1),
        "outputs": ("{}tensorflow.TensorInfo", 2),
        "method_name": ("string", 3),
    },
}
_POLICY = "tensorflow.serving.FileSystemStoragePathSourceConfig.ServableVersionPolicy"
_SERVING: dict[str, dict[str, tuple[str, int]]] = {
    "ModelSpec": {
        "name": ("string", 1),
        "version": ("|google.protobuf.Int64Value", 2),
        "version_label": ("|string", 4),
        "signature_name": ("string", 3),
    },
    "PredictRequest": {
        "model_spec": ("tensorflow.serving.ModelSpec", 1),
        "inputs": ("{}tensorflow.TensorProto", 2),
        "output_filter": ("[]string", 3),
    },
    "PredictResponse": {
        "outputs": ("{}tensorflow.TensorProto", 1),
        "model_spec": ("tensorflow.serving.ModelSpec", 2),
    },
    "SignatureDefMap": {"signature_def": ("{}tensorflow.SignatureDef", 1)},
    "GetModelMetadataRequest": {
        "model_spec": ("tensorflow.serving.ModelSpec", 1),
        "metadata_field": ("[]string", 2),
    },
    "GetModelMetadataResponse": {
        "model_spec": ("tensorflow.serving.ModelSpec", 1),
        "metadata": ("{}google.protobuf.Any", 2),
    },
    "StatusProto": {"error_code": ("int32", 1), "error_message": ("string", 2)},
    "ModelVersionStatus": {
        "version": ("int64", 1),
        "state": (_STATE, 2),
        "status": ("tensorflow.serving.StatusProto", 3),
    },
    "GetModelStatusRequest": {"model_spec": ("tensorflow.serving.ModelSpec", 1)},
    "GetModelStatusResponse": {"model_version_status": ("[]tensorflow.serving.ModelVersionStatus", 1)},
    "FileSystemStoragePathSourceConfig": {},
    "FileSystemStoragePathSourceConfig.ServableVersionPolicy": {
        "latest": (f"|{_POLICY}.Latest", 100),
        "all": (f"|{_POLICY}.All", 101),
        "specific": (f"|{_POLICY}.Specific", 102),
    },
    "FileSystemStoragePathSourceConfig.ServableVersionPolicy.Latest": {"num_versions": ("uint32", 1)},
    "FileSystemStoragePathSourceConfig.ServableVersionPolicy.All": {},
    "FileSystemStoragePathSourceConfig.ServableVersionPolicy.Specific": {"versions": ("[]int64", 1)},
    "ModelConfig": {
        "name": ("string", 1),
        "base_path": ("string", 2),
        "model_platform": ("string", 4),
        "model_version_policy": (_POLICY, 7),
        "version_labels": ("{}int64", 8),
    },
    "ModelConfigList": {"config": ("[]tensorflow.serving.ModelConfig", 1)},
    "ModelServerConfig": {"model_config_list": ("|tensorflow.serving.ModelConfigList", 1)},
    "ReloadConfigRequest": {"config": ("tensorflow.serving.ModelServerConfig", 1)},
    "ReloadConfigResponse": {"status": ("tensorflow.serving.StatusProto", 1)},
}
#: service -> {method: (request, response)}, all unary
_SERVICES = {
    "PredictionService": {
        "Predict": ("PredictRequest", "PredictResponse"),
        "GetModelMetadata": ("GetModelMetadataRequest", "GetModelMetadataResponse"),
    },
    "ModelService": {
        "GetModelStatus": ("GetModelStatusRequest", "GetModelStatusResponse"),
        "HandleReloadConfigRequest": ("ReloadConfigRequest", "ReloadConfigResponse"),
    },
}


def _add_field(message: Any, package: str, owner: str, name: str, kind: str, number: int) -> None:
    field = message.field.add(name=name, number=number, label=_Field.LABEL_OPTIONAL)
    if kind.startswith("|"):
        if not message.oneof_decl:
            message.oneof_decl.add(name="choice")
        field.oneof_index = 0
        kind = kind[1:]
    if kind.startswith("[]"):
        field.label = _Field.LABEL_REPEATED
        kind = kind[2:]
    if kind.startswith("{}"):
        field.label = _Field.LABEL_REPEATED
        entry = message.nested_type.add(name="".join(part.title() for part in name.split("_")) + "Entry")
        entry.options.map_entry = True
        _add_field(entry, package, "", "key", "string", 1)
        _add_field(entry, package, "", "value", kind[2:], 2)
        kind = f"{package}.{owner}.{entry.name}"
    if kind in _SCALARS:
        field.type = _SCALARS[kind]
    else:
        field.type = _Field.TYPE_ENUM if kind in _ENUMS else _Field.TYPE_MESSAGE
        field.type_name = f".{kind}"


def _file(package: str, table: Mapping[str, Mapping[str, tuple[str, int]]], needs: list[str]) -> Any:
    file = descriptor_pb2.FileDescriptorProto(name=f"{package}.proto", package=package, syntax="proto3")
    file.dependency.extend(needs)
    outer: dict[str, Any] = {}
    for name in sorted(table, key=lambda full: full.count(".")):
        parent, _, short = name.rpartition(".")
        message = outer[parent].nested_type.add(name=short) if parent else file.message_type.add(name=short)
        outer[name] = message
        for field, (kind, number) in table[name].items():
            _add_field(message, package, name, field, kind, number)
    for full, values in _ENUMS.items():
        parent, _, short = full.rpartition(".")
        owner = file if parent == package else outer.get(parent.removeprefix(f"{package}."))
        if owner is not None:
            enum = owner.enum_type.add(name=short)
            for value, number in values.items():
                enum.value.add(name=value, number=number)
    return file


def _descriptors() -> Any:
    files = descriptor_pb2.FileDescriptorSet()
    for known in (any_pb2, wrappers_pb2):
        known.DESCRIPTOR.CopyToProto(files.file.add())
    files.file.append(_file("tensorflow", _TENSORFLOW, []))
    serving = _file("tensorflow.serving", _SERVING, [file.name for file in files.file])
    for service, methods in _SERVICES.items():
        added = serving.service.add(name=service)
        for method, (request, response) in methods.items():
            added.method.add(
                name=method, input_type=f".tensorflow.serving.{request}", output_type=f".tensorflow.serving.{response}"
            )
    files.file.append(serving)
    return files


def _messages() -> dict[str, Any]:
    pool = descriptor_pool.DescriptorPool()
    for file in DESCRIPTORS.file:
        pool.AddSerializedFile(file.SerializeToString())
    factory = message_factory.MessageFactory(pool)
    names = [f"tensorflow.{name}" for name in _TENSORFLOW] + [f"tensorflow.serving.{name}" for name in _SERVING]
    return {name.rpartition(".")[2]: factory.GetPrototype(pool.FindMessageTypeByName(name)) for name in names}


#: `google.protobuf.FileDescriptorSet` of all of this, what it needs first: a protoset for grpcurl, protoc and the like.
DESCRIPTORS: Any = _descriptors()

_CLASSES = _messages()
TensorProto: Any = _CLASSES["TensorProto"]
SignatureDefMap: Any = _CLASSES["SignatureDefMap"]
PredictRequest: Any = _CLASSES["PredictRequest"]
PredictResponse: Any = _CLASSES["PredictResponse"]
GetModelMetadataRequest: Any = _CLASSES["GetModelMetadataRequest"]
GetModelMetadataResponse: Any = _CLASSES["GetModelMetadataResponse"]
GetModelStatusRequest: Any = _CLASSES["GetModelStatusRequest"]
GetModelStatusResponse: Any = _CLASSES["GetModelStatusResponse"]
ModelServerConfig: Any = _CLASSES["ModelServerConfig"]
ReloadConfigRequest: Any = _CLASSES["ReloadConfigRequest"]
ReloadConfigResponse: Any = _CLASSES["ReloadConfigResponse"]

#: gRPC method -> (path, request, response)
METHODS: dict[str, tuple[str, Any, Any]] = {
    method: (f"/tensorflow.serving.{service}/{method}", _CLASSES[request], _CLASSES[response])
    for service, methods in _SERVICES.items()
    for method, (request, response) in methods.items()
}
