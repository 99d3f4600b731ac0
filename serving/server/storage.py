"""The version directories of a model: which there are, and which of them its policy wants."""

from __future__ import annotations

import logging
import pathlib
import re

import grpc
from tensorflow_serving.config.model_server_config_pb2 import ModelConfig

from serving.server.errors import ServingError

log = logging.getLogger("serving.server")

_INT64 = range(-(2**63), 2**63)


def parse_version(name: str) -> int | None:
    """The version number that a directory's whole name spells, or None (`tmp-3`, `3.part`, hidden ones)."""
    if re.fullmatch(r"[+-]?[0-9]+", name) and int(name) in _INT64:
        return int(name)
    return None


def wanted_versions(config: ModelConfig, warn: bool = True) -> dict[int, pathlib.Path]:
    """The versions below a model's base path that its policy asks for.

    Args:
      config: of the model; without a policy the newest version is wanted.
      warn: log what is missing or ambiguous.

    Returns:
      Version number -> its directory. Files are not told from directories: they fail to load.

    Raises:
      ServingError: INVALID_ARGUMENT when the base path cannot be read.
    """
    base_path = pathlib.Path(config.base_path)
    try:
        names = sorted(child.name for child in base_path.iterdir())
    except (OSError, ValueError):  # a path with a NUL in it is a ValueError
        raise ServingError(
            grpc.StatusCode.INVALID_ARGUMENT, f"Could not find base path {base_path} for servable {config.name}"
        ) from None
    found: dict[int, pathlib.Path] = {}
    for name in names:
        number = parse_version(name)
        if number is None:
            continue
        if number in found and warn:
            log.warning(
                "Duplicate version directories detected. Version %d will be loaded from %s, %s will be ignored.",
                *(number, name, found[number].name),
            )
        found[number] = base_path / name
    wanted = _choose(config, found, warn)
    if not wanted and warn:
        log.warning("No versions of servable %s found under base path %s", config.name, base_path)
    return wanted


def _choose(config: ModelConfig, found: dict[int, pathlib.Path], warn: bool) -> dict[int, pathlib.Path]:
    policy = config.model_version_policy
    kind = policy.WhichOneof("policy_choice")
    if kind == "all":
        return found
    if kind == "specific":
        if warn:
            for number in sorted(set(policy.specific.versions) - set(found)):
                log.warning(
                    "Version %d of servable %s, which was requested to be served as a 'specific' version in the "
                    "servable's version policy, was not found in the file system",
                    *(number, config.name),
                )
        return {number: path for number, path in found.items() if number in policy.specific.versions}
    newest = sorted(found, reverse=True)[: max(1, policy.latest.num_versions)]
    return {number: found[number] for number in newest}
