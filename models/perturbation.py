"""The embedding outputs of a model, noted in one pass and moved in another that is asked the same.

A model says `embedded(x)` where a tensor is what its tables gave, and `uniform(shape)` where training draws what it is
asked: which queries are hidden, which items a softmax is over. Nothing happens there unless a training step asks.
Dropout layers are noise on what is known, and draw anew in each pass.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import tensorflow as tf

#: Of the thread alone: tf.distribute traces every replica in a thread of its own.
_HERE = threading.local()


class _Pass(Protocol):
    def embed(self, x: tf.Tensor) -> tf.Tensor: ...

    def draw(self, shape: Any, dtype: tf.DType) -> tf.Tensor: ...


@dataclass
class Noted:
    """A pass as it was.

    Attributes:
      points: every tensor that `embedded` was given.
      draws: every tensor that `uniform` gave.
    """

    points: list[tf.Tensor] = field(default_factory=list)
    draws: list[tf.Tensor] = field(default_factory=list)

    def embed(self, x: tf.Tensor) -> tf.Tensor:
        self.points.append(x)
        return x

    def draw(self, shape: Any, dtype: tf.DType) -> tf.Tensor:
        self.draws.append(tf.random.uniform(shape, dtype=dtype))
        return self.draws[-1]


class _Moved:
    def __init__(self, noted: Noted, moves: Sequence[tf.Tensor]) -> None:
        self.noted, self.moves, self.draws = noted, list(moves), list(noted.draws)

    def embed(self, x: tf.Tensor) -> tf.Tensor:
        if not self.moves:
            raise ValueError(
                f"the model has more embedding outputs than the {len(self.noted.points)} of the pass before."
            )
        return x + tf.cast(self.moves.pop(0), x.dtype)

    def draw(self, shape: Any, dtype: tf.DType) -> tf.Tensor:
        del shape, dtype
        if not self.draws:
            raise ValueError(f"the model draws more often than the {len(self.noted.draws)} times of the pass before.")
        return self.draws.pop(0)

    def check(self) -> None:
        for name, left, before in (
            ("embedding outputs", self.moves, self.noted.points),
            ("draws", self.draws, self.noted.draws),
        ):
            if left:
                raise ValueError(f"the model has {len(before) - len(left)} {name}; expected {len(before)} as before.")


def embedded(x: tf.Tensor) -> tf.Tensor:
    """What the model goes on with in place of `x`, float [n, …, d], one row an example: `x`, or `x` moved."""
    here: _Pass | None = getattr(_HERE, "here", None)
    return x if here is None else here.embed(x)


def uniform(shape: Any, dtype: tf.DType = tf.float32) -> tf.Tensor:
    """Even draws from [0, 1); in a perturbed pass those of the one before."""
    here: _Pass | None = getattr(_HERE, "here", None)
    return tf.random.uniform(shape, dtype=dtype) if here is None else here.draw(shape, dtype)


def active() -> bool:
    """Whether `embedded` does anything now."""
    return getattr(_HERE, "here", None) is not None


@contextlib.contextmanager
def recording() -> Iterator[Noted]:
    """Within it, what `embedded` is given and `uniform` gives is noted."""
    noted = Noted()
    with _within(noted):
        yield noted


@contextlib.contextmanager
def perturbing(noted: Noted, moves: Sequence[tf.Tensor]) -> Iterator[None]:
    """Within it, `embedded` moves the k-th tensor by the k-th of `moves`, and `uniform` gives what was noted.

    Raises:
      ValueError: if there are fewer or more embedding outputs or draws than were noted.
    """
    moved = _Moved(noted, moves)
    with _within(moved):
        yield
    moved.check()


@contextlib.contextmanager
def _within(one: _Pass) -> Iterator[None]:
    if active():
        raise ValueError("embedding outputs are recorded or perturbed already; expected one pass at a time.")
    _HERE.here = one
    try:
        yield
    finally:
        _HERE.here = None
