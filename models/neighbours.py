"""Items that are met near each other, or are described alike, as a table of each item's nearest ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sparse

#: Pairs that are held before they are summed, 24 bytes each.
_PAIRS_AT_ONCE = 5_000_000

#: Items whose texts are compared with all others at once.
_ITEMS_AT_ONCE = 500


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


@dataclass(frozen=True)
class Evidence:
    """What is known of each item and those near it; all 0 where there are fewer than k.

    Attributes:
      rows: int32 [V, k], the items j near item i.
      weights: float32 [V, k], w(i, j) as `count_neighbours` has it.
      cosines: float32 [V, k], of their texts.
      counts: int32 [V, k, 3], how often j came anywhere after i, before i, and as the very next event after i.
      events: int32 [V], how often each item was met.
    """

    rows: np.ndarray
    weights: np.ndarray
    cosines: np.ndarray
    counts: np.ndarray
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
    (summed,), events = _sums(sequences, items, pairs, [lambda distance: distance**-pairs.nearness])
    weighed = _weighed(summed, events, pairs)
    number = min(number, items)
    rows, weights = np.zeros([items, number], np.int32), np.zeros([items, number], np.float32)
    for item in range(items):
        columns, values = _largest(weighed, item, number)
        rows[item, : len(columns)] = columns
        weights[item, : len(columns)] = values
    return Neighbours(rows, weights, events)


def similar_texts(tokens: np.ndarray, ignored: Sequence[int], number: int) -> sparse.csr_matrix:
    """Cosines of the items' texts, of each item with the `number` nearest others, [V, V].

    A text is the set of its tokens, each weighed by ln(V / number of items that have it); tokens in more than 20,000
    items are left out, as comparing all their items would take hours.

    Args:
      tokens: int [V, T].
      ignored: tokens that are no words.
      number: of other items kept for each one.

    Reference: Sparck Jones, A Statistical Interpretation of Term Specificity and its Application in Retrieval (1972).
    """
    items = len(tokens)
    item, place = np.nonzero(~np.isin(tokens, ignored))
    bags = sparse.csr_matrix((np.ones(len(item)), (item, tokens[item, place])), shape=(items, int(tokens.max()) + 1))
    bags.data[:] = 1  # a token that comes twice counts once
    having = np.asarray(bags.sum(0)).ravel()
    rarity = np.where((having > 0) & (having <= 20_000), np.log(items / np.maximum(having, 1)), 0)
    bags = bags @ sparse.diags(rarity)
    norms = np.sqrt(np.asarray(bags.multiply(bags).sum(1)).ravel())
    bags = (sparse.diags(1 / np.where(norms > 0, norms, 1)) @ bags).tocsr().astype(np.float32)
    found: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for start in range(0, items, _ITEMS_AT_ONCE):
        cosines = (bags[start : start + _ITEMS_AT_ONCE] @ bags.T).tocsr()
        for row in range(cosines.shape[0]):
            columns, values = _largest(cosines, row, number + 1)
            others = (columns != start + row) & (values > 0)
            columns, values = columns[others][:number], values[others][:number]
            found.append((np.full(len(columns), start + row), columns, values))
    rows, columns, values = (np.concatenate(part) for part in zip(*found, strict=True))
    return sparse.csr_matrix((values, (rows, columns)), shape=(items, items))


def count_evidence(
    sequences: Iterable[np.ndarray],
    items: int,
    number: int,
    content: sparse.csr_matrix,
    pairs: PairWeights = PairWeights(),
) -> Evidence:
    """What sequences and texts say of each item's neighbours: those of largest weight, and those of similar texts.

    Args:
      sequences: int [n] each, rows of the catalogue, oldest first.
      items: V.
      number: of items kept for each for their weight.
      content: what `similar_texts` found, [V, V].
      pairs: exponents and lengths.
    """
    kinds: list[Callable[[np.ndarray], np.ndarray]] = [
        lambda distance: distance**-pairs.nearness,
        np.ones_like,
        lambda distance: (distance == 1).astype(float),
    ]
    (summed, after, following), events = _sums(sequences, items, pairs, kinds)
    weighed = _weighed(summed, events, pairs)
    kept = []
    for item in range(items):
        near = _largest(weighed, item, number)[0]
        alike = content.indices[content.indptr[item] : content.indptr[item + 1]]
        kept.append(np.union1d(near, alike))
    width = max(1, max(len(near) for near in kept))
    rows = np.zeros([items, width], np.int32)
    for item, near in enumerate(kept):
        rows[item, : len(near)] = near
    real = np.arange(width) < np.array([len(near) for near in kept])[:, np.newaxis]
    of, place = np.nonzero(real)
    found = np.zeros([5, items, width], np.float32)
    for values, matrix in zip(found, (weighed, content, after, after.T.tocsr(), following), strict=True):
        values[of, place] = _values(matrix, of, rows[of, place])
    counts = np.moveaxis(found[2:], 0, -1).astype(np.int32)
    return Evidence(rows, found[0], found[1], counts, events.astype(np.int32))


def _sums(
    sequences: Iterable[np.ndarray],
    items: int,
    pairs: PairWeights,
    kinds: Sequence[Callable[[np.ndarray], np.ndarray]],
) -> tuple[list[sparse.csr_matrix], np.ndarray]:
    """For each kind a matrix [V, V], sums over pairs (i, later j) of what it makes of their distance; events [V]."""
    events = np.zeros(items)
    sums = [sparse.csr_matrix((items, items)) for _ in kinds]
    parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    held = 0

    def add() -> None:
        first, second, distance = (np.concatenate(column) for column in zip(*parts, strict=True))
        for place, kind in enumerate(kinds):
            found = sparse.csr_matrix((kind(distance), (first, second)), shape=(items, items))
            found.eliminate_zeros()
            sums[place] += found

    for sequence in sequences:
        newest = sequence[-pairs.max_history :]
        np.add.at(events, newest, 1)
        a, b = np.triu_indices(len(newest), 1)
        parts.append((newest[a], newest[b], (b - a).astype(np.float64)))
        held += len(a)
        if held > _PAIRS_AT_ONCE:
            add()
            parts, held = [], 0
    if parts:
        add()
    return sums, events


def _weighed(summed: sparse.csr_matrix, events: np.ndarray, pairs: PairWeights) -> sparse.csr_matrix:
    """The weights of `count_neighbours`, [V, V], from the sums of nearness."""
    several = 1.0 + events
    weighed = sparse.diags(several**-pairs.from_exponent) @ (summed + pairs.backward * summed.T)
    weighed = weighed @ sparse.diags(several**-pairs.to_exponent)
    return (weighed - sparse.diags(weighed.diagonal())).tocsr()


def _largest(matrix: sparse.csr_matrix, row: int, number: int) -> tuple[np.ndarray, np.ndarray]:
    """(columns, values) of the largest positive values of a row, largest first."""
    columns = matrix.indices[matrix.indptr[row] : matrix.indptr[row + 1]]
    values = matrix.data[matrix.indptr[row] : matrix.indptr[row + 1]]
    if len(values) > number:
        # Ties at the edge are kept here, for the stable order to choose of.
        least = np.partition(values, len(values) - number)[len(values) - number] if number else np.inf
        columns, values = columns[values >= least], values[values >= least]
    order = np.argsort(-values, kind="stable")[:number]
    order = order[values[order] > 0]
    return columns[order], values[order]


def _values(matrix: sparse.csr_matrix, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """The matrix' values at (rows, columns), 0 where it stores none."""
    matrix.sum_duplicates()
    stored = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr)) * matrix.shape[1] + matrix.indices
    wanted = rows.astype(np.int64) * matrix.shape[1] + columns
    if not len(stored):
        return np.zeros(len(wanted), np.float32)
    places = np.minimum(np.searchsorted(stored, wanted), len(stored) - 1)
    return np.where(stored[places] == wanted, matrix.data[places], 0).astype(np.float32)
