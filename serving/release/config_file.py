"""The servers' --model_config_file, of which one model's entry is changed."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Iterable, Mapping

from google.protobuf import text_format

from serving.client.model_config import ModelConfig, read_model_config, server_config
from serving.release import files
from serving.release.errors import ReleaseError


class ConfigFile:
    """Reads the whole file, and writes it with another entry of one model.

    Args:
      path: of the file.
      model: name of the entry.
      base_path: that it has, or gets.
    """

    def __init__(self, path: pathlib.Path, model: str, base_path: str) -> None:
        self.path = path
        self._model = model
        self._base_path = base_path

    def models(self) -> list[ModelConfig]:
        """All entries; none without a file.

        Raises:
          ReleaseError: if the file cannot be read, or holds what would be lost in writing it.
        """
        if not self.path.exists():
            return []
        try:
            return read_model_config(self.path)
        except ValueError as error:
            raise ReleaseError(str(error)) from None

    def entry(self) -> ModelConfig | None:
        """The model's entry; None without one.

        Raises:
          ReleaseError: as `models`, or if it has another base path.
        """
        found = next((one for one in self.models() if one.name == self._model), None)
        if found and found.base_path.rstrip("/") != self._base_path.rstrip("/"):
            raise ReleaseError(
                f"{self.path}: `{self._model}` has base_path {found.base_path!r}, and the release's settings say "
                f"{self._base_path!r}; expected the same."
            )
        return found

    def write(self, versions: Iterable[int], labels: Mapping[str, int]) -> list[ModelConfig]:
        """Writes the model's entry, whole or not at all, and leaves the other models' as they are.

        Args:
          versions: to serve, at least one.
          labels: label -> one of them.

        Returns:
          All entries, as the servers are to be told.

        Raises:
          ReleaseError: when the file cannot be read or written.
        """
        models = self.models()
        names = [one.name for one in models]
        place = names.index(self._model) if self._model in names else len(models)
        old = models[place] if place < len(models) else ModelConfig(self._model, self._base_path)
        models[place : place + 1] = [
            dataclasses.replace(old, versions=tuple(sorted(set(versions))), latest=1, labels=dict(labels))
        ]
        try:
            files.write_whole(self.path, text_format.MessageToString(server_config(models), as_utf8=True))
        except OSError as error:
            raise ReleaseError(f"{self.path}: cannot be written ({error.strerror}).") from None
        return models
