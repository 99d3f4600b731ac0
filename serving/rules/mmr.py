"""Maximal marginal relevance: what is good and unlike what is shown already."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


class Likeness:
    """How alike items are, from 0 to 1; an item is counted only when it is asked for, as most are not.

    Args:
      vectors: float [n, d] of length 1 (or 0): likeness is the cosine, where it is above 0. None: the share of `codes`
        that two items have in common.
      codes: each int [n], 0 for nothing known.
    """

    def __init__(self, vectors: np.ndarray | None, codes: Sequence[np.ndarray]) -> None:
        self._vectors = vectors
        self._codes = codes

    def to(self, at: int) -> np.ndarray:
        """float [n], of all to one of them."""
        if self._vectors is not None:
            return np.maximum(self._vectors @ self._vectors[at], 0)
        same = [column == column[at] for column in self._codes if column[at]]
        return np.sum(same, axis=0) / len(self._codes) if same else np.zeros(len(self._codes[0]))


class MarginalRelevance:
    """weight · relevance − (1 − weight) · (largest likeness to what was chosen), of candidates, while some are chosen.

    Carbonell and Goldstein, *The use of MMR* (SIGIR 1998).

    Args:
      relevance: float [pool], from 0 to 1.
      likeness: of the pool and, behind it, of items that are chosen from the start.
      chosen: how many those are.
      weight: of relevance, from 0 to 1.
    """

    def __init__(self, relevance: np.ndarray, likeness: Likeness, chosen: int, weight: float) -> None:
        self.size = len(relevance)
        self._relevance = weight * relevance
        self._likeness, self._unlikeness = likeness, 1 - weight
        self._nearest = np.zeros(self.size)
        self._allowed = self._relevance.copy()  # minus infinity for what may not be chosen
        self._value = np.empty(self.size)
        for at in range(self.size, self.size + chosen):
            self._count(at)

    def allow(self, allowed: np.ndarray) -> None:
        """From now on only those that bool [pool] says may be chosen."""
        self._allowed = np.where(allowed, self._relevance, -np.inf)

    def forbid(self, some: np.ndarray | int) -> None:
        """From now on one, or those that bool [pool] says, may not be chosen."""
        self._allowed[some] = -np.inf

    def best(self) -> int | None:
        """The first candidate with the largest value of those that may be chosen; None if there is none."""
        at = int(np.subtract(self._allowed, self._nearest, out=self._value).argmax())
        return None if self._allowed[at] == -np.inf else at

    def choose(self, at: int) -> None:
        """Counts a candidate as chosen."""
        self._allowed[at] = -np.inf
        self._count(at)

    def _count(self, at: int) -> None:
        np.maximum(self._nearest, self._unlikeness * self._likeness.to(at)[: self.size], out=self._nearest)


def to_unit(values: np.ndarray) -> np.ndarray:
    """Values moved and stretched to 0 to 1; minus infinity is 0, and all others are 1 where they do not differ."""
    finite = np.isfinite(values)
    if not finite.any():
        return np.zeros(len(values))
    least, most = values[finite].min(), values[finite].max()
    if least == most:
        return finite.astype(float)
    return np.where(finite, (values - least) / (most - least), 0.0)
