"""Reads the shop's table of items as the pipeline does, so that an item that did not change has the same texts."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from models.item_text import item_text, searched_text
from serving.refresh_catalogue.errors import RefreshError

ITEM_ID, TITLE, DESCRIPTION, CATEGORY, BRAND = TEXTS = ("item_id", "title", "description", "category", "brand")
PRICE, STOCK = "price", "stock"
COLUMNS = (*TEXTS, PRICE, STOCK)
_REQUIRED = (ITEM_ID, TITLE)
_MISSING = ("", "nan", "null", "none")
_TRUE, _FALSE = ("true", "yes"), ("false", "no")


@dataclass(frozen=True)
class ItemsTable:
    """The items that a shop has now.

    Attributes:
      item_ids: [n], each once.
      texts: str [n], what stands for an item that is not known by its id.
      searched: str [n], title, brand and category, which words of queries are held against.
      categories, brands: str [n], "" for none.
      prices: float32 [n], NaN for unknown.
      in_stock: bool [n].
    """

    item_ids: list[str]
    texts: list[str]
    searched: list[str]
    categories: list[str]
    brands: list[str]
    prices: np.ndarray
    in_stock: np.ndarray


def read_items_table(path: pathlib.Path, renamed: Mapping[str, str] | None = None) -> ItemsTable:
    """Reads a table of items.

    Columns `item_id` and `title` are required; `description`, `category`, `brand`, `price` and `stock` (a number, in
    stock above 0; or true or false) are read where they are there, and others passed over. An empty price is unknown,
    an empty stock is in stock.

    Args:
      path: CSV (also .gz) or Parquet, by its ending.
      renamed: name of a column as here -> its name in the file.

    Raises:
      RefreshError: if it cannot be read, lacks a column, has no row or an item twice, or a value cannot be read.
    """
    frame = _frame(path, renamed or {})
    texts = {name: [_text(value) for value in frame[name]] if name in frame else [""] * len(frame) for name in TEXTS}

    def parsed(name: str, parse: Callable[[str], Any], expected: str, unknown: Any) -> list[Any]:
        if name not in frame:
            return [unknown] * len(frame)
        values = []
        for row, value in enumerate(map(_text, frame[name]), 1):
            try:
                values.append(unknown if value.lower() in _MISSING else parse(value))
            except ValueError:
                raise RefreshError(f"{path}: row {row}: `{name}` is {value!r}; expected {expected}.") from None
        return values

    prices = parsed(PRICE, _price, "a number from 0", np.nan)
    in_stock = parsed(STOCK, _in_stock, "a number, true or false", True)
    _check_texts(path, texts[ITEM_ID], texts[TITLE])
    whole = [dict(zip(TEXTS, row, strict=True)) for row in zip(*texts.values(), strict=True)]
    return ItemsTable(
        texts[ITEM_ID],
        [item_text(row) for row in whole],
        [searched_text(row[TITLE], row[BRAND], row[CATEGORY]) for row in whole],
        texts[CATEGORY],
        texts[BRAND],
        np.array(prices, np.float32),
        np.array(in_stock, bool),
    )


def _check_texts(path: pathlib.Path, item_ids: list[str], titles: list[str]) -> None:
    seen: dict[str, int] = {}
    for row, (item_id, title) in enumerate(zip(item_ids, titles, strict=True), 1):
        if not item_id or "\n" in item_id or "\r" in item_id:
            raise RefreshError(f"{path}: row {row}: `{ITEM_ID}` is {item_id!r}; expected an id on one line.")
        if not title:
            raise RefreshError(f"{path}: row {row}: `{TITLE}` is empty; expected the item's title.")
        if item_id in seen:
            raise RefreshError(
                f"{path}: row {row}: item {item_id!r} is there already (row {seen[item_id]}); expected each item once."
            )
        seen[item_id] = row


def _frame(path: pathlib.Path, renamed: Mapping[str, str]) -> pd.DataFrame:
    for name in renamed:
        if name not in COLUMNS:
            raise RefreshError(f"`{name}` is no column of a table of items; expected one of {', '.join(COLUMNS)}.")
    name = path.name.lower()
    try:
        if name.endswith((".parquet", ".pq")):
            frame = pd.read_parquet(path)
        elif name.removesuffix(".gz").endswith((".csv", ".txt")):
            # As they are written: 0123 is an id, and so is NA.
            frame = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
        else:
            raise RefreshError(f"{path}: cannot tell its form by its ending; expected .csv, .csv.gz or .parquet.")
    except OSError as error:
        why = error.strerror or str(error).splitlines()[0]
        raise RefreshError(f"{path}: cannot be read ({why}); expected the table of items.") from None
    except RefreshError:
        raise
    except (ValueError, EOFError) as error:  # of pandas' and pyarrow's parsers, and of what is no UTF-8
        why = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise RefreshError(f"{path}: cannot be read ({why}); expected CSV or Parquet.") from None
    columns = {renamed.get(name, name): name for name in COLUMNS}
    for column, name in columns.items():
        if column not in frame and (name in _REQUIRED or name in renamed):
            raise RefreshError(f"{path}: column `{column}` is missing; found {', '.join(map(str, frame.columns))}.")
    if frame.empty:
        raise RefreshError(f"{path}: has no row; expected the items that the shop has.")
    return frame[[column for column in columns if column in frame]].rename(columns=columns)


def _text(value: Any) -> str:
    """As it is written; whole numbers have no decimals, and nothing is ""."""
    if value is None or value is pd.NA or (isinstance(value, float) and np.isnan(value)):
        return ""
    if isinstance(value, (float, np.floating)) and float(value).is_integer():
        return f"{value:.0f}"
    return str(value).strip()


def _price(text: str) -> float:
    number = float(text)
    if not 0 <= number < np.inf:
        raise ValueError(text)
    return number


def _in_stock(text: str) -> bool:
    if text.lower() in (*_TRUE, *_FALSE):
        return text.lower() in _TRUE
    number = float(text)
    if not -np.inf < number < np.inf:
        raise ValueError(text)
    return number > 0
