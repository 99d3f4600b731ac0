"""TensorProto <-> NumPy and packed fields, held to protobuf's and TensorFlow's own."""

import time

import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tensorflow.core.framework import tensor_pb2

from serving.server import tensors, wire

DTYPES = [dtype for number, dtype in tensors.DTYPES.items() if dtype not in (object, ml_dtypes.bfloat16)]
SHAPES = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)


@given(st.sampled_from(DTYPES).flatmap(lambda dtype: hnp.arrays(dtype, SHAPES)))
def test_to_proto_writes_what_tensorflow_reads(array):
    proto = tensor_pb2.TensorProto()
    tensors.to_proto(array, proto)
    assert not proto.tensor_content
    read = tf.make_ndarray(proto)
    assert (read.dtype, read.shape) == (array.dtype, array.shape)
    np.testing.assert_array_equal(read, array)


@given(st.sampled_from(DTYPES).flatmap(lambda dtype: hnp.arrays(dtype, SHAPES)))
def test_to_numpy_reads_typed_fields_and_content(array):
    typed = tensor_pb2.TensorProto()
    tensors.to_proto(array, typed)
    packed = tf.make_tensor_proto(array)
    for proto in (typed, packed, tensor_pb2.TensorProto.FromString(typed.SerializeToString())):
        read = tensors.to_numpy(proto)
        assert (read.dtype, read.shape) == (array.dtype, array.shape)
        np.testing.assert_array_equal(read, array)


@given(st.lists(st.integers(-(2**63), 2**63 - 1)), st.integers(1, 100_000))
def test_varints_are_protobufs(values, number):
    message = tensor_pb2.TensorProto(int64_val=values)
    field = wire.pack(10, np.array(values, np.int64), varint=True)
    assert tensor_pb2.TensorProto.FromString(field) == message
    assert wire.from_varints(wire.unpack(field, 10)).astype(np.int64).tolist() == values
    tag = wire.pack(number, np.array([], np.int64), varint=True)
    assert wire.unpack(tag + field, 10) == wire.unpack(field, 10)


def test_chunks_of_varints():
    values = np.arange(200_000, dtype=np.int64) * 12_345 - 10**9
    field = wire.pack(10, values, varint=True)
    assert field == tensor_pb2.TensorProto(int64_val=values.tolist()).SerializeToString()


def test_unpack_steps_over_all_other_kinds_of_fields():
    message = tensor_pb2.TensorProto(
        dtype=1, version_number=300, string_val=[b"", b"x" * 200], float_val=[1.5, -2.0], half_val=[7]
    )
    content = wire.unpack(message.SerializeToString(), 5)
    assert np.frombuffer(content, np.float32).tolist() == [1.5, -2.0]
    assert wire.unpack(message.SerializeToString(), 6) == b""
    fixed = b"\x09" + b"\x00" * 8 + b"\x15" + b"\x00" * 4  # fields 1 and 2, fixed 64 and 32
    assert wire.unpack(fixed + b"\x1a\x01z", 3) == b"z"


@pytest.mark.parametrize("values", [[1.5, -2.25], [float("inf")]])
def test_sixteen_bit_floats_are_stored_by_bits(values):
    for dtype in (np.float16, ml_dtypes.bfloat16):
        proto = tensor_pb2.TensorProto()
        tensors.to_proto(np.array(values, dtype), proto)
        assert list(proto.half_val) == np.array(values, dtype).view(np.uint16).tolist()
        assert tensors.to_numpy(proto).astype(float).tolist() == values


@pytest.mark.parametrize(
    ("proto", "expected"),
    [
        (tensor_pb2.TensorProto(dtype=9, int64_val=[1, 2, 3]), 1),  # a longer list is cut
        (tensor_pb2.TensorProto(dtype=10, bool_val=[True]), True),
        (tensor_pb2.TensorProto(dtype=7), b""),
        (tensor_pb2.TensorProto(dtype=2), 0.0),
        (tensor_pb2.TensorProto(dtype=6, int_val=[-1]), -1),
        (tensor_pb2.TensorProto(dtype=4, int_val=[300]), 44),  # uint8 keeps the low bits, as in C++
        (tensor_pb2.TensorProto(dtype=4, int_val=[-1]), 255),
        (tensor_pb2.TensorProto(dtype=4, int_val=[300] * 20), 44),
        (tensor_pb2.TensorProto(dtype=4, int_val=[-1] * 20), 255),
        (tensor_pb2.TensorProto(dtype=23, uint64_val=[2**64 - 1]), 2**64 - 1),
    ],
    ids=str,
)
def test_scalars(proto, expected):
    read = tensors.to_numpy(proto)
    assert (read.shape, read.item()) == ((), expected)


def test_speed_does_not_depend_on_pythons_containers():
    """A million numbers take protobuf's containers 0.3 s each way."""
    proto = tensor_pb2.TensorProto()
    started = time.process_time()
    tensors.to_proto(np.ones(1_000_000, np.float32), proto)
    assert tensors.to_numpy(proto).sum() == 1_000_000
    assert time.process_time() - started < 0.1
