"""Negatives by popularity, the same on every machine."""

from __future__ import annotations

import hashlib

import numpy as np

from tfx_pipeline.example_gen.boundaries import DAY
from tfx_pipeline.example_gen.item_table import ItemStats


def generator(seed: int, *parts: object) -> np.random.Generator:
    """A generator that depends on nothing but its arguments (Python's `hash` changes from process to process)."""
    text = "\x1f".join(str(part) for part in (seed, *parts))
    digest = hashlib.blake2b(text.encode(), digest_size=16).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest, "little")))


class PopularitySampler:
    """Draws distinct items, each next one with a probability proportional to its weight among those left.

    The weight of an item at a moment is 0 if it has no event before that moment, else 1 plus its label events on the
    UTC days before the moment's own. So nothing at or after the moment counts, and an item that was there but had not
    been bought can be drawn too; otherwise every such candidate would be a positive, and its zero sales would tell.

    Args:
      stats: what the events say of the items.
    """

    def __init__(self, stats: ItemStats) -> None:
        # Whatever is known before a moment is a prefix: of the items by first event, of the sales by day.
        order = np.argsort(stats.first_event, kind="stable")
        self._items, self._since = order, stats.first_event[order]
        self._sold, self._days, self._counts = stats.sales_items, stats.sales_days, stats.sales_counts
        self._cumulative = np.cumsum(stats.sales_counts)

    def draw(self, rng: np.random.Generator, number: int, exclude: np.ndarray, moment: int) -> np.ndarray:
        """Draws `number` item codes, fewer where no more are left.

        Args:
          rng: source of randomness.
          number: of items wanted.
          exclude: int64 codes that must not be drawn.
          moment: seconds since 1970-01-01 UTC; only what lies strictly before it counts.

        Returns:
          int64 codes in the order of drawing.
        """
        known = int(np.searchsorted(self._since, moment, side="left"))
        cells = int(np.searchsorted(self._days, moment // DAY, side="left"))
        if number <= 0 or not known:
            return np.empty(0, np.int64)
        sales = int(self._cumulative[cells - 1]) if cells else 0
        drawn = np.empty(0, np.int64)
        # Drawing with replacement and leaving out what was drawn before is drawing without replacement.
        for _ in range(4):
            points = rng.integers(known + sales, size=2 * number)
            sold = np.searchsorted(self._cumulative[:cells], points[points >= known] - known, side="right")
            found = self._items[np.minimum(points, known - 1)]
            found[points >= known] = self._sold[sold]
            drawn = np.concatenate([drawn, found])
            _, first = np.unique(drawn, return_index=True)
            drawn = drawn[np.sort(first)]
            drawn = drawn[~np.isin(drawn, exclude)]
            if len(drawn) >= number:
                return drawn[:number]
        # Few items hold most of the weight: exponential races (Efraimidis and Spirakis, 2006) end the same way.
        weights = np.bincount(self._sold[:cells], self._counts[:cells], minlength=len(self._items))
        codes = np.sort(self._items[:known])
        codes = codes[~np.isin(codes, np.concatenate([drawn, exclude]))]
        arrival = rng.exponential(size=len(codes)) / (1 + weights[codes])
        return np.concatenate([drawn, codes[np.argsort(arrival, kind="stable")]])[:number]
