"""A text column of the catalogue as codes, so that a rule looks at each distinct text once."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

#: Between the regions of an item.
REGION_SEPARATOR = "|"


@dataclass(frozen=True, eq=False)
class TextColumn:
    """Texts of the items of a catalogue.

    Attributes:
      codes: int32 [items + 1], places in `names`; the last row stands for items that the catalogue does not know: 0.
      names: the distinct texts; the first one is "", for nothing known.
    """

    codes: np.ndarray
    names: tuple[str, ...]

    @classmethod
    def of(cls, texts: Sequence[str]) -> TextColumn:
        """The column of one text an item."""
        codes, names = pd.factorize(np.array(["", *texts], dtype=object))
        return cls(np.append(codes[1:], 0).astype(np.int32), tuple(names))

    @functools.cached_property
    def code_of(self) -> dict[str, int]:
        """Text -> its place in `names`."""
        return {name: code for code, name in enumerate(self.names)}

    @functools.cached_property
    def region_tables(self) -> dict[str, np.ndarray]:
        """Region -> bool [names], which of the names (regions joined by "|") have it; "" -> which have none."""
        tables = {"": np.zeros(len(self.names), bool)}
        for code, name in enumerate(self.names):
            for part in name.split(REGION_SEPARATOR):
                tables.setdefault(part, np.zeros(len(self.names), bool))[code] = True
        return tables

    def changed(self, rows: Sequence[int], texts: Sequence[str]) -> TextColumn:
        """A column with other texts in some rows; shares `names` if no text is new."""
        unknown = tuple(dict.fromkeys(text for text in texts if text not in self.code_of))
        code_of = self.code_of | {text: len(self.names) + at for at, text in enumerate(unknown)}
        codes = self.codes.copy()
        codes[list(rows)] = [code_of[text] for text in texts]
        return TextColumn(codes, self.names + unknown if unknown else self.names)
