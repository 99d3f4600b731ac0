"""Records of logs and tables: dataclasses of texts, numbers and lists of such, from plain values."""

from __future__ import annotations

import dataclasses
import functools
import typing
from collections.abc import Hashable, Mapping
from typing import Any, TypeVar, cast

from serving.experiment import times

Record = TypeVar("Record")

#: The column that may hold an ISO time in place of seconds.
_TIME = "time"


def parse(kind: type[Record], content: Mapping[str, Any]) -> Record:
    """A record from plain values; what it has no field for is passed over.

    Args:
      kind: a dataclass whose fields are `str`, `float` or tuples of them.
      content: name -> value; a field with a default may be missing or null. `time` may be an ISO time.

    Raises:
      ValueError: for a missing or wrong value.
    """
    values: dict[str, Any] = {}
    for name, (hint, required) in _fields(cast(Hashable, kind)).items():
        value = content.get(name)
        if value is None:
            if required:
                raise ValueError(f"`{name}` is missing.")
            continue
        if hint is str:
            values[name] = _text(name, value)
        elif hint is float:
            values[name] = _number(name, value)
        else:
            if not isinstance(value, (list, tuple)):
                raise ValueError(f"`{name}` is {value!r}; expected a list.")
            inner = typing.get_args(hint)[0]
            if set(map(type, value)) <= {inner}:
                values[name] = tuple(value)
            else:
                values[name] = tuple((_text if inner is str else _number)(name, item) for item in value)
    return kind(**values)


@functools.cache
def _fields(kind: Any) -> Mapping[str, tuple[Any, bool]]:
    hints = typing.get_type_hints(kind)
    return {field.name: (hints[field.name], field.default is dataclasses.MISSING) for field in dataclasses.fields(kind)}


def _text(name: str, value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):  # ids are numbers in many a table
        return str(value)
    raise ValueError(f"`{name}` holds {value!r}; expected a text.")


def _number(name: str, value: Any) -> float:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            raise ValueError(f"`{name}` is too large a number; expected a smaller one.") from None
    if isinstance(value, str):  # as CSV has it
        try:
            return float(value)
        except ValueError:
            if name == _TIME:
                return times.seconds(value)
    raise ValueError(f"`{name}` holds {value!r}; expected a number.")
