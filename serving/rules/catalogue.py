"""The items as rules know them, changed while they are read."""

from __future__ import annotations

import dataclasses
import pathlib
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from serving.review.entry import ITEM_ID
from serving.rules import catalogue_table
from serving.rules.catalogue_table import CatalogueError
from serving.rules.snapshot import FIRST_SEEN, IN_STOCK, NUMBERS, REGIONS, Snapshot

#: A field that rules may name and no column has: days since `first_seen`.
AGE_DAYS = "age_days"


class Catalogue:
    """Hands out the newest snapshot of the items; a change makes a new one, and who holds an old one keeps it whole.

    Safe to share between threads: readers take no lock, writers wait for each other.

    Args:
      snapshot: what is known at first.

    Example:
      >>> catalogue = Catalogue(Snapshot.of(["tea", "mug"], {"category": ["Food > Tea", "Kitchen"]}))
      >>> catalogue.update("tea", in_stock=False)
      >>> print(catalogue.snapshot.in_stock)
      [False  True  True]
    """

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._writing = threading.Lock()

    @classmethod
    def read(cls, path: str | pathlib.Path, columns: Sequence[str] = ()) -> Catalogue:
        """The catalogue of a table (`catalogue_table.read_table` says of what form).

        Raises:
          CatalogueError: if it cannot be used.
        """
        return cls(catalogue_table.read_table(pathlib.Path(path), columns))

    @property
    def snapshot(self) -> Snapshot:
        """What is known now."""
        return self._snapshot

    @property
    def fields(self) -> tuple[str, ...]:
        """What rules may name: `RuleSet.load(path, known_fields=catalogue.fields)`."""
        snapshot = self._snapshot
        numbers = [AGE_DAYS if name == FIRST_SEEN else name for name in snapshot.numbers]
        return (ITEM_ID, *(name for name in snapshot.texts if name != REGIONS), *numbers)

    def replace(self, snapshot: Snapshot) -> None:
        """Takes another snapshot in the place of the one that is there, such as that of tomorrow's table.

        Items keep their vectors, unless the snapshot brings vectors of its own.

        Raises:
          CatalogueError: if it lacks a column of the one that is there, which rules may name; then nothing has changed.
        """
        with self._writing:
            old = self._snapshot
            columns = (*old.texts, *old.numbers)
            missing = [name for name in columns if name not in snapshot.texts and name not in snapshot.numbers]
            if missing:
                raise CatalogueError(f"the snapshot has no column `{missing[0]}`; expected {', '.join(columns)}.")
            if snapshot.vectors is None and old.vectors is not None:
                rows = np.append(old.rows(snapshot.item_ids), -1)  # new items have none, as the last row has
                snapshot = dataclasses.replace(snapshot, vectors=old.vectors[rows])
            self._snapshot = snapshot

    def update(self, item_id: str, **values: Any) -> None:
        """Changes what is known of one item: `update("tea", in_stock=False, price=4.2)`.

        Args:
          item_id: of an item that is there.
          **values: `in_stock` (bool), a number (`price`, `min_age`, `first_seen`), `regions` (a list) or a text.

        Raises:
          CatalogueError: for an unknown item or field, or a value of another kind.
        """
        self.update_many({item_id: values})

    def update_many(self, changes: Mapping[str, Mapping[str, Any]]) -> None:
        """Changes several items at once, all or none: one copy of each column in place of one an item.

        Args:
          changes: item id -> what `update` takes.

        Raises:
          CatalogueError: as for `update`; then nothing has changed.
        """
        with self._writing:
            snapshot = self._snapshot
            of_field: dict[str, tuple[list[int], list[Any]]] = {}
            for item_id, values in changes.items():
                if item_id not in snapshot.index:
                    raise CatalogueError(f"item {item_id!r} is not in the catalogue; expected one of its items.")
                for name, value in values.items():
                    rows, found = of_field.setdefault(name, ([], []))
                    rows.append(snapshot.index[item_id])
                    found.append(_checked(snapshot, item_id, name, value))
            in_stock, numbers, texts = snapshot.in_stock, dict(snapshot.numbers), dict(snapshot.texts)
            for name, (rows, found) in of_field.items():
                if name in texts:
                    texts[name] = texts[name].changed(rows, found)
                    continue
                column = (in_stock if name == IN_STOCK else numbers[name]).copy()
                column[rows] = found
                if name == IN_STOCK:
                    in_stock = column
                else:
                    numbers[name] = column
            self._snapshot = dataclasses.replace(snapshot, in_stock=in_stock, numbers=numbers, texts=texts)

    def set_vectors(self, item_ids: Sequence[str], vectors: np.ndarray) -> None:
        """Gives items the vectors by which their likeness is measured, in place of those they had.

        Args:
          item_ids: n of the catalogue; those that are left out have no vector and are like no other item.
          vectors: float [n, d], such as those of the signature `embed_item`; of any length but 0.

        Raises:
          CatalogueError: for an unknown item, another shape, or a vector that is no direction.
        """
        found = np.asarray(vectors, np.float32)
        if found.ndim != 2 or len(found) != len(item_ids):
            raise CatalogueError(
                f"`vectors` has the shape {found.shape}; expected one row for each of {len(item_ids)} items."
            )
        lengths = np.linalg.norm(found, axis=1, keepdims=True)
        bad = np.flatnonzero(~(np.isfinite(lengths[:, 0]) & (lengths[:, 0] > 0)))
        if len(bad):
            raise CatalogueError(
                f"the vector of item {item_ids[bad[0]]!r} has the length {lengths[bad[0], 0]}; expected more than 0."
            )
        with self._writing:
            snapshot = self._snapshot
            rows = snapshot.rows(item_ids)
            if (rows < 0).any():
                unknown = item_ids[int(np.argmin(rows))]
                raise CatalogueError(f"item {unknown!r} is not in the catalogue; expected one of its items.")
            whole = np.zeros([len(snapshot.in_stock), found.shape[1]], np.float32)
            whole[rows] = found / lengths
            self._snapshot = dataclasses.replace(snapshot, vectors=whole)


def _checked(snapshot: Snapshot, item_id: str, name: str, value: Any) -> Any:
    def wrong(expected: str) -> CatalogueError:
        return CatalogueError(f"`{name}` of item {item_id!r} is {value!r}; expected {expected}.")

    if name == IN_STOCK:
        if not isinstance(value, (bool, np.bool_)):
            raise wrong("true or false")
        return value
    if name in snapshot.numbers:
        if value is None:
            return NUMBERS[name]
        if isinstance(value, (bool, str)):
            raise wrong("a number from 0")
        try:
            return catalogue_table.as_number(value)
        except (TypeError, ValueError):
            raise wrong("a number from 0") from None
    if name == REGIONS:
        if not isinstance(value, (list, tuple, set, frozenset)) or not all(isinstance(one, str) for one in value):
            raise wrong("a list of regions")
        return catalogue_table.as_regions(list(value))
    if name not in snapshot.texts:
        known = ", ".join([IN_STOCK, *snapshot.numbers, *snapshot.texts])
        raise CatalogueError(f"unknown field `{name}` of item {item_id!r}; expected one of {known}.")
    if not isinstance(value, str):
        raise wrong("a text")
    return value
