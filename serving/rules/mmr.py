"""Maximal marginal relevance: what is good and unlike what is shown already."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


class Likeness:
    """How alike candidates are to those of a pool; one is held against them only when it is asked for, as most are not.

    Args:
      vectors: float [rows, d] of length 1 (or 0): likeness is the cosine. None: the share of `codes` that two items
        have in common.
      codes: each int [rows], 0 for nothing known.
      rows: int [candidates], of the catalogue.
      pool: int [n], candidates.
      weight: that all likeness is multiplied with.
    """

    def __init__(
        self,
        vectors: np.ndarray | None,
        codes: Sequence[np.ndarray],
        rows: np.ndarray,
        pool: np.ndarray,
        weight: float = 1.0,
    ) -> None:
        self._vectors, self._codes, self._rows, self._weight = vectors, codes, rows, weight
        of_pool = rows[pool]
        if vectors is None:
            self._pool_codes = [column[of_pool] for column in codes]
        else:
            self._pool_vectors = vectors[of_pool]
            self._weighted = np.float32(weight) * self._pool_vectors
        self._size = len(pool)

    def extend(self, rows: np.ndarray) -> None:
        """Adds candidates behind those that are there; not to the pool."""
        self._rows = np.concatenate([self._rows, rows])

    def within(self, at: int) -> np.ndarray:
        """float [n], of each of the pool to one of its own, the one at a place of it."""
        if self._vectors is not None:
            return self._weighted.dot(self._pool_vectors[at])
        return self._shared([column[at] for column in self._pool_codes])

    def to(self, place: int) -> np.ndarray:
        """float [n], of each of the pool to any candidate."""
        row = self._rows[place]
        if self._vectors is not None:
            return self._weighted.dot(self._vectors[row])
        return self._shared([column[row] for column in self._codes])

    def _shared(self, codes: Sequence[int]) -> np.ndarray:
        same = [column == code for column, code in zip(self._pool_codes, codes, strict=True) if code]
        if not same:
            return np.zeros(self._size)
        return np.add.reduce(same, axis=0, dtype=float) * (self._weight / len(self._codes))


class MarginalRelevance:
    """weight · relevance − (1 − weight) · (largest likeness to what was chosen), of candidates, while some are chosen.

    Likeness below 0 counts as 0, and so does that to nothing. Carbonell and Goldstein, *The use of MMR* (SIGIR 1998).

    Args:
      relevance: float [pool], from 0 to 1, times its weight.
      likeness: to the pool, times its weight.
      chosen: candidates that are chosen from the start.
    """

    def __init__(self, relevance: np.ndarray, likeness: Likeness, chosen: Sequence[int] = ()) -> None:
        self.size = len(relevance)
        self.likeness = likeness
        self._relevance = relevance
        self._nearest = np.zeros(self.size)
        self._allowed = relevance.copy()  # minus infinity for what may not be chosen
        self._value = np.empty(self.size)
        for place in chosen:
            np.maximum(self._nearest, likeness.to(place), out=self._nearest)

    def allow(self, allowed: np.ndarray) -> None:
        """From now on only those that bool [pool] says may be chosen."""
        self._allowed = np.where(allowed, self._relevance, -np.inf)

    def best(self) -> int:
        """The first of the pool with the largest value of those that may be chosen, of which there is one."""
        return int(np.subtract(self._allowed, self._nearest, out=self._value).argmax())

    def choose(self, place: int, at: int) -> None:
        """Counts a candidate as chosen, the one at a place of the pool or, from `size` on, one from outside of it."""
        if at < self.size:
            self._allowed[at] = -np.inf
        alike = self.likeness.within(at) if at < self.size else self.likeness.to(place)
        np.maximum(self._nearest, alike, out=self._nearest)


def to_unit(values: np.ndarray) -> np.ndarray:
    """Values moved and stretched to 0 to 1; minus infinity is 0, and all others are 1 where they do not differ."""
    finite = values > -np.inf
    all_finite = finite.all()
    known = values if all_finite else values[finite]
    if not known.size:
        return np.zeros(len(values))
    least, most = known.min(), known.max()
    if least == most:
        return finite.astype(float)
    unit: np.ndarray = (values - least) / (most - least)
    return unit if all_finite else np.where(finite, unit, 0.0)
