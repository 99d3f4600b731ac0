"""Which items a rule is about."""

from __future__ import annotations

import functools
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from models import features
from serving.review.entry import ITEM_ID
from serving.rules.candidates import Candidates
from serving.rules.catalogue import AGE_DAYS
from serving.rules.columns import TextColumn
from serving.rules.reader import Place, as_number, as_section, as_texts
from serving.rules.snapshot import BRAND, CATEGORY, FIRST_SEEN, MIN_AGE, PRICE

#: Fields that are numbers; the last one is days since `first_seen`, infinite for what has always been there.
NUMBERS = (PRICE, MIN_AGE, AGE_DAYS)
#: What rules may name of any catalogue.
STANDARD_FIELDS = (ITEM_ID, CATEGORY, BRAND, *NUMBERS)
#: Stands between the parts of a category: "Food > Tea" lies in "Food".
CATEGORY_SEPARATOR = " > "


@dataclass(frozen=True)
class Where:
    """What an item must be like; all parts must be met, and no part is met by every item.

    Attributes:
      item_ids: one of these; None for any.
      texts: text column -> values, one of which it must have; of `category` also what lies in one of them.
      numbers: field of `NUMBERS` -> (least, most), both included; an unknown number is in no range.
    """

    item_ids: frozenset[str] | None = None
    texts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    numbers: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    # Column -> (its names when it was last looked at, bool [names]); what rules name changes rarely.
    _tables: dict[str, tuple[tuple[str, ...], np.ndarray]] = field(default_factory=dict, repr=False, compare=False)

    def mask(self, candidates: Candidates, now: float) -> np.ndarray:
        """bool [candidates], which of them it is about; `now` in seconds since 1970-01-01 UTC."""
        parts = [] if self.item_ids is None else [candidates.among(self.item_ids)]
        for name in self.texts:
            parts.append(self._table(name, candidates.snapshot.texts[name]).take(candidates.codes(name)))
        for name, (least, most) in self.numbers.items():
            values = _numbers(candidates, name, now)
            parts.append(values <= most)
            if least > -np.inf:
                parts.append(values >= least)
        return functools.reduce(np.logical_and, parts) if parts else np.ones(len(candidates), bool)

    def unknown_values(self, columns: Mapping[str, TextColumn]) -> list[tuple[str, str]]:
        """(column, value) of each value that no item has."""
        return [
            (name, value)
            for name, values in self.texts.items()
            for value in values
            if not any(_has(name, text, (value,)) for text in columns[name].names)
        ]

    def _table(self, name: str, column: TextColumn) -> np.ndarray:
        names, table = self._tables.get(name, ((), np.empty(0, bool)))
        if names is not column.names:
            table = np.array([_has(name, text, self.texts[name]) for text in column.names], bool)
            self._tables[name] = column.names, table
        return table


#: Met by every item.
EVERYTHING = Where()


def read_where(value: Any, place: Place, name: str, fields: Collection[str]) -> Where:
    """What a file has under `name`.

    Args:
      value: such as {"category": "Food > Tea", "price": {"max": 20}}.
      place: of it.
      name: its key.
      fields: that may be named.

    Raises:
      RulesError: for an unknown field, no field at all, or a value or range that none can have.
    """
    section = as_section(value, place, name)
    if not section:
        raise place.error(f"`{name}` is empty; expected at least one field.")
    item_ids, texts, numbers = None, {}, {}
    for key, content in section.items():
        there, full = place.at(section.lines[key]), f"{name}.{key}"
        if key not in fields:
            raise there.error(f"unknown field `{full}`; expected one of {', '.join(fields)}.")
        if key == ITEM_ID:
            item_ids = frozenset(as_texts(content, there, full))
        elif key in NUMBERS:
            numbers[key] = _range(content, there, full)
        else:
            texts[key] = as_texts(content, there, full)
    return Where(item_ids, texts, numbers)


def _range(value: Any, place: Place, name: str) -> tuple[float, float]:
    bounds = {"min": -np.inf, "max": np.inf}
    section = as_section(value, place, name)
    for key, content in section.items():
        if key not in bounds:
            raise place.at(section.lines[key]).error(f"unknown key `{name}.{key}`; expected min or max.")
        bounds[key] = as_number(content, place.at(section.lines[key]), f"{name}.{key}")
    if not section or bounds["min"] > bounds["max"]:
        raise place.error(f"`{name}` is {dict(section)}; expected a min, a max no smaller than it, or both.")
    return bounds["min"], bounds["max"]


def _has(name: str, text: str, values: tuple[str, ...]) -> bool:
    if name != CATEGORY:
        return text in values
    return any(text == value or text.startswith(value + CATEGORY_SEPARATOR) for value in values)


def _numbers(candidates: Candidates, name: str, now: float) -> np.ndarray:
    if name != AGE_DAYS:
        return candidates.numbers(name)
    first_seen = candidates.numbers(FIRST_SEEN)
    return np.where(first_seen > 0, (now - first_seen) / features.SECONDS_PER_DAY, np.inf)
