"""A version's SavedModel: what its tables hold, and how another version is made of it without tracing a graph."""

from __future__ import annotations

import functools
import pathlib
import shutil
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_text  # noqa: F401  (registers the tokeniser's ops)

from models import features
from serving import contract
from serving.forbidden_items import FILE as FORBIDDEN_FILE
from serving.forbidden_items import read_forbidden_items, write_forbidden_items
from serving.refresh_catalogue.errors import RefreshError
from serving.refresh_catalogue.items_table import ItemsTable
from serving.refresh_catalogue.record import CatalogueRecord, listed
from serving.signatures import withheld

_VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"
_WEIGHTS = "_weights/"
#: Names that `serving.signatures.CatalogueServable` has for what is written anew beside the weights.
_WITHHELD, _VECTORS = "withheld", "item_vectors"
#: Items that are read, and whose texts are encoded, at once.
_READ_AT_ONCE, _ENCODED_AT_ONCE = 4096, 64


class SavedVersion:
    """The SavedModel of a version that was exported with spare rows.

    Args:
      folder: of the version.

    Attributes:
      record: of its rows.
      item_ids: by row.
      forbidden: ids that it never answers.

    Raises:
      RefreshError: if it was exported without spare rows, or its files do not belong together.
    """

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.record = CatalogueRecord.read(folder)
        self.item_ids = self._vocabulary.read_text(encoding="utf-8").split("\n")[:-1]
        if len(self.item_ids) != len(self.record.fitted):
            raise RefreshError(
                f"{self._vocabulary}: has {len(self.item_ids):,} lines and the record {len(self.record.fitted):,} "
                "rows; expected a version as it was written."
            )
        self.forbidden = read_forbidden_items(self._forbidden)

    @property
    def capacity(self) -> int:
        """Rows that its tables have."""
        return self.record.trained + self.record.spare

    def read(self, table: ItemsTable, places: np.ndarray) -> dict[str, np.ndarray]:
        """Some items of a table as the model has them, by the names of `Fingerprints.of`.

        Args:
          table: of items.
          places: int64 [n], which of them.
        """
        texts, categories, brands = (
            np.array(column, object)[places] for column in (table.texts, table.categories, table.brands)
        )
        found = []
        for start in range(0, len(places), _READ_AT_ONCE):
            part = slice(start, start + _READ_AT_ONCE)
            strings = [tf.constant(column[part].tolist(), tf.string) for column in (texts, categories, brands)]
            read = self._loaded.item_rows.read(*strings, tf.constant(table.prices[places][part], tf.float32))
            found.append([value.numpy() for value in read])
        names = ("tokens", "categories", "brands", "price_buckets", "prices")
        described = {name: np.concatenate(parts) for name, parts in zip(names, zip(*found, strict=True), strict=True)}
        return {**described, "texts": np.array(table.searched, object)[places]}

    def write_rows(self, rows: np.ndarray, described: Mapping[str, np.ndarray], texts: bool) -> None:
        """Writes items into rows of the tables in memory, and leaves all other rows alone.

        Args:
          rows: int64 [n].
          described: as `read` returns it.
          texts: whether their texts are encoded; attributes are written anyhow.
        """
        write = self._loaded.item_rows.write if texts else self._loaded.item_rows.write_attributes
        for start in range(0, len(rows), _ENCODED_AT_ONCE):
            part = slice(start, start + _ENCODED_AT_ONCE)
            values = [column[part] for column in described.values()]
            # Texts, as TensorFlow takes no array of objects.
            values = [tf.constant(value.tolist() if value.dtype == object else value) for value in values]
            write(tf.constant(rows[part], tf.int64), *values)

    def write(
        self, folder: pathlib.Path, record: CatalogueRecord, item_ids: Sequence[str], forbidden: frozenset[str]
    ) -> None:
        """Writes another version: this one's graph and files, the tables as they are in memory, and other items.

        Args:
          folder: an empty one.
          record: of its rows.
          item_ids: by row.
          forbidden: ids that it never answers.
        """
        # The fingerprint speaks of the old variables.
        left_out = shutil.ignore_patterns("variables", "fingerprint.pb")
        shutil.copytree(self.folder, folder, ignore=left_out, dirs_exist_ok=True)
        vocabulary, listed_file = (
            folder / path.relative_to(self.folder) for path in (self._vocabulary, self._forbidden)
        )
        vocabulary.write_text("".join(f"{item_id}\n" for item_id in item_ids), encoding="utf-8")
        write_forbidden_items(listed_file, forbidden)
        record.write(str(folder))
        left = self.capacity - len(item_ids)
        answered = np.append(listed(record, item_ids, forbidden), np.zeros(left, bool))
        self._write_variables(folder, {contract.ITEM_IDS: [*item_ids, *[""] * left], _WITHHELD: withheld(answered)})

    def _write_variables(self, folder: pathlib.Path, changed: Mapping[str, Any]) -> None:
        before = self._checkpoint
        names = sorted(before.get_variable_to_shape_map())
        if missing := set(changed) - {name.removesuffix(_VALUE) for name in names}:
            raise RefreshError(f"{self.folder}: has no variable `{min(missing)}`; expected an export of the same code.")
        loaded = "_loaded" in vars(self)
        tensors: list[Any] = []
        for name in names:
            path = name.removesuffix(_VALUE)
            if path in changed:
                tensors.append(tf.constant(changed[path]))
            elif loaded and path.startswith(_WEIGHTS):
                tensors.append(self._loaded._weights[int(path.removeprefix(_WEIGHTS))].read_value())
            elif loaded and path == _VECTORS:
                tensors.append(self._loaded.item_vectors.read_value())
            else:
                tensors.append(tf.constant(before.get_tensor(name)))
        (folder / "variables").mkdir()
        prefix = str(folder / "variables" / "variables")
        tf.raw_ops.SaveV2(prefix=prefix, tensor_names=names, shape_and_slices=[""] * len(names), tensors=tensors)

    @property
    def _vocabulary(self) -> pathlib.Path:
        return self.folder / "assets" / features.ITEM_VOCABULARY

    @property
    def _forbidden(self) -> pathlib.Path:
        return self.folder / "assets" / FORBIDDEN_FILE

    @property
    def _checkpoint(self) -> Any:
        try:
            return tf.train.load_checkpoint(str(self.folder / "variables" / "variables"))
        except (OSError, ValueError, RuntimeError, tf.errors.OpError):
            raise self._broken() from None

    @functools.cached_property
    def _loaded(self) -> Any:
        try:
            return tf.saved_model.load(str(self.folder))
        except (OSError, ValueError, RuntimeError, tf.errors.OpError):
            raise self._broken() from None

    def _broken(self) -> RefreshError:
        return RefreshError(f"{self.folder}: cannot be loaded; expected a version as it was written.")
