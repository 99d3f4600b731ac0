"""JSON bodies of REST predict <-> tensors, with TensorFlow Serving's rules and texts."""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections.abc import Mapping
from typing import Any

import grpc
import numpy as np
from tensorflow.core.framework import tensor_pb2, types_pb2
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import predict_pb2

from serving.server import tensors
from serving.server.errors import ServingError, invalid_argument

_BASE64 = "b64"
_BYTES_SUFFIX = "_bytes"
_INTEGERS = {
    types_pb2.DT_INT8: ("int_val", -(2**31), 2**31 - 1),
    types_pb2.DT_INT16: ("int_val", -(2**31), 2**31 - 1),
    types_pb2.DT_INT32: ("int_val", -(2**31), 2**31 - 1),
    types_pb2.DT_UINT8: ("int_val", -(2**31), 2**31 - 1),
    types_pb2.DT_INT64: ("int64_val", -(2**63), 2**63 - 1),
    types_pb2.DT_UINT32: ("uint32_val", 0, 2**32 - 1),
    types_pb2.DT_UINT64: ("uint64_val", 0, 2**64 - 1),
}
#: dtype -> field, largest whole number it holds exactly, largest value.
_FLOATS = {
    types_pb2.DT_FLOAT: ("float_val", 2**24 - 1, float(np.finfo(np.float32).max)),
    types_pb2.DT_DOUBLE: ("double_val", 2**53 - 1, float(np.finfo(np.float64).max)),
}
_JSON_TYPES = {*_INTEGERS, *_FLOATS, types_pb2.DT_STRING, types_pb2.DT_BOOL}

Infos = Mapping[str, meta_graph_pb2.TensorInfo]


def parse_body(body: bytes) -> dict[str, Any]:
    """Reads a request body; NaN, Infinity and -Infinity may stand bare.

    Raises:
      ServingError: INVALID_ARGUMENT when it is not a JSON object or its signature's name is not a string.
    """
    if not body:
        raise invalid_argument("JSON Parse error: The document is empty")
    try:
        document = json.loads(body.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise invalid_argument(f"JSON Parse error: Invalid encoding in string. at offset: {error.start}") from None
    except json.JSONDecodeError as error:
        raise invalid_argument(f"JSON Parse error: Invalid value. at offset: {error.pos}") from None
    except ValueError:
        raise invalid_argument("JSON Parse error: Invalid value. A number has too many digits") from None
    except RecursionError:
        raise invalid_argument("JSON Parse error: the document is nested too deeply") from None
    if not isinstance(document, dict):
        raise _format_error(document, "Is not object")
    if not isinstance(document.get("signature_name", ""), str):
        raise invalid_argument(
            f"JSON Value: {_text(document)} not formatted correctly. 'signature_name' key must be a string value."
        )
    return document


def fill_request(document: dict[str, Any], infos: Infos, request: predict_pb2.PredictRequest) -> bool:
    """Turns a body into the inputs of a PredictRequest.

    Args:
      document: of `parse_body`.
      infos: the signature's inputs.
      request: whose inputs are filled.

    Returns:
      True for the row format ("instances"), False for the columnar one ("inputs"); the answer takes the same.

    Raises:
      ServingError: INVALID_ARGUMENT for values that do not fit, UNIMPLEMENTED for types that JSON does not carry.
    """
    if not infos:
        raise invalid_argument(f"Failed to get input map for signature: {document.get('signature_name') or 'DEFAULT'}")
    if "instances" in document:
        if "inputs" in document:
            raise _format_error(
                document, "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist "
            )
        instances = document["instances"]
        if not isinstance(instances, list):
            raise _format_error(document, "Excepting 'instances' to be an list/array")
        if not instances:
            raise _format_error(document, "No values in 'instances' array")
        _fill_rows(instances, infos, request)
        return True
    if "inputs" in document:
        _fill_columns(document["inputs"], infos, request)
        return False
    raise invalid_argument("Missing 'inputs' or 'instances' key")


def write_response(response: predict_pb2.PredictResponse, row_format: bool) -> bytes:
    """The JSON body of an answer.

    Strings are written as they are, except in outputs whose alias ends in `_bytes`, which become {"b64": ..}.

    Raises:
      ServingError: INVALID_ARGUMENT when the outputs have no common batch, or a type that JSON does not carry.
    """
    values = {}
    batch: int | None = None
    for alias in sorted(response.outputs):
        proto = response.outputs[alias]
        if row_format:
            if not proto.tensor_shape.dim:
                raise invalid_argument(f"Tensor name: {alias} has no shape information ")
            size = proto.tensor_shape.dim[0].size
            if batch is not None and size != batch:
                raise invalid_argument(f"Tensor name: {alias} has inconsistent batch size: {size} expecting: {batch}")
            batch = size
        values[alias] = _nested_texts(alias, proto, row_format)
    if row_format:
        rows = []
        for row in range(batch or 0):
            cells = {alias: texts[row] for alias, texts in values.items()}
            rows.append(_object(cells) if len(cells) > 1 else next(iter(cells.values())))
        text = '{"predictions": [' + ",\n".join(rows) + "]}"
    else:
        text = '{"outputs": ' + (_object(values) if len(values) > 1 else next(iter(values.values()))) + "}"
    return text.encode("utf-8", "surrogateescape")


def format_float(value: float, single: bool) -> str:
    """A number as TensorFlow Serving writes it: 6 digits if they bring the value back, else all it takes."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    text = f"{value:.6g}"
    back = float(np.float32(text)) if single else float(text)
    if back != value:
        text = f"{value:.9g}" if single else f"{value:.17g}"
    return text if "." in text or "e" in text else text + ".0"


def _fill_rows(instances: list[Any], infos: Infos, request: predict_pb2.PredictRequest) -> None:
    names = sorted(infos)
    if not isinstance(instances[0], dict) and len(names) > 1:
        raise invalid_argument(
            "instances is a plain list, but expecting list of objects as multiple input tensors required as per "
            "tensorinfo_map"
        )
    objects = _is_named(instances[0])
    shapes: dict[str, list[int]] = {}
    for position, element in enumerate(instances):
        where = f"Failed to process element: {position}"
        if objects != _is_named(element):
            expected, got = ("object", "list") if objects else ("value/list", "object")
            raise invalid_argument(f"Expecting {expected} but got {got} at item {position} of input list")
        for name, value in element.items() if objects else [(names[0], element)]:
            try:
                _add_row(name, value, infos, shapes, request)
            except ServingError as error:
                key = f" key: {name}" if objects else ""
                raise invalid_argument(f"{where}{key} of 'instances' list. Error: {error}") from None
        if objects and set(element) != set(names):
            raise invalid_argument(
                f"{where} of 'instances' list. JSON object: {_text(element)} keys must be equal to: {','.join(names)}"
            )
    for name, shape in shapes.items():
        _set_shape(request.inputs[name], [len(instances), *shape])


def _add_row(
    name: str, value: Any, infos: Infos, shapes: dict[str, list[int]], request: predict_pb2.PredictRequest
) -> None:
    if name not in infos:
        raise invalid_argument(f"JSON object: does not have named input: {name}")
    shape = _dense_shape(value)
    proto = request.inputs[name]
    proto.dtype = infos[name].dtype
    _fill(value, 0, shape, proto)
    first = shapes.setdefault(name, shape)
    if math.prod(first) != math.prod(shape):
        raise invalid_argument(f"Expecting tensor size: {math.prod(first)} but got: {math.prod(shape)}")
    if first != shape:
        raise invalid_argument(f"Expecting shape {_shape_text(first)} but got: {_shape_text(shape)}")


def _fill_columns(inputs: Any, infos: Infos, request: predict_pb2.PredictRequest) -> None:
    if not _is_named(inputs):
        if len(infos) > 1:
            raise invalid_argument(
                "inputs is a plain value/list, but expecting an object as multiple input tensors required as per "
                "tensorinfo_map"
            )
        inputs = {next(iter(infos)): inputs}
    for name in sorted(infos):
        if name not in inputs:
            raise invalid_argument(f"Missing named input: {name} in 'inputs' object.")
        shape = _dense_shape(inputs[name])
        proto = request.inputs[name]
        proto.dtype = infos[name].dtype
        _set_shape(proto, shape)
        _fill(inputs[name], 0, shape, proto)


def _dense_shape(value: Any) -> list[int]:
    shape = []
    while isinstance(value, list):
        shape.append(len(value))
        if not value:
            break
        value = value[0]
    return shape


def _fill(value: Any, level: int, shape: list[int], proto: tensor_pb2.TensorProto) -> None:
    if not isinstance(value, list):
        if level != len(shape):
            raise invalid_argument(
                f"JSON Value: {_text(value)} found at incorrect level: {level + 1} in the JSON DOM. "
                f"Expected at level: {len(shape)}"
            )
        _add_value(value, proto)
        return
    if level >= len(shape):
        raise invalid_argument(f"Encountered list at unexpected level: {level} expected < {len(shape)}")
    if len(value) != shape[level]:
        raise invalid_argument(
            f"Encountered list at unexpected size: {len(value)} at level: {level} expected size: {shape[level]}"
        )
    for item in value:
        _fill(item, level + 1, shape, proto)


def _add_value(value: Any, proto: tensor_pb2.TensorProto) -> None:
    kind = proto.dtype
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if kind == types_pb2.DT_STRING and isinstance(value, dict):
        proto.string_val.append(_decode_base64(value))
    elif kind == types_pb2.DT_STRING and isinstance(value, str):
        try:
            proto.string_val.append(value.encode("utf-8"))
        except UnicodeEncodeError:
            raise invalid_argument("JSON Parse error: The surrogate pair in string is invalid.") from None
    elif kind == types_pb2.DT_BOOL and isinstance(value, bool):
        proto.bool_val.append(value)
    elif kind in _FLOATS and number:
        field, whole, largest = _FLOATS[kind]
        if (whole if isinstance(value, int) else largest) < abs(value) != math.inf:
            what = "float" if kind == types_pb2.DT_FLOAT else "double"
            raise invalid_argument(f"Cannot convert JSON value: {_text(value)} to {what} without loss of precision.")
        getattr(proto, field).append(value)
    elif kind in _INTEGERS and number and isinstance(value, int):
        field, lowest, highest = _INTEGERS[kind]
        if not lowest <= value <= highest:
            raise _type_error(value, kind)
        getattr(proto, field).append(value)
    elif kind in _JSON_TYPES:
        raise _type_error(value, kind)
    else:
        raise ServingError(
            grpc.StatusCode.UNIMPLEMENTED, f"Conversion of JSON Value: {_text(value)} to type: {_type_name(kind)}"
        )


def _decode_base64(value: dict[str, Any]) -> bytes:
    if list(value) != [_BASE64] or not isinstance(value[_BASE64], str):
        raise invalid_argument(f"JSON Value: {_text(value)} not formatted correctly for base64 data")
    try:
        text = value[_BASE64].rstrip("=")
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise invalid_argument("Unable to base64 decode") from None


def _nested_texts(alias: str, proto: tensor_pb2.TensorProto, row_format: bool) -> Any:
    """The tensor as JSON text; for the row format one text a row."""
    kind = proto.dtype
    if kind not in _JSON_TYPES:
        raise invalid_argument(f"Failed to write JSON value for tensor type: {_type_name(kind)}")
    flat = tensors.to_numpy(proto).ravel().tolist()
    if kind in _FLOATS:
        texts = [format_float(value, kind == types_pb2.DT_FLOAT) for value in flat]
    elif kind == types_pb2.DT_BOOL:
        texts = ["true" if value else "false" for value in flat]
    elif kind == types_pb2.DT_STRING and alias.endswith(_BYTES_SUFFIX):
        texts = ['{"b64": "' + base64.b64encode(value).decode() + '"}' for value in flat]
    elif kind == types_pb2.DT_STRING:
        texts = [json.dumps(value.decode("utf-8", "surrogateescape"), ensure_ascii=False) for value in flat]
    else:
        texts = [str(value) for value in flat]
    shape = [dim.size for dim in proto.tensor_shape.dim]
    for axis in reversed(range(1 if row_format else 0, len(shape))):
        size, lists = shape[axis], math.prod(shape[:axis])
        texts = ["[" + ", ".join(texts[row * size : (row + 1) * size]) + "]" for row in range(lists)]
    return texts if row_format else texts[0]


def _object(values: Mapping[str, str]) -> str:
    return "{" + ", ".join(f"{json.dumps(name)}: {text}" for name, text in values.items()) + "}"


def _is_named(value: Any) -> bool:
    return isinstance(value, dict) and not (list(value) == [_BASE64] and isinstance(value[_BASE64], str))


def _set_shape(proto: tensor_pb2.TensorProto, shape: list[int]) -> None:
    proto.tensor_shape.Clear()
    proto.tensor_shape.SetInParent()
    for size in shape:
        proto.tensor_shape.dim.add(size=size)


def _shape_text(shape: list[int]) -> str:
    return "[" + ",".join(map(str, shape)) + "]"


def _type_name(kind: int) -> str:
    return types_pb2.DataType.Name(kind).removeprefix("DT_").lower()


def _json_type(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "Null", True: "True", False: "False"}[value]
    if isinstance(value, str):
        return "String"
    return "Object" if isinstance(value, dict) else "Array" if isinstance(value, list) else "Number"


def _text(value: Any) -> str:
    if isinstance(value, float):
        return format_float(value, single=False)
    return json.dumps(value, indent=4, ensure_ascii=False)


def _type_error(value: Any, kind: int) -> ServingError:
    return invalid_argument(
        f"JSON Value: {_text(value)} Type: {_json_type(value)} is not of expected type: {_type_name(kind)}"
    )


def _format_error(value: Any, what: str) -> ServingError:
    return invalid_argument(f"JSON Value: {_text(value)} {what}")
