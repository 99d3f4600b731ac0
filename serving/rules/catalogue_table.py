"""Reads what rules know of the items from the shop's table of items."""

from __future__ import annotations

import pathlib
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from serving.review.entry import ITEM_ID
from serving.rules.columns import REGION_SEPARATOR
from serving.rules.snapshot import BRAND, CATEGORY, FIRST_SEEN, MIN_AGE, NUMBERS, PRICE, REGIONS, Snapshot

STOCK = "stock"
_MISSING = ("", "nan", "none", "null", "<na>", "nat")
_TRUE, _FALSE = ("true", "yes"), ("false", "no")
#: Numbers from here on are milliseconds.
_MILLISECONDS = 1e11


class CatalogueError(ValueError):
    """A table of items, or a change of an item, that cannot be used; the message is one sentence."""


def read_table(path: pathlib.Path, columns: Sequence[str] = ()) -> Snapshot:
    """The snapshot of a table of items.

    Column `item_id` is required; `category`, `brand`, `price`, `stock` (a number, in stock above 0; or true or false),
    `regions` (a list, or a text with `|`, `,` or `;` between them), `min_age` (years) and `first_seen` (ISO 8601
    or seconds) are read where they are there. An empty value is unknown: in stock, sold everywhere, for every age,
    always there.

    Args:
      path: CSV (also .gz) or Parquet, by its ending.
      columns: further ones that are read as texts, such as `item_type`.

    Raises:
      CatalogueError: if the file cannot be read, lacks a column, has an item twice, or a value that cannot be read.
    """
    frame = _frame(path, columns)
    place = "row" if _is_parquet(path) else "line"
    offset = 1 if place == "row" else 2

    def parsed(name: str, parse: Callable[[Any], Any], expected: str, unknown: Any) -> list[Any]:
        if name not in frame:
            return [unknown] * len(frame)
        known: dict[Any, Any] = {}
        values = []
        for row, value in enumerate(frame[name].tolist()):
            key = value if isinstance(value, (str, int, float)) else str(value)
            if key not in known:
                try:
                    known[key] = unknown if _text(value).lower() in _MISSING else parse(value)
                except ValueError:
                    raise CatalogueError(
                        f"{path}: {place} {row + offset}: `{name}` is {value!r}; expected {expected}."
                    ) from None
            values.append(known[key])
        return values

    item_ids = parsed(ITEM_ID, _text, "a text", "")
    seen: dict[str, int] = {}
    for row, item_id in enumerate(item_ids):
        if not item_id:
            raise CatalogueError(f"{path}: {place} {row + offset}: `{ITEM_ID}` is empty; expected the item's id.")
        if item_id in seen:
            raise CatalogueError(
                f"{path}: {place} {row + offset}: item {item_id!r} is there already ({place} {seen[item_id] + offset}"
                "); expected each item once."
            )
        seen[item_id] = row
    texts = {name: parsed(name, _text, "a text", "") for name in (CATEGORY, BRAND, *columns)}
    texts[REGIONS] = parsed(REGIONS, as_regions, "a list of regions", "")
    numbers = {
        PRICE: parsed(PRICE, as_number, "a number from 0", NUMBERS[PRICE]),
        MIN_AGE: parsed(MIN_AGE, as_number, "a number of years from 0", NUMBERS[MIN_AGE]),
        FIRST_SEEN: parsed(FIRST_SEEN, _seconds, "a time (ISO 8601 or seconds since 1970)", NUMBERS[FIRST_SEEN]),
    }
    return Snapshot.of(item_ids, texts, numbers, parsed(STOCK, _in_stock, "a number, true or false", True))


def as_number(value: Any) -> float:
    """A number from 0 on, of a number or a text."""
    number = float(value)
    if not 0 <= number < np.inf:
        raise ValueError(value)
    return number


def as_regions(value: Any) -> str:
    """Regions of a list or of a text, joined as a snapshot has them."""
    parts = re.split(r"[|,;]", value) if isinstance(value, str) else [_text(one) for one in value]
    return REGION_SEPARATOR.join(sorted({part.strip() for part in parts} - {""}))


def _frame(path: pathlib.Path, columns: Sequence[str]) -> pd.DataFrame:
    wanted = (ITEM_ID, CATEGORY, BRAND, PRICE, STOCK, REGIONS, MIN_AGE, FIRST_SEEN, *columns)
    try:
        if _is_parquet(path):
            frame = pd.read_parquet(path)
        else:
            # As they are written: 0123 is an id, and so is NA. Empty lines count, so that places are right.
            frame = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig", skip_blank_lines=False)
    except OSError as error:
        why = error.strerror or str(error).splitlines()[0]
        raise CatalogueError(f"{path}: cannot be read ({why}); expected the table of items.") from None
    except (ValueError, EOFError) as error:  # of pandas' and pyarrow's parsers, and of what is no UTF-8
        why = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise CatalogueError(f"{path}: cannot be read ({why}); expected CSV or Parquet.") from None
    frame.columns = [str(name).strip() for name in frame.columns]
    for name in (ITEM_ID, *columns):
        if name not in frame:
            raise CatalogueError(f"{path}: column `{name}` is missing; found {', '.join(frame.columns)}.")
    return frame[[name for name in dict.fromkeys(wanted) if name in frame]]


def _is_parquet(path: pathlib.Path) -> bool:
    name = path.name.lower()
    if name.endswith((".parquet", ".pq")):
        return True
    if name.removesuffix(".gz").endswith((".csv", ".txt")):
        return False
    raise CatalogueError(f"{path}: cannot tell its form by its ending; expected .csv, .csv.gz or .parquet.")


def _text(value: Any) -> str:
    """As it is written; whole numbers have no decimals, and nothing is ""."""
    if value is None:
        return ""
    if isinstance(value, (float, np.floating)):
        return "" if np.isnan(value) else f"{value:.0f}" if float(value).is_integer() else str(value)
    return str(value).strip()


def _in_stock(value: Any) -> bool:
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    text = _text(value).lower()
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    return float(text) > 0


def _seconds(value: Any) -> float:
    if isinstance(value, str) and not value.strip().replace(".", "", 1).isdigit():
        value = pd.Timestamp(value.strip())
    if isinstance(value, pd.Timestamp):
        return (value.tz_localize("UTC") if value.tzinfo is None else value).timestamp()
    number = as_number(value)
    return number / 1000 if number >= _MILLISECONDS else number
