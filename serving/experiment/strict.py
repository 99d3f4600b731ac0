"""Strict reading of YAML to frozen dataclasses, as `tfx_pipeline.settings_reader` does it for pipelines."""

from __future__ import annotations

import dataclasses
import datetime
import math
import pathlib
import types
import typing
from collections.abc import Mapping
from typing import Any

import yaml

from models import options
from serving.experiment.errors import ExperimentError


def read(kind: type, path: pathlib.Path) -> Any:
    """The dataclass `kind` from a YAML file.

    Raises:
      ExperimentError: if the file cannot be read, lacks a key, has one that is not known, or a value of the wrong type
        or outside its bounds.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ExperimentError(f"{path}: cannot be read ({error.strerror}); expected a YAML file.") from None
    except UnicodeDecodeError:
        raise ExperimentError(f"{path}: is not UTF-8; expected a YAML file in UTF-8.") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark else ""
        raise ExperimentError(f"{path}: is not valid YAML{where}.") from None
    if not isinstance(content, dict):
        raise ExperimentError(f"{path}: holds {type(content).__name__}; expected a mapping of settings.")
    try:
        return _build(kind, content, "")
    except ValueError as error:
        raise ExperimentError(f"{path}: {error}") from None


def _build(kind: Any, content: dict[Any, Any], prefix: str) -> Any:
    hints = typing.get_type_hints(kind)
    fields = {field.name: field for field in dataclasses.fields(kind)}
    values = {}
    for key, value in content.items():
        name = f"{prefix}{key}"
        if key not in fields:
            raise ExperimentError(f"unknown key `{name}`; expected one of {', '.join(sorted(fields))}.")
        values[key] = _convert(hints[key], value, name, fields[key].metadata)
    for key, field in fields.items():
        if key not in values and field.default is field.default_factory is dataclasses.MISSING:
            raise ExperimentError(f"`{prefix}{key}` is missing.")
    return kind(**values)


def _convert(hint: Any, value: Any, name: str, bounds: Mapping[str, Any] = types.MappingProxyType({})) -> Any:
    def wrong(expected: str) -> ExperimentError:
        return ExperimentError(f"`{name}` is {value!r}; expected {expected}.")

    if dataclasses.is_dataclass(hint):
        if not isinstance(value, dict):
            raise wrong("a mapping")
        return _build(hint, value, f"{name}.")
    shape = typing.get_origin(hint)
    if shape is tuple:
        if not isinstance(value, list):
            raise wrong("a list")
        inner = typing.get_args(hint)[0]
        return tuple(_convert(inner, item, f"{name}[{place}]", bounds) for place, item in enumerate(value))
    if shape is dict:
        if not isinstance(value, dict):
            raise wrong("a mapping")
        inner = typing.get_args(hint)[1]
        return {str(key): _convert(inner, item, f"{name}.{key}", bounds) for key, item in value.items()}
    choices = bounds.get(options.CHOICES)
    if choices and value not in choices:
        raise wrong(f"one of {', '.join(choices)}")
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
        raise TypeError(f"{name} is annotated as {hint}; expected str, int, float, tuple, dict or a dataclass.")
    if isinstance(value, (datetime.date, datetime.datetime)):
        return value.isoformat()
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        raise wrong("a text")
    return value
