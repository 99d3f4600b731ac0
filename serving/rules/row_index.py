"""The rows of items, found for hundreds of ids at once."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

#: Ids from which on the table is quicker than a dict.
_MANY = 64
#: Items of a bucket at most; with hash and row of each, 8 bytes, it is what memory brings at once.
_WAYS = 4


class RowIndex(dict[str, int]):
    """Item id -> row, a dict that also answers many ids in a few steps of NumPy.

    A dict waits for memory several times an id, one id after the other, which for 500 ids of a large catalogue is the
    largest part of what an answer costs. The table beside it has the hashes and rows of the few items that share a
    bucket next to each other, at most one item a bucket at the mean, and NumPy waits for all ids at the same time. The
    few that find their bucket full are left to the dict.

    The table takes ids with the same 64-bit hash for the same: of a million items, an unknown id is taken for a known
    one in 10^13 look-ups once. Where two of the items have the same hash, there is no table.

    Args:
      item_ids: by row, each once; one that is there again has its last row.
    """

    def __init__(self, item_ids: Sequence[str]) -> None:
        super().__init__(zip(item_ids, range(len(item_ids)), strict=True))
        hashes = np.fromiter(map(hash, self), np.int64, len(self))
        self._has_table = len(np.unique(hashes)) == len(self) > 0
        if self._has_table:
            self._table, self._overflows = _table(hashes, np.fromiter(self.values(), np.int64, len(self)))

    def rows(self, item_ids: Sequence[str]) -> np.ndarray:
        """int64 [n], rows of items, -1 for those that are not there."""
        if not self._has_table or len(item_ids) < _MANY:
            return np.fromiter(map(self.get, item_ids, itertools.repeat(-1)), np.int64, len(item_ids))
        hashes = np.fromiter(map(hash, item_ids), np.int64, len(item_ids))
        found = self._table.take(hashes & (len(self._table) - 1), axis=0)
        rows = np.full(len(hashes), -1)
        for way in range(_WAYS):  # a few long steps are quicker than one over an axis of four
            rows += found[:, _WAYS + way] * (found[:, way] == hashes)
        if self._overflows:
            for at in (rows < 0).nonzero()[0].tolist():
                rows[at] = self.get(item_ids[at], -1)
        return rows


def _table(hashes: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, bool]:
    """(int64 [a power of two, 2 * ways]: hashes of a bucket, then their rows + 1 or 0; whether any bucket overflows)"""
    buckets = 1 << max(len(hashes) - 1, 0).bit_length()
    wanted = hashes & (buckets - 1)
    order = np.argsort(wanted, kind="stable")
    wanted = wanted[order]
    way = np.arange(len(order)) - np.searchsorted(wanted, wanted)
    fits = way < _WAYS
    table = np.zeros([buckets, 2 * _WAYS], np.int64)
    table[wanted[fits], way[fits]] = hashes[order[fits]]
    table[wanted[fits], _WAYS + way[fits]] = rows[order[fits]] + 1
    return table, not fits.all()
