"""Maximal marginal relevance: what is good and unlike what is shown already."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


class Likeness:
    """How alike items are; an item is held against the others only when it is asked for, as most are not.

    Args:
      vectors: float [n, d] of length 1 (or 0): likeness is the cosine. None: the share of `codes` that two items have
        in common.
      codes: each int [n], 0 for nothing known.
      pool: so many of the first ones are asked about.
      weight: that all likeness is multiplied with.
    """

    def __init__(self, vectors: np.ndarray | None, codes: Sequence[np.ndarray], pool: int, weight: float = 1.0) -> None:
        self._pool, self._weight, self._codes = pool, weight, codes
        self._vectors = None if vectors is None else vectors.astype(np.float64)
        self._weighted = None if self._vectors is None else weight * self._vectors[:pool]

    def to(self, at: int) -> np.ndarray:
        """float [pool], of each of the first ones to one of them all."""
        if self._vectors is not None:
            return self._weighted @ self._vectors[at]
        same = [column[: self._pool] == column[at] for column in self._codes if column[at]]
        if not same:
            return np.zeros(self._pool)
        return np.add.reduce(same, axis=0, dtype=float) * (self._weight / len(self._codes))


class MarginalRelevance:
    """weight · relevance − (1 − weight) · (largest likeness to what was chosen), of candidates, while some are chosen.

    Likeness below 0 counts as 0, and so does that to nothing. Carbonell and Goldstein, *The use of MMR* (SIGIR 1998).

    Args:
      relevance: float [pool], from 0 to 1, times its weight.
      likeness: of the pool and, behind it, of items that are chosen from the start; times its weight.
      chosen: how many those are.
    """

    def __init__(self, relevance: np.ndarray, likeness: Likeness, chosen: int = 0) -> None:
        self.size = len(relevance)
        self._relevance = relevance
        self._likeness = likeness
        self._nearest = np.zeros(self.size)
        self._allowed = relevance.copy()  # minus infinity for what may not be chosen
        self._value = np.empty(self.size)
        for at in range(self.size, self.size + chosen):
            np.maximum(self._nearest, likeness.to(at), out=self._nearest)

    def allow(self, allowed: np.ndarray) -> None:
        """From now on only those that bool [pool] says may be chosen."""
        self._allowed = np.where(allowed, self._relevance, -np.inf)

    def best(self) -> int | None:
        """The first candidate with the largest value of those that may be chosen; None if there is none."""
        at = int(np.subtract(self._allowed, self._nearest, out=self._value).argmax())
        return None if self._allowed[at] == -np.inf else at

    def choose(self, at: int) -> None:
        """Counts a candidate as chosen."""
        self._allowed[at] = -np.inf
        np.maximum(self._nearest, self._likeness.to(at), out=self._nearest)


def to_unit(values: np.ndarray) -> np.ndarray:
    """Values moved and stretched to 0 to 1; minus infinity is 0, and all others are 1 where they do not differ."""
    finite = np.isfinite(values)
    if not finite.any():
        return np.zeros(len(values))
    least, most = values[finite].min(), values[finite].max()
    if least == most:
        return finite.astype(float)
    return np.where(finite, (values - least) / (most - least), 0.0)
