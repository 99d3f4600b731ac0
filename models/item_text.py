"""The texts of an item, joined of the columns of its row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def item_text(row: Mapping[str, Any]) -> str:
    """The text that stands for an item the model does not know by its id.

    Args:
      row: of the items table; `title`, `brand`, `category` and `description` are read, "" when not declared.
    """
    return "; ".join(str(row[part]) for part in ("title", "brand", "category", "description") if row[part])


def searched_text(title: str, brand: str, category: str) -> str:
    """The text whose words queries are held against; "" for what is not declared."""
    return " ".join(filter(None, (title, brand, category)))
