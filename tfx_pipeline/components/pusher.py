"""Pusher that renames: a server never sees a half-copied version."""

from __future__ import annotations

import hashlib
import os
import pathlib
import shutil
import time
from typing import Any, NamedTuple

from absl import logging
from tfx.components.pusher import component as tfx_pusher
from tfx.components.pusher import executor as tfx_pusher_executor
from tfx.dsl.components.base import executor_spec
from tfx.proto import pusher_pb2
from tfx.types import artifact_utils, standard_component_specs
from tfx.utils import io_utils, proto_utils

from serving.refresh_catalogue.record import fitted_version
from serving.refresh_catalogue.version_folders import flush, only_one

#: Custom properties of the PushedModel artifact, beside TFX's `pushed`, `pushed_destination`, `pushed_version`.
PUSHED_ANEW = "pushed_anew"

_HIDDEN = ".pushing-"


class Pushed(NamedTuple):
    """Where the model stands, and whether this push put it there."""

    version: int
    path: pathlib.Path
    anew: bool


def push(source: pathlib.Path, base: pathlib.Path) -> Pushed:
    """Puts a model under the next version number of a served folder.

    The model is copied to a hidden sibling, flushed to the disk and renamed, so a server that watches `base` sees
    all of it or nothing. What a killed push left behind is swept first. Version numbers are seconds since 1970 and
    rise even where the clock goes back.

    Args:
      source: folder of a SavedModel.
      base: the served folder, holding one folder per version; made where it is missing.

    Returns:
      The version; the standing one, untouched, if the newest is this very model, or a refresh of it.

    Raises:
      FileNotFoundError: if `source` holds no `saved_model.pb`.
    """
    if not (source / "saved_model.pb").is_file():
        raise FileNotFoundError(f"{source}: holds no saved_model.pb; expected a SavedModel to push.")
    base.mkdir(parents=True, exist_ok=True)
    with only_one(base):
        for leftover in base.glob(f"{_HIDDEN}*"):
            shutil.rmtree(leftover)
        newest = max(versions(base), default=0)
        # What was refreshed stands: the model without it would bring back what is sold out, or forbidden.
        if newest and content_hash(base / str(fitted_version(base, newest))) == content_hash(source):
            return Pushed(newest, base / str(newest), anew=False)
        version = max(int(time.time()), newest + 1)
        hidden = base / f"{_HIDDEN}{version}"
        shutil.copytree(source, hidden)
        for folder, _, files in os.walk(hidden):
            for name in files:
                flush(pathlib.Path(folder, name))
            flush(pathlib.Path(folder))
        hidden.rename(base / str(version))
        flush(base)
    return Pushed(version, base / str(version), anew=True)


def versions(base: pathlib.Path) -> list[int]:
    """Version numbers in a served folder, rising; empty where the folder is missing."""
    if not base.is_dir():
        return []
    return sorted(int(path.name) for path in base.iterdir() if path.is_dir() and path.name.isdecimal())


def content_hash(folder: pathlib.Path) -> str:
    """A hash of the files of a folder: their relative names and bytes."""
    digest = hashlib.sha256()
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(file.relative_to(folder).as_posix().encode() + b"\0")
        with file.open("rb") as content:
            while chunk := content.read(1 << 20):
                digest.update(chunk)
        digest.update(b"\0")
    return digest.hexdigest()


class Executor(tfx_pusher_executor.Executor):
    """Pushes a blessed model with `push`; to an object store (`gs://`) as TFX does, `saved_model.pb` last."""

    def Do(self, input_dict: dict[str, Any], output_dict: dict[str, Any], exec_properties: dict[str, Any]) -> None:
        """As the base class; also marks the artifact with `pushed_anew`."""
        destination = pusher_pb2.PushDestination()
        proto_utils.json_to_proto(exec_properties[standard_component_specs.PUSH_DESTINATION_KEY], destination)
        base = destination.filesystem.base_directory
        if "://" in base:
            super().Do(input_dict, output_dict, exec_properties)
            return
        artifact = artifact_utils.get_single_instance(output_dict[standard_component_specs.PUSHED_MODEL_KEY])
        if not self.CheckBlessing(input_dict):
            self._MarkNotPushed(artifact)
            return
        source = self.GetModelPath(input_dict)
        pushed = push(pathlib.Path(source), pathlib.Path(base))
        logging.info("version %d %s in %s", pushed.version, "pushed" if pushed.anew else "already stands", base)
        io_utils.copy_dir(source, artifact.uri)
        self._MarkPushed(artifact, pushed_destination=str(pushed.path), pushed_version=str(pushed.version))
        artifact.set_int_custom_property(PUSHED_ANEW, int(pushed.anew))


class Pusher(tfx_pusher.Pusher):
    """TFX's Pusher with this module's executor; the same arguments and outputs."""

    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)
