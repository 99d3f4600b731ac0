"""One sentence for a request that is not as it should be; it repeats no values, which may be about persons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel

_SURROUNDING = ("body",)
#: Longest name of an unknown field that is repeated.
_LONGEST_NAME = 40

#: Type of an error of pydantic -> what is wrong, and what was expected; in braces what the error says.
_TEXTS = {
    "value_error.missing": "is missing",
    "type_error.none.not_allowed": "is null; expected a value, or no such field",
    "type_error.str": "is no text; expected one in quotes",
    "type_error.integer": "is no whole number; expected one without quotes",
    "type_error.list": "is no list; expected one",
    "type_error.dict": "is no object; expected one",
    "value_error.number.not_ge": "is below the limit; expected at least {limit_value}",
    "value_error.number.not_le": "is above the limit; expected at most {limit_value}",
    "value_error.any_str.min_length": "is empty; expected a text",
    "value_error.any_str.max_length": "is too long; expected at most {limit_value} characters",
    "value_error.list.min_items": "is empty; expected at least {limit_value} element",
    "value_error.list.max_items": "is too long; expected at most {limit_value} elements",
}


def sentence(error: Mapping[str, Any], body: type[BaseModel]) -> str:
    """What one error of pydantic says.

    Args:
      error: with `loc`, `type`, `msg` and `ctx`.
      body: the model that was not fitted.
    """
    location, kind = tuple(error["loc"]), error["type"]
    if location[:1] == _SURROUNDING:
        location = location[1:]
    if location[-1:] == ("__root__",):
        location = location[:-1]
    if kind == "value_error.extra":
        where = _path(location[:-1]) if location[:-1] else ""
        return unknown_field(str(location[-1]), where, _fields(body, location[:-1]))
    text = _TEXTS.get(kind)
    what = error["msg"] if text is None else text.format(**(error.get("ctx") or {}))
    return f"{_path(location)} {what}."


def unknown_field(name: str, where: str, known: Sequence[str]) -> str:
    """That there is no such field.

    Args:
      name: of it.
      where: what has it, "" for the body.
      known: names that there are.
    """
    plain = len(name) <= _LONGEST_NAME and name.isprintable()
    shown = name if plain else f"{ascii(name[:_LONGEST_NAME])[1:-1]}…"
    return f"Unknown field `{shown}`{f' in {where}' if where else ''}; expected one of {', '.join(known) or 'none'}."


def _path(location: Sequence[str | int]) -> str:
    """Such as `events[3].item_id`."""
    if not location:
        return "The body"
    path = ""
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f"{'.' if path else ''}{part}"
    return f"`{path}`"


def _fields(model: type[BaseModel], location: Sequence[str | int]) -> list[str]:
    """Names of the fields that the model has at a place."""
    for part in location:
        if isinstance(part, str):
            model = model.__fields__[part].type_
    return list(model.__fields__)
