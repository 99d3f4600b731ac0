"""Strict reading of YAML into frozen dataclasses; every error is one sentence with the file and the line.

Scalars are read as they are written and become what the field they stand for asks for: `NO` is Norway and not false,
`0123` an item and not 83, whether in quotes or not.
"""

from __future__ import annotations

import dataclasses
import datetime
import math
import pathlib
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from models import options


class RulesError(ValueError):
    """Rules that cannot be used; the message is one sentence for a person."""


@dataclass(frozen=True)
class Place:
    """Where in which file something stands.

    Attributes:
      file: as it was named.
      line: from 1.
      part: what of the file it belongs to, such as "rule `wine`: ", or "".
    """

    file: str
    line: int
    part: str = ""

    def error(self, what: str) -> RulesError:
        """The error that says `what` of this place."""
        return RulesError(f"{self.file}: line {self.line}: {self.part}{what}")

    def at(self, line: int) -> Place:
        """Another line of the same part."""
        return dataclasses.replace(self, line=line)


class Section(dict[str, Any]):
    """A mapping of the file.

    Attributes:
      line: where it begins.
      lines: of its keys.
    """

    def __init__(self, line: int) -> None:
        super().__init__()
        self.line = line
        self.lines: dict[str, int] = {}


#: Type of a field -> what makes its value from what the file has there.
Readers = Mapping[Any, Callable[[Any, Place, str], Any]]


class _Loader(yaml.BaseLoader):
    pass


def _section(loader: _Loader, node: yaml.MappingNode) -> Section:
    section = Section(node.start_mark.line + 1)
    for key_node, value_node in node.value:
        key, line = loader.construct_object(key_node, deep=True), key_node.start_mark.line + 1
        if not isinstance(key, str):
            raise yaml.MarkedYAMLError(problem="a key is no text", problem_mark=key_node.start_mark)
        if key in section:
            raise yaml.MarkedYAMLError(
                problem=f"`{key}` is there twice (first in line {section.lines[key]})", problem_mark=key_node.start_mark
            )
        section.lines[key] = line
        section[key] = loader.construct_object(value_node, deep=True)
    return section


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _section)


def read_yaml(path: pathlib.Path) -> Section:
    """The mapping in a YAML file, its scalars as texts.

    Raises:
      RulesError: if the file cannot be read, is no YAML, is nested too deeply, has a key twice in one mapping, or holds
        something else.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise RulesError(f"{path}: cannot be read ({error.strerror}); expected a YAML file of rules.") from None
    except UnicodeDecodeError:
        raise RulesError(f"{path}: is not UTF-8; expected a YAML file in UTF-8.") from None
    try:
        content = yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
        where = f" line {mark.line + 1}:" if mark else ""
        raise RulesError(f"{path}:{where} {problem or 'is not valid YAML'}; expected valid YAML.") from None
    except RecursionError:
        raise RulesError(f"{path}: is nested too deeply; expected a mapping with keys such as `rules`.") from None
    if not isinstance(content, Section):
        raise RulesError(f"{path}: holds no mapping; expected keys such as `rules`.")
    return content


def build(kind: Any, section: Any, place: Place, readers: Readers, ignore: tuple[str, ...] = ()) -> Any:
    """A dataclass from a section of the file.

    Args:
      kind: the dataclass; its fields may say what they may be (`models.options`), those without a default are required.
      section: what the file has there.
      place: of the section.
      readers: for fields of further types.
      ignore: keys that are read elsewhere.

    Raises:
      RulesError: for what is no mapping, an unknown or missing key, and a value of the wrong type or out of its range.
    """
    section = as_section(section, place)
    hints = typing.get_type_hints(kind)
    fields = {field.name: field for field in dataclasses.fields(kind) if field.init}
    values = {}
    for key, value in section.items():
        if key in ignore:
            continue
        there = place.at(section.lines[key])
        if key not in fields:
            known = ", ".join([*ignore, *fields])
            raise there.error(f"unknown key `{key}`; expected one of {known}.")
        values[key] = _convert(hints[key], value, there, key, fields[key].metadata, readers)
    for name, field in fields.items():
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if required and name not in values:
            raise place.error(f"`{name}` is missing; expected a value for it.")
    return kind(**values)


def as_section(value: Any, place: Place, name: str = "") -> Section:
    """What should be a mapping, as one; `name` is that of its key."""
    if not isinstance(value, Section):
        raise place.error(f"{f'`{name}` ' if name else ''}is {value!r}; expected a mapping.")
    return value


def as_list(value: Any, place: Place, name: str) -> list[Any]:
    """What should be a list, as one."""
    if not isinstance(value, list):
        raise place.error(f"`{name}` is {value!r}; expected a list.")
    return value


def as_text(value: Any, place: Place, name: str) -> str:
    """What should be a text that is not empty, as one."""
    if not isinstance(value, str) or not value:
        raise place.error(f"`{name}` is {value!r}; expected a text.")
    return value


def as_texts(value: Any, place: Place, name: str) -> tuple[str, ...]:
    """One text or a list of them, each once, as a tuple."""
    texts: dict[str, None] = {}
    for one in [value] if isinstance(value, str) else as_list(value, place, name):
        text = as_text(one, place, name)
        if text in texts:
            raise place.error(f"`{name}` has {text!r} twice; expected each once.")
        texts[text] = None
    if not texts:
        raise place.error(f"`{name}` is empty; expected at least one text.")
    return tuple(texts)


def as_number(value: Any, place: Place, name: str, low: float = -math.inf, high: float = math.inf) -> float:
    """What should be a number from `low` to `high`, as one."""
    try:
        parsed = float(value) if isinstance(value, str) else math.nan
    except ValueError:
        parsed = math.nan
    if not (math.isfinite(parsed) and low <= parsed <= high):
        bounds = "" if (low, high) == (-math.inf, math.inf) else f" from {low:g} to {high:g}"
        raise place.error(f"`{name}` is {value!r}; expected a number{bounds}.")
    return parsed


def as_time(value: Any, place: Place, name: str) -> float:
    """An ISO 8601 date or time (UTC without a zone), as seconds since 1970-01-01 UTC."""
    text = as_text(value, place, name)
    try:
        moment = datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        raise place.error(f"`{name}` is {text!r}; expected a date or time such as 2024-11-29T08:00:00Z.") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=datetime.timezone.utc)).timestamp()


def _convert(hint: Any, value: Any, place: Place, name: str, bounds: Mapping[str, Any], readers: Readers) -> Any:
    if hint in readers:
        return readers[hint](value, place, name)
    if isinstance(hint, types.UnionType):  # X | None
        hint = next(kind for kind in typing.get_args(hint) if kind is not types.NoneType)
    if typing.get_origin(hint) is tuple:
        return as_texts(value, place, name)
    choices = bounds.get(options.CHOICES)
    if choices and value not in choices:
        raise place.error(f"`{name}` is {value!r}; expected one of {', '.join(choices)}.")
    if hint in (int, float):
        number = as_number(value, place, name, *bounds.get(options.RANGE, ()))
        if hint is int and number != int(number):
            raise place.error(f"`{name}` is {value!r}; expected a whole number.")
        return hint(number)
    if hint is not str:
        raise TypeError(f"{name} is annotated as {hint}; expected str, int, float, tuple or a type with a reader.")
    return as_text(value, place, name)
