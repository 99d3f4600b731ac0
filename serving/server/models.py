"""Which models are served: their configuration, its reloads, and the labels of versions."""

from __future__ import annotations

import contextlib
import logging
import pathlib
import re
import threading
from collections.abc import Callable
from typing import Generic

import grpc
from tensorflow_serving.apis import model_pb2
from tensorflow_serving.config import model_server_config_pb2
from tensorflow_serving.config.model_server_config_pb2 import ModelConfig, ModelServerConfig

from serving.server.errors import ServingError, invalid_argument
from serving.server.manager import Manager
from serving.server.versions import Loaded, State, VersionStatus

log = logging.getLogger("serving.server")

#: The one platform there is.
TENSORFLOW = "tensorflow"
_URI = re.compile(r"[a-zA-Z][0-9a-zA-Z.]*://.")
_ALIVE_SECONDS = 0.2


def single_model(name: str, base_path: str) -> ModelServerConfig:
    """What --model_name and --model_base_path stand for."""
    config = ModelServerConfig()
    config.model_config_list.config.add(name=name, base_path=base_path, model_platform=TENSORFLOW)
    return config


class Models(Generic[Loaded]):
    """Finds the version that a request asks for, and takes new configurations while it serves.

    The order of a reload is TensorFlow Serving's: the configuration is checked and stored, then the labels are
    checked and swapped, then the models are, and the caller waits until each new one serves.

    Args:
      manager: loads and unloads.
      allow_labels_for_unavailable: a label that is not in use may name a version that does not serve yet.
    """

    def __init__(self, manager: Manager[Loaded], allow_labels_for_unavailable: bool = False) -> None:
        self._manager = manager
        self._allow_labels_for_unavailable = allow_labels_for_unavailable
        self._reloading = threading.Lock()
        self._config = ModelServerConfig()
        self._loaded_once = False
        self._labels: dict[str, dict[str, int]] = {}

    def reload(self, config: ModelServerConfig, alive: Callable[[], bool] = lambda: True) -> bool:
        """Replaces the configuration and waits until each new model has one AVAILABLE version.

        Args:
          config: the whole of it; models and labels that it leaves out are gone. Empty: nothing happens.
          alive: asked now and then while waiting; False ends that. What has begun goes on.

        Returns:
          False when the waiting was ended.

        Raises:
          ServingError: INVALID_ARGUMENT or FAILED_PRECONDITION for a configuration that is refused, UNKNOWN when a
            new model cannot be loaded.
        """
        while not self._reloading.acquire(timeout=_ALIVE_SECONDS):
            if not alive():
                return False
        try:
            return self._reload(config, alive)
        finally:
            self._reloading.release()

    def use(self, spec: model_pb2.ModelSpec) -> contextlib.AbstractContextManager[tuple[Loaded, int]]:
        """The version that a request asks for; see `Manager.use`.

        Raises:
          ServingError: INVALID_ARGUMENT for no name or an unknown label, NOT_FOUND for what is not served.
        """
        if not spec.name:
            raise invalid_argument("ModelSpec has no name specified.")
        choice = spec.WhichOneof("version_choice")
        number = spec.version.value if choice == "version" else None
        if choice == "version_label":
            number = self._labels.get(spec.name, {}).get(spec.version_label)
            if number is None:
                raise invalid_argument(f"Unrecognized servable version label: {spec.version_label}")
        return self._manager.use(spec.name, number)

    def knows(self, name: str) -> bool:
        """Whether a model of that name is, or once was, to be served."""
        return self._manager.knows(name)

    def statuses(self, name: str) -> list[VersionStatus]:
        """Every version of a model ever tried, highest first."""
        return self._manager.statuses(name)

    def _reload(self, config: ModelServerConfig, alive: Callable[[], bool]) -> bool:
        old, new = self._config.WhichOneof("config"), config.WhichOneof("config")
        if old is not None and not old == new == "model_config_list":
            raise ServingError(
                grpc.StatusCode.FAILED_PRECONDITION,
                "Cannot transition to requested config. It is only legal to transition from one ModelConfigList to "
                "another.",
            )
        if new is None:
            log.info("Taking no action for empty config.")
            return True
        if new != "model_config_list":
            raise ServingError(grpc.StatusCode.UNIMPLEMENTED, "ModelServer does not yet support custom model config.")
        configs = list(config.model_config_list.config)
        _check(configs)
        _check_platforms(list(self._config.model_config_list.config), configs)
        self._config = config
        self._labels = self._new_labels(configs)
        for model in configs:
            if _platform(model) != TENSORFLOW:
                raise invalid_argument(f"Model {model.name} requests unsupported platform {_platform(model)}")
        log.info("Adding/updating models: %s", ", ".join(model.name for model in configs) or "none")
        failures = self._manager.wait_until_available(self._manager.serve(configs), alive)
        first, self._loaded_once = not self._loaded_once, True
        if failures:
            what = "servable(s)" if first else "model(s)"
            listed = "".join(f"{{{failure}}}, " for failure in failures)
            raise ServingError(
                grpc.StatusCode.UNKNOWN, f"{len(failures)} {what} did not become available: {{{listed}}}"
            )
        if any(model.HasField("logging_config") for model in configs):
            raise invalid_argument("No request-logger-creator provided.")  # nor has the real server one
        return failures is not None

    def _new_labels(self, configs: list[ModelConfig]) -> dict[str, dict[str, int]]:
        """The labels of a configuration.

        Raises:
          ServingError: FAILED_PRECONDITION for one whose version does not serve now.
        """
        labels: dict[str, dict[str, int]] = {}
        for model in configs:
            serving = {status.version for status in self.statuses(model.name) if status.state == State.AVAILABLE}
            for label, number in model.version_labels.items():
                in_use = self._labels.get(model.name, {}).get(label, number) != number
                if number not in serving and (in_use or not self._allow_labels_for_unavailable):
                    raise ServingError(
                        grpc.StatusCode.FAILED_PRECONDITION,
                        f"Request to assign label to version {number} of model {model.name}, which is not currently "
                        "available for inference",
                    )
                labels.setdefault(model.name, {})[label] = number
        return labels


def _check(configs: list[ModelConfig]) -> None:
    names = set()
    for model in configs:
        if model.name in names:
            raise invalid_argument(f"Illegal to list model {model.name} multiple times in config list")
        names.add(model.name)
    for model in configs:
        if not pathlib.PurePath(model.base_path).is_absolute() and not _URI.match(model.base_path):
            raise invalid_argument(
                f"Expected model {model.name} to have an absolute path or URI; got base_path()={model.base_path}"
            )


def _check_platforms(old: list[ModelConfig], new: list[ModelConfig]) -> None:
    platforms = {model.name: _platform(model) for model in old}
    for model in new:
        if model.name in platforms and _platform(model) != platforms[model.name]:
            raise invalid_argument(
                f"Illegal to change a model's platform. For model {model.name} platform was {platforms[model.name]} "
                f"and new platform requested is {_platform(model)}"
            )


def _platform(model: ModelConfig) -> str:
    """The platform, from either of the fields that may hold it.

    Raises:
      ServingError: INVALID_ARGUMENT when both or neither do.
    """
    if model.model_type == model_server_config_pb2.MODEL_TYPE_UNSPECIFIED:
        if not model.model_platform:
            raise invalid_argument(
                "Illegal setting neither ModelServerConfig::model_type (deprecated) nor "
                "ModelServerConfig::model_platform."
            )
        return model.model_platform
    if model.model_platform:
        raise invalid_argument(
            "Illegal setting both ModelServerConfig::model_type (deprecated) and ModelServerConfig::model_platform."
        )
    if model.model_type != model_server_config_pb2.TENSORFLOW:
        raise invalid_argument(f"ModelServerConfig::model_type choice {model.model_type} not supported.")
    return TENSORFLOW
