"""Fields of settings that know what they may be, for dataclasses that are read strictly from YAML."""

from __future__ import annotations

from dataclasses import field
from typing import Any

#: Keys of a field's metadata.
RANGE, CHOICES = "range", "choices"


def number(default: Any, low: float, high: float) -> Any:
    """A field that is a number from `low` to `high`, or a tuple of such."""
    return field(default=default, metadata={RANGE: (low, high)})


def choice(*choices: str, default: Any = None) -> Any:
    """A field that is one of `choices`, or a tuple of such; the first one by default."""
    return field(default=choices[0] if default is None else default, metadata={CHOICES: choices})
