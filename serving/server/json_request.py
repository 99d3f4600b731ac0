"""The JSON body of REST predict as the arrays of a signature's inputs, with TensorFlow Serving's rules and texts."""

from __future__ import annotations

import base64
import binascii
import itertools
import math
from collections.abc import Mapping
from typing import Any

import grpc
import numpy as np
from tensorflow.core.framework import types_pb2

from serving.server import tensors
from serving.server.errors import ServingError, invalid_argument
from serving.server.json_text import BASE64, format_error, is_base64, type_name, value_text

_INT32 = range(-(2**31), 2**31)
#: dtype -> whole numbers that JSON may spell; the smaller types take those of int32 and cut them.
_INTEGERS = {
    types_pb2.DT_INT8: _INT32,
    types_pb2.DT_INT16: _INT32,
    types_pb2.DT_INT32: _INT32,
    types_pb2.DT_UINT8: _INT32,
    types_pb2.DT_INT64: range(-(2**63), 2**63),
    types_pb2.DT_UINT32: range(2**32),
    types_pb2.DT_UINT64: range(2**64),
}
#: dtype -> largest whole number it holds exactly, largest value.
_FLOATS = {
    types_pb2.DT_FLOAT: (2**24 - 1, float(np.finfo(np.float32).max)),
    types_pb2.DT_DOUBLE: (2**53 - 1, float(np.finfo(np.float64).max)),
}
#: One less than NumPy allows, for the rows are one more.
_MOST_DIMENSIONS = 31
JSON_TYPES = {*_INTEGERS, *_FLOATS, types_pb2.DT_STRING, types_pb2.DT_BOOL}

#: Input alias -> DataType number.
Types = Mapping[str, int]


def read_inputs(document: dict[str, Any], types: Types) -> tuple[dict[str, np.ndarray], bool]:
    """The inputs in a body.

    Args:
      document: of `json_text.parse_body`.
      types: of the signature's inputs.

    Returns:
      Input alias -> array, and True for the row format ("instances"), False for the columnar one ("inputs"); the
      answer takes the same.

    Raises:
      ServingError: INVALID_ARGUMENT for values that do not fit, UNIMPLEMENTED for types that JSON does not carry.
    """
    if not types:
        raise invalid_argument(f"Failed to get input map for signature: {document.get('signature_name') or 'DEFAULT'}")
    if "instances" in document:
        if "inputs" in document:
            raise format_error(
                document, "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist "
            )
        instances = document["instances"]
        if not isinstance(instances, list):
            raise format_error(document, "Excepting 'instances' to be an list/array")
        if not instances:
            raise format_error(document, "No values in 'instances' array")
        return _read_rows(instances, types), True
    if "inputs" in document:
        return _read_columns(document["inputs"], types), False
    raise invalid_argument("Missing 'inputs' or 'instances' key")


def decode_base64(value: Any) -> bytes:
    """The bytes of {"b64": ".."}.

    Raises:
      ServingError: INVALID_ARGUMENT when it is something else.
    """
    if not is_base64(value):
        raise invalid_argument(f"JSON Value: {value_text(value)} not formatted correctly for base64 data")
    try:
        text = value[BASE64].rstrip("=")
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise invalid_argument("Unable to base64 decode") from None


def check_decimal(value: float, kind: int) -> None:
    """Refuses a number that a float or double does not hold.

    Raises:
      ServingError: INVALID_ARGUMENT.
    """
    whole, largest = _FLOATS[kind]
    if (whole if isinstance(value, int) else largest) < abs(value) != math.inf:
        what = "float" if kind == types_pb2.DT_FLOAT else "double"
        raise invalid_argument(f"Cannot convert JSON value: {value_text(value)} to {what} without loss of precision.")


def _read_rows(instances: list[Any], types: Types) -> dict[str, np.ndarray]:
    names = sorted(types)
    if not isinstance(instances[0], dict) and len(names) > 1:
        raise invalid_argument(
            "instances is a plain list, but expecting list of objects as multiple input tensors required as per "
            "tensorinfo_map"
        )
    objects = _is_named(instances[0])
    if not objects:
        array = _whole(instances, types[names[0]])
        if array is not None:
            return {names[0]: array}
    shapes: dict[str, list[int]] = {}
    values: dict[str, list[Any]] = {name: [] for name in names}
    for position, element in enumerate(instances):
        where = f"Failed to process element: {position}"
        if objects != _is_named(element):
            expected, got = ("object", "list") if objects else ("value/list", "object")
            raise invalid_argument(f"Expecting {expected} but got {got} at item {position} of input list")
        for name, value in element.items() if objects else [(names[0], element)]:
            try:
                _add_row(name, value, types, shapes, values)
            except ServingError as error:
                key = f" key: {name}" if objects else ""
                raise invalid_argument(f"{where}{key} of 'instances' list. Error: {error}") from None
        if objects and set(element) != set(names):
            raise invalid_argument(
                f"{where} of 'instances' list. JSON object: {value_text(element)} keys must be equal to: "
                f"{','.join(names)}"
            )
    return {name: _array(values[name], types[name]).reshape([len(instances), *shape]) for name, shape in shapes.items()}


def _add_row(name: str, value: Any, types: Types, shapes: dict[str, list[int]], values: dict[str, list[Any]]) -> None:
    if name not in types:
        raise invalid_argument(f"JSON object: does not have named input: {name}")
    shape = _dense_shape(value)
    _fill(value, 0, shape, types[name], values[name])
    first = shapes.setdefault(name, shape)
    if math.prod(first) != math.prod(shape):
        raise invalid_argument(f"Expecting tensor size: {math.prod(first)} but got: {math.prod(shape)}")
    if first != shape:
        raise invalid_argument(f"Expecting shape {_shape_text(first)} but got: {_shape_text(shape)}")


def _read_columns(inputs: Any, types: Types) -> dict[str, np.ndarray]:
    if not _is_named(inputs):
        if len(types) > 1:
            raise invalid_argument(
                "inputs is a plain value/list, but expecting an object as multiple input tensors required as per "
                "tensorinfo_map"
            )
        inputs = {next(iter(types)): inputs}
    arrays = {}
    for name in sorted(types):
        if name not in inputs:
            raise invalid_argument(f"Missing named input: {name} in 'inputs' object.")
        kind = types[name]
        array = _whole(inputs[name], kind)
        if array is None:
            shape = _dense_shape(inputs[name])
            values: list[Any] = []
            _fill(inputs[name], 0, shape, kind, values)
            array = _array(values, kind).reshape(shape)
        arrays[name] = array
    return arrays


def _whole(value: Any, kind: int) -> np.ndarray | None:
    """A list of numbers as an array in a few steps; None where `_fill` must look at each value."""
    shape = _dense_shape(value)
    flat = [value]
    for size in shape:
        if set(map(type, flat)) != {list} or set(map(len, flat)) != {size}:
            return None
        flat = list(itertools.chain.from_iterable(flat))
    types = set(map(type, flat))
    if kind in _INTEGERS and types == {int}:
        if min(flat) not in _INTEGERS[kind] or max(flat) not in _INTEGERS[kind]:
            return None
    elif kind in _FLOATS and types and types <= {int, float}:
        largest = _FLOATS[kind][types == {float}]
        if not all(-largest <= number <= largest for number in (min(flat), max(flat))) or any(map(math.isnan, flat)):
            return None
    else:
        return None
    return _array(flat, kind).reshape(shape)


def _dense_shape(value: Any) -> list[int]:
    shape = []
    while isinstance(value, list):
        shape.append(len(value))
        if len(shape) > _MOST_DIMENSIONS:
            raise invalid_argument(f"Encountered more than {_MOST_DIMENSIONS} lists within each other")
        if not value:
            break
        value = value[0]
    return shape


def _fill(value: Any, level: int, shape: list[int], kind: int, values: list[Any]) -> None:
    if not isinstance(value, list):
        if level != len(shape):
            raise invalid_argument(
                f"JSON Value: {value_text(value)} found at incorrect level: {level + 1} in the JSON DOM. "
                f"Expected at level: {len(shape)}"
            )
        values.append(_value(value, kind))
        return
    if level >= len(shape):
        raise invalid_argument(f"Encountered list at unexpected level: {level} expected < {len(shape)}")
    if len(value) != shape[level]:
        raise invalid_argument(
            f"Encountered list at unexpected size: {len(value)} at level: {level} expected size: {shape[level]}"
        )
    for item in value:
        _fill(item, level + 1, shape, kind, values)


def _value(value: Any, kind: int) -> Any:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if kind == types_pb2.DT_STRING and isinstance(value, dict):
        return decode_base64(value)
    if kind == types_pb2.DT_STRING and isinstance(value, str):
        return value.encode("utf-8")
    if kind == types_pb2.DT_BOOL and isinstance(value, bool):
        return value
    if kind in _FLOATS and number:
        check_decimal(value, kind)
        return value
    if kind in _INTEGERS and number and isinstance(value, int) and value in _INTEGERS[kind]:
        return value
    if kind in JSON_TYPES or isinstance(value, dict):
        raise invalid_argument(
            f"JSON Value: {value_text(value)} Type: {type_name(value)} is not of expected type: "
            f"{tensors.dtype_name(kind)}"
        )
    raise ServingError(
        grpc.StatusCode.UNIMPLEMENTED,
        f"Conversion of JSON Value: {value_text(value)} to type: {tensors.dtype_name(kind)}",
    )


def _array(values: list[Any], kind: int) -> np.ndarray:
    if kind == types_pb2.DT_STRING:
        return tensors.objects(values)
    if kind in _INTEGERS:
        wide = np.uint64 if kind == types_pb2.DT_UINT64 else np.int64
        return np.array(values, wide).astype(tensors.DTYPES[kind])
    return np.array(values, tensors.DTYPES.get(kind))


def _is_named(value: Any) -> bool:
    return isinstance(value, dict) and not is_base64(value)


def _shape_text(shape: list[int]) -> str:
    return "[" + ",".join(map(str, shape)) + "]"
