"""Losses and gradients of a batch, found part by part."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import tensorflow as tf

Gradient: TypeAlias = tf.Tensor | tf.IndexedSlices | None
Found: TypeAlias = tuple[dict[str, tf.Tensor], list[Gradient]]


def in_parts(
    compute: Callable[[Any], Found], batch: Any, parts: int, variables: Sequence[tf.Variable], names: Sequence[str]
) -> Found:
    """`compute` for each of `parts` even parts of the rows of a batch, one after the other; the mean over rows.

    Memory is that of one part. Where each row weighs alike in a loss, loss and gradient are those of the whole batch;
    a loss that is a mean over something else (targets, say) gives each part the weight of its rows.

    Args:
      compute: part of the batch -> (losses, gradients of `variables`).
      batch: structure of tensors, all with the same first axis B.
      parts: at most; fewer where B is smaller.
      variables: what is differentiated.
      names: that the losses may have.

    Returns:
      (losses, gradients); gradients are dense, and None where every part's is.
    """
    rows = tf.shape(tf.nest.flatten(batch)[0])[0]
    number = tf.minimum(parts, rows)
    # Filled while the loop's body is traced: what is there at all does not depend on the part.
    reached, given = [False] * len(variables), dict.fromkeys(names, False)

    def body(part: tf.Tensor, losses: dict[str, tf.Tensor], sums: list[tf.Tensor]) -> Any:
        first, last = part * rows // number, (part + 1) * rows // number
        share = tf.cast(last - first, tf.float32) / tf.cast(rows, tf.float32)
        found, gradients = compute(tf.nest.map_structure(lambda value: value[first:last], batch))
        losses = dict(losses)
        for name, value in found.items():
            given[name] = True
            losses[name] += share * value
        sums = list(sums)
        for i, gradient in enumerate(gradients):
            if gradient is not None:
                reached[i] = True
                sums[i] += tf.cast(share, sums[i].dtype) * tf.convert_to_tensor(gradient)
        return part + 1, losses, sums

    zeros = [tf.zeros(variable.shape, variable.dtype) for variable in variables]
    start = (tf.constant(0), {name: tf.constant(0.0) for name in names}, zeros)
    _, losses, sums = tf.while_loop(lambda part, *_: part < number, body, start, parallel_iterations=1)
    found = {name: value for name, value in losses.items() if given[name]}
    return found, [value if there else None for value, there in zip(sums, reached, strict=True)]
