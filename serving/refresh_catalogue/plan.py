"""Which row of a SavedModel's tables each item of a new table has, and which rows are answered."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from serving.refresh_catalogue.errors import RefreshError

#: Begins the line of a row that no item has any more; no id does.
FREED = "\x1f"


@dataclass(frozen=True)
class Plan:
    """What becomes of the rows.

    Attributes:
      item_ids: str [m], by row: those that were in use, and those that are taken.
      rows: int64 [n], of the items of the table; -1 for those that are not taken in.
      added: bool [n], which of them are taken in now.
      offered: bool [m], which rows hold an item that is in stock.
    """

    item_ids: list[str]
    rows: np.ndarray
    added: np.ndarray
    offered: np.ndarray

    @classmethod
    def of(
        cls,
        known: Sequence[str],
        fitted: np.ndarray,
        capacity: int,
        item_ids: Sequence[str],
        in_stock: np.ndarray,
        forbidden: Collection[str],
    ) -> Plan:
        """Gives each item the row that it has, or the next spare one.

        An item that the catalogue lacks is taken in when it is in stock and not forbidden. One that the catalogue has
        and that the fit could not recommend, since it was first seen after its cut, moves to a spare row: what was
        calibrated is left as it is. An item that left the table keeps its row, so that it counts in histories.

        Args:
          known: ids by row.
          fitted: bool, one a row, which of them may be recommended.
          capacity: rows that there are.
          item_ids: of the table, each once.
          in_stock: bool [n].
          forbidden: ids that are not taken in.

        Raises:
          RefreshError: if there are too few spare rows.
        """
        row_of = {item_id: row for row, item_id in enumerate(known) if fitted[row]}
        rows = np.array([row_of.get(item_id, -1) for item_id in item_ids], np.int64)
        allowed = np.array([item_id not in forbidden for item_id in item_ids], bool)
        added = (rows < 0) & in_stock & allowed
        room = capacity - len(known)
        if added.sum() > room:
            raise RefreshError(
                f"the table has {added.sum():,} new items and the version {room:,} spare rows left for them; expected "
                "a model that was trained on the new items, or exported with a larger `export.spare_items`."
            )
        rows[added] = np.arange(len(known), len(known) + added.sum())
        taken = [item_id for item_id, new in zip(item_ids, added, strict=True) if new]
        moved = set(taken)
        named = [f"{FREED}{row}" if item_id in moved else item_id for row, item_id in enumerate(known)]
        offered = np.zeros(len(known) + len(taken), bool)
        offered[rows[(rows >= 0) & in_stock]] = True
        return cls([*named, *taken], rows, added, offered)
