"""Counts of items that are met near each other, as a table of each item's nearest ones."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sparse

#: Pairs that are held before they are summed, 24 bytes each.
_PAIRS_AT_ONCE = 5_000_000


@dataclass(frozen=True)
class PairWeights:
    """What a pair of items of a user's sequence counts.

    Attributes:
      max_history: newest events of a user that are paired.
      nearness: a pair at a distance of n events counts n^-nearness.
      backward: what a pair counts against the order of events.
      from_exponent, to_exponent: of the numbers of events of the item that was had and of the one that is ranked, by
        which a pair is divided.
    """

    max_history: int = 50
    nearness: float = 0.5
    backward: float = 0.5
    from_exponent: float = 0.5
    to_exponent: float = 0.25


@dataclass(frozen=True)
class Neighbours:
    """The nearest items of each item.

    Attributes:
      rows: int32 [V, k], largest weight first.
      weights: float32 [V, k], 0 where there are fewer.
      events: float64 [V], how often each item was met.
    """

    rows: np.ndarray
    weights: np.ndarray
    events: np.ndarray


def count_neighbours(
    sequences: Iterable[np.ndarray], items: int, number: int, pairs: PairWeights = PairWeights()
) -> Neighbours:
    """w(i, j) = c(i, j) / (n(i)^from · n(j)^to) of all pairs of different items, the largest `number` for each i.

    c(i, j) sums (b - a)^-nearness over all sequences with i at place a and j at a later place b, plus `backward` times
    c(j, i); n(i) is 1 plus the events of i.

    Args:
      sequences: int [n] each, rows of the catalogue, oldest first.
      items: V.
      number: k.
      pairs: exponents and lengths.

    Reference: Linden et al., Amazon.com Recommendations: Item-to-Item Collaborative Filtering (2003).
    """
    events = np.zeros(items)
    counted = sparse.csr_matrix((items, items))
    parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    held = 0
    for sequence in sequences:
        newest = sequence[-pairs.max_history :]
        np.add.at(events, newest, 1)
        a, b = np.triu_indices(len(newest), 1)
        parts.append((newest[a], newest[b], (b - a) ** -float(pairs.nearness)))
        held += len(a)
        if held > _PAIRS_AT_ONCE:
            counted, parts, held = counted + _summed(parts, items), [], 0
    if parts:
        counted = counted + _summed(parts, items)
    several = 1.0 + events
    weighed = sparse.diags(several**-pairs.from_exponent) @ (counted + pairs.backward * counted.T)
    weighed = (weighed @ sparse.diags(several**-pairs.to_exponent)).tocsr()
    weighed.setdiag(0)
    number = min(number, items)
    rows, weights = np.zeros([items, number], np.int32), np.zeros([items, number], np.float32)
    for item in range(items):
        start, end = weighed.indptr[item : item + 2]
        order = np.argsort(-weighed.data[start:end], kind="stable")[:number]
        rows[item, : len(order)] = weighed.indices[start:end][order]
        weights[item, : len(order)] = weighed.data[start:end][order]
    return Neighbours(rows, weights, events)


def _summed(parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]], items: int) -> sparse.csr_matrix:
    first, second, weights = (np.concatenate(column) for column in zip(*parts, strict=True))
    return sparse.csr_matrix((weights, (first, second)), shape=(items, items))
