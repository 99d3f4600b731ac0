"""The rows of items, found for hundreds of ids at once."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

#: Ids from which on the table is quicker than a dict.
_MANY = 64
_HASH, _ROW = 0, 1


class RowIndex(dict[str, int]):
    """Item id -> row, a dict that also answers many ids in a few steps of NumPy.

    A dict waits for memory several times an id, one id after the other, which for 500 ids of a large catalogue is the
    largest part of what an answer costs. The table beside it holds hash and row next to each other (linear probing, at
    most a quarter full), and NumPy waits for all ids at the same time.

    The table takes ids with the same 64-bit hash for the same: of a million items, an unknown id is taken for a known
    one in 10^13 look-ups once. Where two of the items have the same hash, there is no table.

    Args:
      item_ids: by row, each once; one that is there again has its last row.
    """

    def __init__(self, item_ids: Sequence[str]) -> None:
        super().__init__(zip(item_ids, range(len(item_ids)), strict=True))
        hashes = np.fromiter(map(hash, self), np.int64, len(self))
        self._table = _table(hashes, self) if len(np.unique(hashes)) == len(self) > 0 else None

    def rows(self, item_ids: Sequence[str]) -> np.ndarray:
        """int64 [n], rows of items, -1 for those that are not there."""
        if self._table is None or len(item_ids) < _MANY:
            return np.fromiter(map(self.get, item_ids, itertools.repeat(-1)), np.int64, len(item_ids))
        hashes = np.fromiter(map(hash, item_ids), np.int64, len(item_ids))
        mask = len(self._table) - 1
        slots = hashes & mask
        found = self._table.take(slots, axis=0)
        rows = found[:, _ROW].copy()
        others = ((found[:, _HASH] != hashes) & (rows >= 0)).nonzero()[0]  # another item is in their place
        while others.size:
            slots = (slots + 1) & mask
            found = self._table.take(slots[others], axis=0)
            rows[others] = found[:, _ROW]
            others = others[(found[:, _HASH] != hashes[others]) & (found[:, _ROW] >= 0)]
        return rows


def _table(hashes: np.ndarray, index: dict[str, int]) -> np.ndarray:
    """int64 [a power of two, 2], hash and row; row -1 where nothing is."""
    rows = np.fromiter(index.values(), np.int64, len(index))
    size = 1 << (4 * len(index)).bit_length()
    table = np.zeros([size, 2], np.int64)
    table[:, _ROW] = -1
    left, slots = np.arange(len(index)), hashes & (size - 1)
    while left.size:
        free = left[table[slots[left], _ROW] < 0]
        placed = free[np.unique(slots[free], return_index=True)[1]]  # the first of those that want the same place
        table[slots[placed], _HASH], table[slots[placed], _ROW] = hashes[placed], rows[placed]
        left = left[table[slots[left], _HASH] != hashes[left]]
        slots[left] = (slots[left] + 1) & (size - 1)
    return table
