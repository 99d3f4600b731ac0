"""The arrays of a batch: joined, padded and divided along the first dimension."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import grpc
import numpy as np

from serving.server.batch_scheduler import BatchTask
from serving.server.errors import ServingError, invalid_argument

_MOST_PADDED_DIMENSIONS = 6


def common_rows(feeds: Mapping[str, np.ndarray]) -> int:
    """The size of the first dimension, which all inputs share.

    Raises:
      ServingError: INVALID_ARGUMENT when they do not, or there are none.
    """
    if not feeds:
        raise invalid_argument("Batching Run() must have at least one input tensor")
    if any(not array.ndim for array in feeds.values()):
        raise invalid_argument("Batching Run() input tensors must have at least one dimension")
    rows = {len(array) for array in feeds.values()}
    if len(rows) > 1:
        raise invalid_argument("Batching Run() input tensors must have equal 0th-dimension size")
    return rows.pop()


def refuse_unpaddable(tasks: Sequence[BatchTask]) -> list[BatchTask]:
    """The tasks that can be padded to a common shape; the others fail: those with too many dimensions to pad, and
    empty inputs, which have no value to pad with."""
    shapes = _largest([task.feeds for task in tasks])
    left = []
    for task in tasks:
        error = None
        for name, array in task.feeds.items():
            if array.shape[1:] == shapes[name]:
                continue
            if array.ndim > _MOST_PADDED_DIMENSIONS:
                error = "Only tensors with rank from 1 to 6 can be padded."
            elif not array.size:
                error = "Got empty tensor in batch of non-empty tensors."
        if error:
            task.outputs.set_exception(invalid_argument(error))
        else:
            left.append(task)
    return left


def merge(feeds: Sequence[Mapping[str, np.ndarray]], size: int, pad: bool) -> dict[str, np.ndarray]:
    """Joins the inputs of several tasks.

    Args:
      feeds: of each task, with the same names and, for each name, type and rank.
      size: rows of the result; beyond those there are, the last task's first row is repeated.
      pad: fill each input up to the largest shape there is of it, with its own first value.

    Returns:
      Tensor name -> array.

    Raises:
      ServingError: FAILED_PRECONDITION when shapes differ and may not be padded.
    """
    shapes, merged = _largest(feeds), {}
    for name, shape in shapes.items():
        arrays = [task[name] for task in feeds]
        if not pad and any(array.shape[1:] != shape for array in arrays):
            raise ServingError(
                grpc.StatusCode.FAILED_PRECONDITION,
                f"Tensors with name '{name}' from different tasks have different shapes and padding is turned off. "
                "Set pad_variable_length_inputs to true, or ensure that all tensors with the same name have equal "
                "dimensions starting with the first dim.",
            )
        if len(arrays) == 1 and size == len(arrays[0]):
            merged[name] = arrays[0]
            continue
        whole, start = np.empty((size, *shape), arrays[0].dtype), 0
        for array in arrays:
            end = start + len(array)
            if array.shape[1:] == shape:
                whole[start:end] = array
            else:
                whole[start:end] = array.flat[0]
                inner = (slice(start, end), *map(slice, array.shape[1:]))
                whole[inner] = array
            last, start = start, end
        if start < size:
            whole[start:] = whole[last]
        merged[name] = whole
    return merged


def split(arrays: Sequence[np.ndarray], rows: Sequence[int], size: int) -> list[list[np.ndarray]]:
    """Divides the outputs of a batch.

    Args:
      arrays: the outputs.
      rows: of each task.
      size: of the batch, with what it was filled up with.

    Returns:
      The outputs of each task.

    Raises:
      ServingError: FAILED_PRECONDITION for an output that does not have a row for each row of the batch.
    """
    for array in map(np.asarray, arrays):
        if not array.ndim:
            raise ServingError(grpc.StatusCode.FAILED_PRECONDITION, "Batched output tensor has 0 dimensions")
        if len(array) != size:
            raise ServingError(
                grpc.StatusCode.FAILED_PRECONDITION,
                "Batched output tensor's 0th dimension does not equal the sum of the 0th dimension sizes of the "
                "input tensors",
            )
    ends = np.cumsum(rows).tolist()
    return [[array[end - count : end] for array in arrays] for count, end in zip(rows, ends, strict=True)]


def join(name: str, parts: Sequence[np.ndarray]) -> np.ndarray:
    """An output of a request that was split, of all its parts.

    Raises:
      ServingError: FAILED_PRECONDITION when they differ in more than the first dimension, as where one part was padded
        further than another.
    """
    shapes = sorted({part.shape[1:] for part in parts})
    if len(shapes) > 1:
        raise ServingError(
            grpc.StatusCode.FAILED_PRECONDITION,
            f"Output tensor '{name}' of a request that was split into {len(parts)} batches has different shapes in "
            f"them, {shapes[0]} and {shapes[-1]} a row; expected equal dimensions after the first.",
        )
    return np.concatenate(parts)


def _largest(feeds: Sequence[Mapping[str, np.ndarray]]) -> dict[str, tuple[int, ...]]:
    """The largest size of each dimension after the first, of each input."""
    return {
        name: tuple(max(sizes) for sizes in zip(*(task[name].shape[1:] for task in feeds), strict=True))
        for name in feeds[0]
    }
