"""The catalogue as decisions need it: one code per item, and what the events say of each."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from models.item_text import item_text
from tfx_pipeline.example_gen.boundaries import DAY, Boundaries
from tfx_pipeline.raw_tables.adapter import IMAGE_EMBEDDING

#: `first_event` of an item without events.
NEVER = np.iinfo(np.int64).max


class ItemTable:
    """The items table, sorted by id; an item's place in it is its code.

    Args:
      items: `ITEM_COLUMNS`, one row an item, and `IMAGE_EMBEDDING` where the data declares it.
      relations: `RELATION_COLUMNS`, of items of the table alone; None where the catalogue shall have none.

    Attributes:
      ids, titles, descriptions, texts, categories, brands: object arrays of `str`.
      prices: float64, NaN when unknown.
      first_seen: int64 seconds, 0 when the table does not say.
      category_codes: int64, 0 for items without a category.
      images: object array of float32 [w] or None, an item each; None where the data declares none.
      relations: (codes of items, ascending; kinds; codes of related items), in the table's order for each item; None
        where the catalogue shall have none.
    """

    def __init__(self, items: pd.DataFrame, relations: pd.DataFrame | None = None) -> None:
        items = items.sort_values("item_id", kind="stable")
        self.ids = items["item_id"].to_numpy(object)
        self.titles = items["title"].to_numpy(object)
        self.descriptions = items["description"].to_numpy(object)
        self.categories = items["category"].to_numpy(object)
        self.brands = items["brand"].to_numpy(object)
        self.prices = items["price"].to_numpy(np.float64)
        self.first_seen = items["first_seen"].to_numpy(np.int64)
        columns = ("title", "brand", "category", "description")
        rows = zip(*(items[column] for column in columns), strict=True)
        self.texts = np.array([item_text(dict(zip(columns, row, strict=True))) for row in rows] + [None], object)[:-1]
        codes, names = pd.factorize(self.categories)
        self.category_codes = np.where(self.categories == "", 0, codes + 1) if len(names) else codes
        self.images = items[IMAGE_EMBEDDING].to_numpy(object) if IMAGE_EMBEDDING in items else None
        self._index = pd.Index(self.ids)
        self.relations: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None
        if relations is not None:
            ones, others = self.codes(relations["item_id"]), self.codes(relations["related_item_id"])
            order = np.argsort(ones, kind="stable")
            self.relations = (ones[order], relations["relation"].to_numpy(object)[order], others[order])

    def __len__(self) -> int:
        return len(self.ids)

    def codes(self, item_ids: pd.Series) -> np.ndarray:
        """int64 codes of ids, -1 for those that are not in the table."""
        return self._index.get_indexer(item_ids)


@dataclass(frozen=True)
class ItemStats:
    """What the events say of each item.

    Attributes:
      first_event: int64 [items], time of the first event of any type, `NEVER` when there is none.
      sales_items, sales_days, sales_counts: int64 [S], label events before eval_until by day (since 1970-01-01 UTC)
        and item, sorted so.
    """

    first_event: np.ndarray
    sales_items: np.ndarray
    sales_days: np.ndarray
    sales_counts: np.ndarray

    @classmethod
    def partial(
        cls, events: pd.DataFrame, table: ItemTable, label_event_types: tuple[str, ...], boundaries: Boundaries
    ) -> pd.DataFrame:
        """What a part of the events says; to be handed to `combine`.

        Args:
          events: `EVENT_COLUMNS`, identical ones merged.
          table: the items.
          label_event_types: event types that make an item a positive.
          boundaries: of the splits.
        """
        times = events["timestamp"].to_numpy(np.int64)
        labels = events["event_type"].isin(label_event_types).to_numpy()
        frame = pd.DataFrame({"item": table.codes(events["item_id"]), "day": times // DAY, "first": times})
        frame["sales"] = labels & (times < boundaries.eval_until)
        return _by_day(frame[frame["item"] >= 0])

    @classmethod
    def combine(cls, partials: Iterable[pd.DataFrame], size: int, always_known: bool = False) -> ItemStats:
        """Joins partial statistics, in any order.

        Args:
          partials: of `partial`.
          size: number of items of the catalogue.
          always_known: whether every item counts as one that had an event at 0.
        """
        parts = list(partials)
        empty = pd.DataFrame({name: np.empty(0, np.int64) for name in ("item", "day", *_STATS)})
        frame = _by_day(pd.concat(parts)) if parts else empty
        items = frame["item"].to_numpy(np.int64)
        first = np.full(size, NEVER)
        np.minimum.at(first, items, frame["first"].to_numpy(np.int64))
        first = np.zeros_like(first) if always_known else first
        sold = frame[frame["sales"] > 0]
        return cls(first, *(sold[name].to_numpy(np.int64) for name in ("item", "day", "sales")))

    def known_from(self, table: ItemTable) -> np.ndarray:
        """int64 [items]: since when an item is known: `first_seen` where the table says it, else its first event.

        An item that has neither has always been there (0); no item is known later than its first event.
        """
        stated = np.where(table.first_seen > 0, table.first_seen, NEVER)
        known = np.minimum(stated, self.first_event)
        return np.where(known == NEVER, 0, known)


_STATS = {"first": "min", "sales": "sum"}


def _by_day(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.groupby(["day", "item"], sort=True, as_index=False).agg(_STATS)
