"""Strict reading of settings: from YAML to frozen dataclasses, with one sentence for what cannot be used.

`read` makes a dataclass of a file. Where files are merged first, `read_yaml`, `merge` and `build` are its steps.

A dataclass says what it takes: by annotations (`str`, `bool`, `int`, `float`, dataclasses, tuples and dicts of such),
by what `models.options` puts into its fields, by defaults (a field without one must be there), and by what its
`__post_init__` raises a ValueError for.
"""

from __future__ import annotations

import dataclasses
import datetime
import math
import pathlib
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

import yaml

from models import options

Settings = TypeVar("Settings")


class SettingsError(ValueError):
    """A configuration that cannot be used; the message is one sentence for a person."""


class _Loader(yaml.SafeLoader):
    """Refuses a key that is there twice, of which YAML would keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise _TwiceError(f"`{key.value}` is there twice, again in line {key.start_mark.line + 1}")
                seen.add(key.value)
        return super().construct_mapping(node, deep)


class _TwiceError(ValueError):
    pass


def read(kind: type[Settings], path: pathlib.Path) -> Settings:
    """The dataclass `kind` from a YAML file.

    Raises:
      SettingsError: as `read_yaml` and `build`.
    """
    settings: Settings = build(kind, read_yaml(path), str(path))
    return settings


def plain(value: Any) -> Any:
    """Lists and dicts, however deep, in place of tuples and subclasses."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


def read_yaml(path: pathlib.Path) -> dict[str, Any]:
    """The mapping in a YAML file.

    Raises:
      SettingsError: if the file cannot be read, has a key twice, or holds something else.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read ({error.strerror}); expected a YAML file.") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{path}: is not UTF-8; expected a YAML file in UTF-8.") from None
    try:
        content = yaml.load(text, _Loader)
    except _TwiceError as error:
        raise SettingsError(f"{path}: {error}; expected it once.") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark else ""
        raise SettingsError(f"{path}: is not valid YAML{where}.") from None
    if not isinstance(content, dict):
        raise SettingsError(f"{path}: holds {type(content).__name__}; expected a mapping of settings.")
    return content


def merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """`base` with what `over` says, key by key at every depth."""
    merged = dict(base)
    for key, value in over.items():
        if isinstance(value, dict) and isinstance(merged.get(key), dict):
            merged[key] = merge(merged[key], value)
        else:
            merged[key] = value
    return merged


def build(kind: Any, content: dict[str, Any], origin: str, prefix: str = "") -> Any:
    """A dataclass from plain values.

    Args:
      kind: the dataclass; its fields may say what they may be (`models.options`).
      content: key -> value.
      origin: where the content is from, for errors.
      prefix: what stands before a key's name in errors, such as `train.`.

    Raises:
      SettingsError: for an unknown key, a missing one, a value of the wrong type or outside its bounds, and what the
        dataclass refuses itself.
    """
    hints = typing.get_type_hints(kind)
    fields = {field.name: field for field in dataclasses.fields(kind)}
    values = {}
    for key, value in content.items():
        name = f"{prefix}{key}"
        if key not in fields:
            known = ", ".join(sorted(fields))
            raise SettingsError(f"{origin}: unknown key `{name}`; expected one of {known}.")
        values[key] = convert(hints[key], value, origin, name, fields[key].metadata)
    for key, field in fields.items():
        if key not in values and field.default is field.default_factory is dataclasses.MISSING:
            raise SettingsError(f"{origin}: `{prefix}{key}` is missing.")
    try:
        return kind(**values)
    except ValueError as error:
        raise SettingsError(f"{origin}: {error}") from None


def convert(
    hint: Any, value: Any, origin: str, name: str, bounds: Mapping[str, Any] = types.MappingProxyType({})
) -> Any:
    """A plain value as the type that `hint` says, within `bounds` (a field's metadata); errors as for `build`."""

    def wrong(expected: str) -> SettingsError:
        return SettingsError(f"{origin}: `{name}` is {value!r}; expected {expected}.")

    if dataclasses.is_dataclass(hint):
        if not isinstance(value, dict):
            raise wrong("a mapping")
        return build(hint, value, origin, f"{name}.")
    shape = typing.get_origin(hint)
    if shape is tuple:
        if not isinstance(value, (list, tuple)):
            raise wrong("a list")
        inner = typing.get_args(hint)[0]
        numbered = dataclasses.is_dataclass(inner)  # of single values, the value says which is meant
        return tuple(
            convert(inner, item, origin, f"{name}[{place}]" if numbered else name, bounds)
            for place, item in enumerate(value)
        )
    if shape is dict:
        if not isinstance(value, dict):
            raise wrong("a mapping")
        inner = typing.get_args(hint)[1]
        return {str(key): convert(inner, item, origin, f"{name}.{key}", bounds) for key, item in value.items()}
    choices = bounds.get(options.CHOICES)
    if choices and value not in choices:
        raise wrong(f"one of {', '.join(choices)}")
    if hint is bool:
        if not isinstance(value, bool):
            raise wrong("true or false")
        return value
    if hint in (int, float):
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise wrong("a whole number" if hint is int else "a number")
        if hint is int and value != int(value):
            raise wrong("a whole number")
        low, high = bounds.get(options.RANGE, (value, value))
        if not low <= value <= high:
            raise wrong(f"a number from {low:g} to {high:g}")
        return hint(value)
    if hint is not str:
        raise TypeError(f"{name} is annotated as {hint}; expected str, bool, int, float, tuple, dict or a dataclass.")
    if isinstance(value, (datetime.date, datetime.datetime)):
        return value.isoformat()
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        raise wrong("a text")
    return value
