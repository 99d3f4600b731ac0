"""What rules know of the items, at one moment."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from serving.rules.columns import TextColumn
from serving.rules.row_index import RowIndex

CATEGORY, BRAND, REGIONS = "category", "brand", "regions"
PRICE, MIN_AGE, FIRST_SEEN, IN_STOCK = "price", "min_age", "first_seen", "in_stock"
#: Numbers of an item -> what stands where nothing is known.
NUMBERS = {PRICE: np.nan, MIN_AGE: 0.0, FIRST_SEEN: 0.0}


@dataclass(frozen=True, eq=False)
class Snapshot:
    """Arrays over the items of a catalogue; a change makes another snapshot.

    The last row of each stands for an item that is not there.

    Attributes:
      index: item id -> row.
      texts: `category`, `brand`, `regions` (names joined by "|", "" for everywhere) and further ones -> column.
      numbers: `price` (NaN where unknown), `min_age` (years, 0 for none), `first_seen` (seconds since 1970-01-01 UTC, 0
        for always) -> float [items + 1].
      in_stock: bool [items + 1], true where unknown.
      vectors: float32 [items + 1, d] of length 1, or of zeros for an item without one; None if no item has one.
    """

    index: RowIndex
    texts: Mapping[str, TextColumn]
    numbers: Mapping[str, np.ndarray]
    in_stock: np.ndarray
    vectors: np.ndarray | None = None

    @classmethod
    def of(
        cls,
        item_ids: Sequence[str],
        texts: Mapping[str, Sequence[str]],
        numbers: Mapping[str, Sequence[float] | np.ndarray] | None = None,
        in_stock: Sequence[bool] | np.ndarray | None = None,
    ) -> Snapshot:
        """The snapshot of columns with one value an item; those that are left out are unknown for all items.

        Raises:
          ValueError: if an id is there twice.
        """
        index = RowIndex(item_ids)
        if len(index) != len(item_ids):
            raise ValueError("`item_ids` has an id twice; expected each item once.")
        nothing = [""] * len(item_ids)
        columns = {CATEGORY: nothing, BRAND: nothing, REGIONS: nothing, **texts}
        known = {name: (numbers or {}).get(name, [unknown] * len(item_ids)) for name, unknown in NUMBERS.items()}
        return cls(
            index,
            {name: TextColumn.of(column) for name, column in columns.items()},
            {name: np.append(np.asarray(column, float), NUMBERS[name]) for name, column in known.items()},
            np.append(np.ones(len(item_ids), bool) if in_stock is None else np.asarray(in_stock, bool), True),
        )

    @functools.cached_property
    def item_ids(self) -> tuple[str, ...]:
        """Ids by row."""
        return tuple(self.index)

    def rows(self, item_ids: Sequence[str]) -> np.ndarray:
        """int64 [n], rows of items, -1 (the last row) for those that are not there."""
        return self.index.rows(item_ids)

    def sold_in(self, region: str) -> np.ndarray:
        """bool [distinct `regions`], whether items with them are sold in a region."""
        tables = self.texts[REGIONS].region_tables
        return tables[""] | tables.get(region, tables[""])
