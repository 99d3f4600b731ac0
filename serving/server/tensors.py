"""TensorProto <-> NumPy, as TensorFlow Serving reads and writes it."""

from __future__ import annotations

import math

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2, types_pb2

from serving.server import wire

_FIELDS = {
    types_pb2.DT_FLOAT: "float_val",
    types_pb2.DT_DOUBLE: "double_val",
    types_pb2.DT_INT8: "int_val",
    types_pb2.DT_INT16: "int_val",
    types_pb2.DT_INT32: "int_val",
    types_pb2.DT_UINT8: "int_val",
    types_pb2.DT_UINT16: "int_val",
    types_pb2.DT_INT64: "int64_val",
    types_pb2.DT_UINT32: "uint32_val",
    types_pb2.DT_UINT64: "uint64_val",
    types_pb2.DT_BOOL: "bool_val",
    types_pb2.DT_STRING: "string_val",
    types_pb2.DT_HALF: "half_val",
    types_pb2.DT_BFLOAT16: "half_val",
    types_pb2.DT_COMPLEX64: "scomplex_val",
    types_pb2.DT_COMPLEX128: "dcomplex_val",
}
#: DataType number -> NumPy type of the tensors that are carried.
DTYPES: dict[int, np.dtype] = {number: np.dtype(tf.as_dtype(number).as_numpy_dtype) for number in _FIELDS}
#: The other way round.
NUMBERS = {dtype: number for number, dtype in DTYPES.items()}
#: How a typed field holds one value, where it is not the value itself: 16-bit floats by bits, complex in halves.
_STORED = {
    types_pb2.DT_HALF: np.uint16,
    types_pb2.DT_BFLOAT16: np.uint16,
    types_pb2.DT_COMPLEX64: np.float32,
    types_pb2.DT_COMPLEX128: np.float64,
}
_PLACES = {number: tensor_pb2.TensorProto.DESCRIPTOR.fields_by_name[field].number for number, field in _FIELDS.items()}
#: Values that protobuf's own containers give up faster than the wire does.
_FEW = 16
#: No tensor may be larger than a message could be that has all its values: a short list stands for a long one.
_MOST_BYTES = 2**31 - 1


def to_numpy(proto: tensor_pb2.TensorProto) -> np.ndarray:
    """Reads a tensor from its content or its typed field.

    As in TensorFlow's own reader, a typed field shorter than the shape repeats its last value (zeros when it is
    empty) and a longer one is cut.

    Raises:
      ValueError: when the bytes do not fit the shape, or the type or the shape is not a tensor's.
    """
    kind, shape_proto = proto.dtype, proto.tensor_shape
    dtype = DTYPES.get(kind)
    shape = [dim.size for dim in shape_proto.dim]
    if dtype is None or shape_proto.unknown_rank or min(shape, default=0) < 0:
        raise ValueError("not a tensor")
    count = math.prod(shape)
    if count * dtype.itemsize > _MOST_BYTES:
        raise ValueError("too large")
    content = proto.tensor_content
    if kind == types_pb2.DT_STRING:
        strings = _split_strings(content, count) if content else list(proto.string_val)
        if len(strings) != count:
            strings = strings[:count] + (strings[-1:] or [b""]) * (count - len(strings))
        return objects(strings).reshape(shape)
    if content:
        return np.frombuffer(content, dtype).reshape(shape)
    array = _typed_values(proto, dtype)
    if len(array) < count:
        fill = array[-1] if len(array) else np.zeros([], dtype)
        array = np.concatenate([array, np.full(count - len(array), fill, dtype)])
    return array[:count].reshape(shape)


def to_proto(array: np.ndarray, proto: tensor_pb2.TensorProto) -> None:
    """Writes an array into the typed field of an empty proto, tensor_content staying empty."""
    number = NUMBERS[array.dtype]
    proto.dtype = number
    proto.tensor_shape.SetInParent()
    for size in array.shape:
        proto.tensor_shape.dim.add(size=size)
    flat = array.ravel()
    if number == types_pb2.DT_STRING:
        proto.string_val.extend(flat.tolist())
    elif len(flat):
        stored = flat.view(_STORED[number]) if number in _STORED else flat
        proto.MergeFromString(wire.pack(_PLACES[number], stored, _is_varint(stored.dtype)))


def dtype_name(number: int) -> str:
    """A DataType as TensorFlow's errors name it: `float`, `int64`."""
    return types_pb2.DataType.Name(number).removeprefix("DT_").lower()


def objects(values: list[bytes]) -> np.ndarray:
    """A flat array of strings."""
    return np.array(values, object)


def _typed_values(proto: tensor_pb2.TensorProto, dtype: np.dtype) -> np.ndarray:
    stored = np.dtype(_STORED.get(proto.dtype, dtype))
    values = getattr(proto, _FIELDS[proto.dtype])
    if len(values) <= _FEW:
        wide = np.int64 if stored.kind in "iu" and stored != np.uint64 else stored  # the field may hold more
        return np.array(values[:], wide).astype(stored).view(dtype)
    content = wire.unpack(proto.SerializeToString(), _PLACES[proto.dtype])
    if _is_varint(stored):
        return wire.from_varints(content).astype(stored).view(dtype)
    return np.frombuffer(content, stored).view(dtype)


def _is_varint(dtype: np.dtype) -> bool:
    return dtype.kind in "iub"


def _split_strings(content: bytes, count: int) -> list[bytes]:
    """Strings as TensorFlow packs them: all lengths as varints, then all bytes."""
    lengths, position = [], 0
    for _ in range(count):
        length = shift = 0
        while True:
            if position >= len(content):
                raise ValueError("lengths are cut off")
            byte = content[position]
            position += 1
            length |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        lengths.append(length)
    if position + sum(lengths) != len(content):
        raise ValueError("lengths and bytes differ")
    strings = []
    for length in lengths:
        strings.append(content[position : position + length])
        position += length
    return strings
