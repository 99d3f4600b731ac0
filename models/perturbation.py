"""The embedding outputs of a model, noted in one pass and moved in another.

A model says `embedded(x)` where a tensor is what its tables gave; nothing happens there unless a training step asks.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence

import tensorflow as tf

#: Of the thread alone: tf.distribute traces every replica in a thread of its own.
_HERE = threading.local()


def embedded(x: tf.Tensor) -> tf.Tensor:
    """What the model goes on with in place of `x`, float [n, …, d], one row an example: `x`, or `x` moved."""
    visit: Callable[[tf.Tensor], tf.Tensor] | None = getattr(_HERE, "visit", None)
    return x if visit is None else visit(x)


def active() -> bool:
    """Whether `embedded` does anything now."""
    return getattr(_HERE, "visit", None) is not None


@contextlib.contextmanager
def recording() -> Iterator[list[tf.Tensor]]:
    """Within it, every tensor that `embedded` is given is put into the list."""
    found: list[tf.Tensor] = []

    def note(x: tf.Tensor) -> tf.Tensor:
        found.append(x)
        return x

    with _visiting(note):
        yield found


@contextlib.contextmanager
def perturbing(moves: Sequence[tf.Tensor]) -> Iterator[None]:
    """Within it, the k-th tensor that `embedded` is given is moved by the k-th of `moves`.

    Raises:
      ValueError: on leaving, if fewer or more were given than there are moves.
    """
    left = list(moves)

    def move(x: tf.Tensor) -> tf.Tensor:
        if not left:
            raise ValueError(f"the model has more embedding outputs than the {len(moves)} of the pass before.")
        return x + tf.cast(left.pop(0), x.dtype)

    with _visiting(move):
        yield
    if left:
        raise ValueError(f"the model has {len(moves) - len(left)} embedding outputs; expected {len(moves)} as before.")


@contextlib.contextmanager
def _visiting(visit: Callable[[tf.Tensor], tf.Tensor]) -> Iterator[None]:
    if active():
        raise ValueError("embedding outputs are recorded or perturbed already; expected one pass at a time.")
    _HERE.visit = visit
    try:
        yield
    finally:
        _HERE.visit = None
