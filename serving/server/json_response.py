"""The answers of REST predict, classify and regress as JSON, with TensorFlow Serving's rules and texts."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from tensorflow.core.framework import types_pb2
from tensorflow_serving.apis import classification_pb2, regression_pb2

from serving.server import tensors
from serving.server.errors import invalid_argument
from serving.server.json_request import JSON_TYPES
from serving.server.json_text import (
    BASE64,
    format_float,
    format_line,
    format_list,
    format_object,
    format_string,
)

_BYTES_SUFFIX = "_bytes"


def predict_text(outputs: Mapping[str, np.ndarray], row_format: bool) -> str:
    """The body for predict.

    Strings are written as they are, except in outputs whose alias ends in `_bytes`, which become {"b64": ..}.

    Raises:
      ServingError: INVALID_ARGUMENT when there are no outputs or they have no common batch, or for a type that JSON
        does not carry.
    """
    if not outputs:
        raise invalid_argument("Cannot convert empty tensor map to JSON")
    if not row_format:
        level = 2 if len(outputs) > 1 else 1
        texts = {alias: _columns(alias, array, level) for alias, array in outputs.items()}
        return format_object({"outputs": format_object(texts, 1) if len(texts) > 1 else _only(texts)}, 0)
    batch = 0
    for alias, array in outputs.items():
        if not array.ndim:
            raise invalid_argument(f"Tensor name: {alias} has no shape information ")
        if not len(array):
            raise invalid_argument(f"Tensor name: {alias} has invalid batch size: 0")
        if batch and len(array) != batch:
            raise invalid_argument(f"Tensor name: {alias} has inconsistent batch size: {len(array)} expecting: {batch}")
        batch = len(array)
    level = 3 if len(outputs) > 1 else 2
    rows = {alias: _rows(alias, array, level) for alias, array in outputs.items()}
    if len(rows) == 1:
        predictions = _open_line(_only(rows), 1)
    else:
        cells = [{alias: texts[row] for alias, texts in rows.items()} for row in range(batch)]
        predictions = format_list([format_object(row, 2) for row in cells], 1)
    return format_object({"predictions": predictions}, 0)


def classify_text(result: classification_pb2.ClassificationResult) -> str:
    """The body for classify: a list of [label, score] an example."""
    rows = [
        format_line([format_line([format_string(c.label), format_float(c.score, True)]) for c in row.classes])
        for row in result.classifications
    ]
    if not rows:
        raise invalid_argument("Cannot convert empty ClassificationResults to JSON")
    return format_object({"results": _open_line(rows, 1)}, 0)


def regress_text(result: regression_pb2.RegressionResult) -> str:
    """The body for regress: a number an example."""
    values = [format_float(regression.value, True) for regression in result.regressions]
    if not values:
        raise invalid_argument("Cannot convert empty RegressionResults to JSON")
    return format_object({"results": format_line(values)}, 0)


def _columns(alias: str, array: np.ndarray, level: int) -> str:
    """A tensor, one line a value; level is that of the tensor itself."""
    texts = _texts(alias, array, level + array.ndim)
    for axis in reversed(range(array.ndim)):
        size, lists = array.shape[axis], math.prod(array.shape[:axis])
        texts = [format_list(texts[row * size : (row + 1) * size], level + axis) for row in range(lists)]
    return texts[0]


def _rows(alias: str, array: np.ndarray, level: int) -> list[str]:
    """Each row of a tensor on one line; level is that of a row."""
    texts = _texts(alias, array, level + array.ndim - 1)
    for axis in reversed(range(1, array.ndim)):
        size, lists = array.shape[axis], math.prod(array.shape[:axis])
        texts = [format_line(texts[row * size : (row + 1) * size]) for row in range(lists)]
    return texts


def _texts(alias: str, array: np.ndarray, level: int) -> list[str]:
    """Each value; level is that of a value."""
    kind = tensors.NUMBERS[array.dtype]
    if kind not in JSON_TYPES:
        raise invalid_argument(f"Failed to write JSON value for tensor type: {tensors.dtype_name(kind)}")
    write: Callable[..., str] = str
    if kind in (types_pb2.DT_FLOAT, types_pb2.DT_DOUBLE):
        single = kind == types_pb2.DT_FLOAT
        return [format_float(value, single) for value in array.ravel().tolist()]
    if kind == types_pb2.DT_BOOL:
        write = {True: "true", False: "false"}.__getitem__
    elif kind == types_pb2.DT_STRING and alias.endswith(_BYTES_SUFFIX):

        def write(value: bytes) -> str:
            return format_object({BASE64: format_string(base64.b64encode(value).decode())}, level)

    elif kind == types_pb2.DT_STRING:

        def write(value: bytes) -> str:
            return format_string(value.decode("utf-8", "surrogateescape"))

    return [write(value) for value in array.ravel().tolist()]


def _open_line(texts: list[str], level: int) -> str:
    """A list on one line, but for the bracket that closes it."""
    return "[" + ", ".join(texts) + "\n" + " " * 4 * level + "]"


def _only(values: Mapping[str, Any]) -> Any:
    (value,) = values.values()
    return value
