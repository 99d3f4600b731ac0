"""Between NumPy arrays and `tensorflow.TensorProto`."""

from __future__ import annotations

from typing import Any

import numpy as np

from serving import protos

_NUMPY = {"float": "<f4", "double": "<f8", "int32": "<i4", "int64": "<i8", "bool": "?"}
_KINDS = {np.dtype(code): kind for kind, code in _NUMPY.items()}
_TYPED_FIELDS = {
    "float": "float_val",
    "double": "double_val",
    "int32": "int_val",
    "int64": "int64_val",
    "bool": "bool_val",
    "string": "string_val",
}


def fill_tensor(tensor: Any, array: np.ndarray) -> None:
    """Writes an array into an empty TensorProto.

    Args:
      tensor: TensorProto.
      array: of objects (bytes), or of one of `protos.DATA_TYPES`.
    """
    for size in array.shape:
        tensor.tensor_shape.dim.add(size=size)
    if array.dtype == object:
        tensor.dtype = protos.DATA_TYPES["string"]
        tensor.string_val.extend(array.ravel().tolist())
    else:
        little = array.dtype.newbyteorder("<")
        tensor.dtype = protos.DATA_TYPES[_KINDS[little]]
        tensor.tensor_content = np.ascontiguousarray(array, little).tobytes()


def read_tensor(tensor: Any) -> np.ndarray:
    """The array that a TensorProto holds, in either of its two forms; strings come as objects (bytes).

    Raises:
      KeyError: for a type that the client does not read.
    """
    kind = protos.DATA_TYPE_NAMES[tensor.dtype]
    shape = [dim.size for dim in tensor.tensor_shape.dim]
    if tensor.tensor_content:
        return np.frombuffer(tensor.tensor_content, _NUMPY[kind]).reshape(shape)
    values = list(getattr(tensor, _TYPED_FIELDS[kind]))
    # A typed list shorter than the shape repeats its last value.
    values += values[-1:] * (int(np.prod(shape)) - len(values))
    array = np.empty(len(values), object if kind == "string" else _NUMPY[kind])
    array[:] = values
    return array.reshape(shape)
