"""What a SavedModel's folder says of the items that its tables hold."""

from __future__ import annotations

import hashlib
import io
import json
import pathlib
import zipfile
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from models import features
from models.item_encoder import ItemTable
from serving import contract
from serving.refresh_catalogue.errors import RefreshError

_FORMAT = 1


@dataclass(frozen=True)
class Fingerprints:
    """What n items are to a model, by which a change is seen.

    Attributes:
      texts: uint64 [n], hashes of tokens and text.
      attributes: uint64 [n], hashes of category and brand.
      price_buckets: int64 [n].
      prices: float32 [n], scaled.
    """

    texts: np.ndarray
    attributes: np.ndarray
    price_buckets: np.ndarray
    prices: np.ndarray

    @classmethod
    def of(
        cls,
        tokens: np.ndarray,
        categories: np.ndarray,
        brands: np.ndarray,
        price_buckets: np.ndarray,
        prices: np.ndarray,
        texts: Sequence[str] | np.ndarray,
    ) -> Fingerprints:
        """Of arrays as `models.item_encoder.ItemTable` and `serving.item_rows.ItemRows` have them."""
        # An unknown category or brand is none to a row that is written anew.
        named = (np.where(ids == features.UNKNOWN_ID, features.PADDING_ID, ids) for ids in (categories, brands))
        attributes = _hashes(np.column_stack([*named]), [""] * len(tokens))
        return cls(_hashes(tokens, texts), attributes, np.asarray(price_buckets), np.asarray(prices, np.float32))

    def at(self, rows: np.ndarray) -> Fingerprints:
        """Those of some rows: bool, or int64."""
        return Fingerprints(*(values[rows] for values in vars(self).values()))

    def put(self, rows: np.ndarray, others: Fingerprints, number: int) -> Fingerprints:
        """These with those of some rows, int64, in their place; there are `number` rows afterwards."""
        found = [np.append(values, np.zeros(number - len(values), values.dtype)) for values in vars(self).values()]
        for values, other in zip(found, vars(others).values(), strict=True):
            values[rows] = other
        return Fingerprints(*found)

    def differ(self, other: Fingerprints) -> tuple[np.ndarray, np.ndarray]:
        """(bool [n], whether texts are not the same; the same of attributes)."""
        other_price = (self.price_buckets != other.price_buckets) | (self.prices != other.prices)
        return self.texts != other.texts, (self.attributes != other.attributes) | other_price


def _hashes(numbers: np.ndarray, texts: Sequence[str] | np.ndarray) -> np.ndarray:
    """uint64 [n], of rows of numbers and texts."""
    rows = zip(np.ascontiguousarray(numbers, "<i8"), texts, strict=True)
    found = [hashlib.blake2b(row.tobytes() + text.encode(), digest_size=8).digest() for row, text in rows]
    return np.frombuffer(b"".join(found), "<u8")


@dataclass(frozen=True)
class CatalogueRecord:
    """The rows of a SavedModel's tables.

    Attributes:
      trained: V, rows that were fitted; the others were spare.
      spare: S, how many.
      fitted: bool [n], which of the n rows in use hold an item that may be recommended; it is not there anew.
      offered: bool [n], which of these are in stock.
      fingerprints: of the n items; None for a model that reads no text or attribute of an item.
      refreshed_from: version that this one was made of without training; None for one that was fitted.
    """

    trained: int
    spare: int
    fitted: np.ndarray
    offered: np.ndarray
    fingerprints: Fingerprints | None
    refreshed_from: int | None = None

    @classmethod
    def of(cls, table: ItemTable, spare: int, reads_items: bool) -> CatalogueRecord:
        """That of a catalogue when it is exported."""
        found = None
        if reads_items:
            assert table.texts is not None
            numbers = (table.tokens, table.categories, table.brands, table.price_buckets, table.prices)
            found = Fingerprints.of(*numbers, table.texts)
        return cls(len(table.servable), spare, table.servable.copy(), table.servable.copy(), found)

    def write(self, version_dir: str) -> None:
        """Writes it into a SavedModel's folder."""
        content = {"format": _FORMAT, "trained": self.trained, "spare": self.spare, "rows": len(self.fitted)}
        tf.io.gfile.makedirs(f"{version_dir}/{contract.CATALOGUE_FILE}".rsplit("/", 1)[0])
        with tf.io.gfile.GFile(f"{version_dir}/{contract.CATALOGUE_FILE}", "w") as file:
            file.write(json.dumps({**content, "refreshed_from": self.refreshed_from}) + "\n")
        found = {} if self.fingerprints is None else vars(self.fingerprints)
        arrays = io.BytesIO()
        np.savez(arrays, fitted=self.fitted, offered=self.offered, **found)
        with tf.io.gfile.GFile(f"{version_dir}/{contract.CATALOGUE_ARRAYS_FILE}", "wb") as file:
            file.write(arrays.getvalue())

    @classmethod
    def read(cls, version_dir: pathlib.Path) -> CatalogueRecord:
        """Reads it.

        Raises:
          RefreshError: if the SavedModel has none, which is so without spare rows, or it cannot be read.
        """
        path = version_dir / contract.CATALOGUE_FILE
        if not path.is_file():
            raise RefreshError(
                f"{version_dir}: was exported without spare rows for items; expected a model that was exported with "
                "`export.spare_items` above 0."
            )
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if content["format"] != _FORMAT:
                raise RefreshError(f"{path}: is of format {content['format']}; expected {_FORMAT}.")
            with np.load(version_dir / contract.CATALOGUE_ARRAYS_FILE) as arrays:
                found = dict(arrays)
            fitted, offered = found.pop("fitted"), found.pop("offered")
            fingerprints = Fingerprints(**found) if found else None
            return cls(content["trained"], content["spare"], fitted, offered, fingerprints, content["refreshed_from"])
        except RefreshError:
            raise
        except (OSError, EOFError, ValueError, TypeError, LookupError, zipfile.BadZipFile):
            raise RefreshError(f"{path}: cannot be read; expected a version as it was written.") from None


def fitted_version(base: pathlib.Path, version: int) -> int:
    """The version in a served folder that was fitted, and of which another one was made by refreshes, if by any."""
    path = base / str(version) / contract.CATALOGUE_FILE
    if not path.is_file():
        return version
    before = json.loads(path.read_text(encoding="utf-8"))["refreshed_from"]
    return version if before is None else fitted_version(base, before)


def listed(record: CatalogueRecord, item_ids: Sequence[str], forbidden: Collection[str]) -> np.ndarray:
    """Bool [n], which rows `recommend` and `search` may answer."""
    return record.offered & np.array([item_id not in forbidden for item_id in item_ids], bool)
