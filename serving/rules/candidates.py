"""What may be shown in one answer, as arrays."""

from __future__ import annotations

from collections.abc import Set

import numpy as np

from serving.rules.snapshot import Snapshot


class Candidates:
    """Items with what a snapshot knows of them.

    Args:
      places: item id -> place, from 0, in this order.
      snapshot: of the catalogue.

    Attributes:
      places: as given.
      item_ids: in order.
      rows: int64 [n], rows of the snapshot, -1 for unknown items.
    """

    def __init__(self, places: dict[str, int], snapshot: Snapshot) -> None:
        self.places = places
        self.item_ids = list(places)
        self.snapshot = snapshot
        self.rows = snapshot.rows(self.item_ids)
        self._codes: dict[str, np.ndarray] = {}
        self._numbers: dict[str, np.ndarray] = {}

    def __len__(self) -> int:
        return len(self.item_ids)

    def codes(self, field: str) -> np.ndarray:
        """int32 [n], codes of a text column; 0 where nothing is known."""
        if field not in self._codes:
            self._codes[field] = self.snapshot.texts[field].codes.take(self.rows)
        return self._codes[field]

    def numbers(self, field: str) -> np.ndarray:
        """float [n], a column of numbers; what a snapshot has there where nothing is known."""
        if field not in self._numbers:
            self._numbers[field] = self.snapshot.numbers[field].take(self.rows)
        return self._numbers[field]

    def among(self, item_ids: Set[str]) -> np.ndarray:
        """bool [n], whether an item is one of some."""
        if len(item_ids) > len(self):  # such as all that is forbidden: nothing may walk through them
            return np.fromiter(map(item_ids.__contains__, self.item_ids), bool, len(self))
        found = np.zeros(len(self), bool)
        found[[self.places[item_id] for item_id in item_ids if item_id in self.places]] = True
        return found
