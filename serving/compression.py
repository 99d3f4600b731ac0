"""Weights that are stored small and read as float32."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf

#: Smaller ones are left as they are: together they are a sliver of a model.
SMALLEST = 1024

KINDS = ("float32", "bfloat16", "float16", "int8")


class StoredWeight(tf.Module):
    """A float32 weight of rank 2 or more, stored in fewer bits.

    Half precision rounds each number. `int8` keeps round(w / s) with s = max|w| / 127 of each slice along the longest
    axis: of each row of a table of items or words, of each channel on the wider side of a kernel. No activation is
    quantised: what is computed with is float32.

    Args:
      value: of the weight.
      kind: `bfloat16`, `float16` or `int8`.
      name: of the weight.
      trainable: whether it was trained.

    Example:
      >>> stored = StoredWeight(np.array([[1.0, -0.5], [0.02, 0.01], [0, 0]]), "int8", "table", True)
      >>> stored.read().numpy().round(3).tolist()
      [[1.0, -0.504], [0.02, 0.01], [0.0, 0.0]]
      >>> stored.rows(tf.constant([1])).numpy().round(3).tolist()
      [[0.02, 0.01]]
    """

    def __init__(self, value: np.ndarray, kind: str, name: str, trainable: bool) -> None:
        super().__init__(name=f"{kind}_weight")
        if kind not in KINDS[1:]:
            raise ValueError(f"kind must be one of {', '.join(KINDS[1:])}, not {kind!r}.")
        self._axis, self._scale = int(np.argmax(value.shape)), None
        if kind == "int8":
            others = tuple(axis for axis in range(value.ndim) if axis != self._axis)
            scale = np.abs(value).max(others, keepdims=True) / 127
            scale = np.where(scale > 0, scale, 1)
            self._scale = tf.Variable(scale.astype(np.float32), trainable=False, name=f"{name}_scale")
            value = np.round(value / scale)
        self._values = tf.Variable(tf.cast(value, kind), trainable=trainable, name=name)

    @property
    def saved(self) -> list[tf.Variable]:
        """What a SavedModel has in place of the weight."""
        return [self._values, *([] if self._scale is None else [self._scale])]

    def read(self) -> tf.Tensor:
        """All of it, float32."""
        values = tf.cast(self._values.read_value(), tf.float32)
        return values if self._scale is None else values * self._scale

    def rows(self, indices: tf.Tensor) -> tf.Tensor:
        """Float32 [..., d], some rows of it; only these are decompressed."""
        values = tf.cast(tf.gather(self._values, indices), tf.float32)
        if self._scale is None:
            return values
        return values * (tf.gather(self._scale, indices) if self._axis == 0 else self._scale[0])

    def put_rows(self, indices: tf.Tensor, values: tf.Tensor) -> None:
        """Stores other rows, float32 [n, …], int [n]; with scales along another axis what is beyond them is cut off."""
        if self._scale is not None:
            scale = self._scale[0]
            if self._axis == 0:
                scale = tf.reduce_max(tf.abs(values), list(range(1, values.shape.rank)), keepdims=True) / 127
                scale = tf.where(scale > 0, scale, 1.0)
                self._scale.scatter_update(tf.IndexedSlices(scale, indices))
            values = tf.clip_by_value(tf.round(values / scale), -127, 127)
        self._values.scatter_update(tf.IndexedSlices(tf.cast(values, self._values.dtype), indices))


def compress(model: tf.keras.Model, kind: str) -> list[tf.Variable]:
    """Lets a model read its large float weights out of a smaller store, in every graph that is traced from now on.

    Rows of them can still be written with `scatter_update`.

    Args:
      model: its variables must be plain ones, of no distribution strategy; it can no longer be trained.
      kind: of `KINDS`.

    Returns:
      What a SavedModel of the model is to hold in place of `model.weights`.
    """
    saved: list[tf.Variable] = []
    for variable in model.weights:
        large = variable.shape.rank >= 2 and variable.shape.num_elements() >= SMALLEST
        if kind == KINDS[0] or variable.dtype != tf.float32 or not large:
            saved.append(variable)
            continue
        name = variable.name.split(":")[0]
        stored = StoredWeight(variable.numpy(), kind, name, variable.trainable)
        _read_from(variable, stored)
        saved += stored.saved
    return saved


def _read_from(variable: tf.Variable, stored: StoredWeight) -> None:
    """Every way of TensorFlow 2.15 to read a variable ends in one of the first three functions."""

    def read(no_copy: bool = False) -> tf.Tensor:
        del no_copy
        return stored.read()

    def rows(indices: tf.Tensor, name: str | None = None) -> tf.Tensor:
        del name
        return stored.rows(indices)

    def places(indices: tf.Tensor, name: str | None = None) -> tf.Tensor:
        del name
        return tf.gather_nd(stored.read(), indices)

    def put_rows(sparse_delta: tf.IndexedSlices, use_locking: bool = False, name: str | None = None) -> None:
        del use_locking, name
        stored.put_rows(sparse_delta.indices, sparse_delta.values)

    replaced: dict[str, Callable[..., tf.Tensor | None]] = {
        "_read_variable_op": read,
        "sparse_read": rows,
        "gather_nd": places,
        "scatter_update": put_rows,
    }
    for name, function in replaced.items():
        setattr(variable, name, function)
    # Lookups are placed beside the handle, and so hold it: without this the large weight would have to be saved too.
    variable._handle = stored.saved[0].handle
