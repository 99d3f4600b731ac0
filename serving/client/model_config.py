"""Which models a TensorFlow Serving is to serve, and its configuration file."""

from __future__ import annotations

import os
import pathlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from google.protobuf import text_format

from serving import protos

_PLATFORM = "tensorflow"
#: Where a scheme begins the path, the server knows what is absolute.
_ABSOLUTE = re.compile(r"/|[a-z][a-z0-9+.-]*://")


@dataclass(frozen=True)
class ModelConfig:
    """One model of a server's configuration.

    Attributes:
      name: by which clients ask for it.
      base_path: absolute path of the folder, or URI, that holds its versions, as the server sees it.
      versions: to serve; empty for the newest ones.
      latest: so many of the newest are served where `versions` is empty.
      labels: label -> version, so that clients can ask for "stable"; a server gives a label only to a version that
        it has loaded, unless --allow_version_labels_for_unavailable_models.

    Raises:
      ValueError: for what no server takes.
    """

    name: str
    base_path: str
    versions: Sequence[int] = ()
    latest: int = 1
    labels: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "versions", tuple(self.versions))
        object.__setattr__(self, "labels", dict(self.labels))
        if not self.name:
            raise ValueError("A model has no name.")
        where = f"The model `{self.name}`"
        if not _ABSOLUTE.match(self.base_path):
            raise ValueError(f"{where} has base_path {self.base_path!r}; expected an absolute path.")
        if self.latest < 1:
            raise ValueError(f"{where} has latest {self.latest}; expected 1 or more.")
        if self.versions and self.latest != 1:
            raise ValueError(f"{where} names both versions and latest; expected one of them.")
        if len(set(self.versions)) < len(self.versions) or any(version < 0 for version in self.versions):
            raise ValueError(f"{where} has versions {list(self.versions)}; expected different ones, 0 or more.")
        for label, version in self.labels.items():
            if not label or version < 0 or (self.versions and version not in self.versions):
                raise ValueError(f"{where} gives the label {label!r} to version {version}, which it does not serve.")


def server_config(models: Sequence[ModelConfig]) -> Any:
    """`tensorflow.serving.ModelServerConfig` of these models.

    Raises:
      ValueError: for two models of one name.
    """
    names = [model.name for model in models]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"The model `{name}` is there {names.count(name)} times; expected once.")
    message = protos.ModelServerConfig()
    message.model_config_list.SetInParent()
    for model in models:
        config = message.model_config_list.config.add(
            name=model.name, base_path=model.base_path, model_platform=_PLATFORM, version_labels=model.labels
        )
        if model.versions:
            config.model_version_policy.specific.versions.extend(model.versions)
        else:
            config.model_version_policy.latest.num_versions = model.latest
    return message


def read_model_config(file: str | os.PathLike[str]) -> list[ModelConfig]:
    """The models of a server's `--model_config_file` (a ModelServerConfig as text).

    Raises:
      ValueError: for a file that cannot be read, or that holds what `ModelConfig` has no place for.
    """
    where = os.fspath(file)
    try:
        text = pathlib.Path(file).read_text(encoding="utf-8")
        message = text_format.Parse(text, protos.ModelServerConfig())
    except OSError as error:
        raise ValueError(f"{where}: cannot be read ({error.strerror}).") from None
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise ValueError(f"{where}: not a configuration of models ({error}).") from None
    try:
        return [_model(config) for config in message.model_config_list.config]
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def write_model_config(file: str | os.PathLike[str], models: Sequence[ModelConfig]) -> None:
    """Writes a server's `--model_config_file`, whole or not at all: a server may be looking at it.

    Raises:
      ValueError: for two models of one name.
      OSError: when it cannot be written.
    """
    text = text_format.MessageToString(server_config(models), as_utf8=True)
    path = pathlib.Path(file)
    part = path.with_name(f".{path.name}.part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


def _model(config: Any) -> ModelConfig:
    if config.model_platform not in ("", _PLATFORM):
        raise ValueError(f"The model `{config.name}` is of platform {config.model_platform!r}; expected {_PLATFORM!r}.")
    policy = config.model_version_policy
    if policy.HasField("all"):
        raise ValueError(f"The model `{config.name}` serves `all` versions; expected `latest` or `specific`.")
    versions = tuple(policy.specific.versions)
    if policy.HasField("specific") and not versions:
        raise ValueError(f"The model `{config.name}` serves `specific` versions and names none.")
    latest = policy.latest.num_versions or 1
    return ModelConfig(config.name, config.base_path, versions, latest, dict(config.version_labels))
