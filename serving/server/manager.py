"""Loads, swaps and unloads the versions of several models as their directories change."""

from __future__ import annotations

import contextlib
import logging
import os
import pathlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Generic

import grpc
from tensorflow_serving.config.model_server_config_pb2 import ModelConfig

from serving.server.errors import ServingError
from serving.server.storage import wanted_versions
from serving.server.versions import Action, Loaded, ModelVersions, State, Version, VersionStatus

log = logging.getLogger("serving.server")

_TICK_SECONDS = 0.05
_PAUSE_SECONDS = 1.0
_INITIAL_LOADS = 4 * (os.cpu_count() or 1)


class Manager(Generic[Loaded]):
    """Serves the versions that the models' policies ask for, as they come and go on disk.

    No request fails in a swap: a newer version is loaded before the old one goes, and the old one goes when the last
    request that uses it ends. A version that fails to load leaves the old one serving.

    Args:
      load: makes a servable of a version directory, or raises.
      poll_seconds: between looks at the directories; 0 looks once after each `serve`, below 0 never.
      max_retries: after a load that failed; below 0 none.
      retry_seconds: between them; below 0 none.
      load_threads: versions that may load at once; 0 is 1, and a load that waits for its retry then holds up the
        others. The first models load together.
    """

    def __init__(
        self,
        load: Callable[[pathlib.Path], Loaded],
        poll_seconds: float = 1.0,
        max_retries: int = 5,
        retry_seconds: float = 60.0,
        load_threads: int = 0,
    ) -> None:
        self._load = load
        self._poll_seconds = poll_seconds
        self._max_retries = max(0, max_retries)
        self._retry_seconds = max(0.0, retry_seconds)
        self._load_threads = max(1, load_threads)
        self._most_loads = max(self._load_threads, _INITIAL_LOADS)
        self._loads = 0
        self._changed = threading.Condition()
        self._configs: list[ModelConfig] = []
        self._models: dict[str, ModelVersions[Loaded]] = {}
        self._next_look = float("inf")
        self._next_warning = 0.0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="versions", daemon=True)

    def serve(self, configs: Iterable[ModelConfig]) -> list[str]:
        """Replaces what is to be served: models that are left out are unloaded.

        Returns:
          Names of the models that were not served before.
        """
        with self._changed:
            before = {config.name for config in self._configs}
            self._configs = list(configs)
            names = [config.name for config in self._configs]
            for gone in before - set(names):
                self._models[gone].want({})
            for name in names:
                self._models.setdefault(name, ModelVersions(name))
            if self._poll_seconds == 0 or (self._poll_seconds > 0 and not before):
                self._next_look = 0.0
            return [name for name in names if name not in before]

    def start(self) -> None:
        """Begins to look at the directories and to load."""
        self._thread.start()

    def stop(self, timeout: float = 5.0) -> None:
        """Ends the watching and unloads everything, waiting at most `timeout` seconds for requests under way."""
        self._stopping.set()
        deadline = time.monotonic() + timeout
        with self._changed:
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join(timeout)
        with self._changed:
            versions = [version for model in self._models.values() for version in model.versions.values()]
            for version in versions:
                if version.state == State.AVAILABLE:
                    self._unload(version)
            self._changed.wait_for(
                lambda: all(version.servable is None for version in versions), max(0.0, deadline - time.monotonic())
            )

    def wait_until_available(self, names: Iterable[str], alive: Callable[[], bool] = lambda: True) -> list[str] | None:
        """Waits until each model has an AVAILABLE version or failed to load all it was to load.

        Args:
          names: of models that are served; one without versions on disk is waited for without limit.
          alive: asked now and then; False ends the waiting.

        Returns:
          What could not be loaded, `{name: N version: V} due to error: ..` a model; None when stopped or not alive.
        """
        names = list(names)
        with self._changed:
            while not self._stopping.is_set() and alive():
                outcomes = [self._outcome(name) for name in names]
                if None not in outcomes:
                    self._most_loads = self._load_threads
                    return [outcome for outcome in outcomes if outcome]
                self._changed.wait(0.2)
        return None

    @contextlib.contextmanager
    def use(self, name: str, number: int | None = None) -> Iterator[tuple[Loaded, int]]:
        """A version for the length of one request: the one asked for, or the newest AVAILABLE one.

        Yields:
          The servable, kept loaded until the block ends, and its version number.

        Raises:
          ServingError: NOT_FOUND for what is not served.
        """
        with self._changed:
            model = self._models.get(name)
            version = model.find(number) if model else None
            if version is None:
                what = f"Latest({name})" if number is None else f"Specific({name}, {number})"
                raise ServingError(grpc.StatusCode.NOT_FOUND, f"Servable not found for request: {what}")
            version.users += 1
        try:
            assert version.servable is not None
            yield version.servable, version.number
        finally:
            with self._changed:
                version.users -= 1
                if version.state != State.AVAILABLE:
                    self._changed.notify_all()

    def statuses(self, name: str) -> list[VersionStatus]:
        """Every version of a model ever tried, highest first; none of a model never heard of."""
        with self._changed:
            return self._models[name].statuses() if name in self._models else []

    def knows(self, name: str) -> bool:
        """Whether a model of that name is, or once was, to be served."""
        with self._changed:
            return name in self._models

    def _outcome(self, name: str) -> str | None:
        """Of the wanted versions: "" when one serves, what went wrong when all failed, None while undecided."""
        model = self._models[name]
        if model.pending:  # what serves may be about to go
            return None
        wanted = [version for version in model.versions.values() if version.wanted]
        if any(version.state == State.AVAILABLE for version in wanted):
            return ""
        if not wanted or any(version.state != State.END for version in wanted):
            return None
        newest = max(wanted, key=lambda version: version.number)
        return f"{{name: {name} version: {newest.number}}} due to error: {newest.error}"

    def _watch(self) -> None:
        while not self._stopping.is_set():
            pause = _TICK_SECONDS
            try:
                self._look_when_due()
                self._step()
            except Exception:  # all models hang on this thread
                log.exception("A look at the versions failed; the next one follows")
                pause = _PAUSE_SECONDS
            self._stopping.wait(pause)

    def _look_when_due(self) -> None:
        now = time.monotonic()
        with self._changed:
            if now < self._next_look:
                return
            self._next_look = now + self._poll_seconds if self._poll_seconds > 0 else float("inf")
            configs = list(self._configs)
        self._look(configs, now)

    def _look(self, configs: list[ModelConfig], now: float) -> None:
        """Reads the directories; one base path that is missing leaves all models as they are."""
        warn = now >= self._next_warning
        if warn:
            self._next_warning = now + 1.0
        found = {}
        for config in configs:
            try:
                found[config.name] = wanted_versions(config, warn)
            except ServingError as error:
                if warn:
                    log.error("FileSystemStoragePathSource encountered a filesystem access error: %s", error.message)
                return
        with self._changed:
            if configs == self._configs:
                for name, versions in found.items():
                    self._models[name].want(versions)

    def _step(self) -> None:
        with self._changed:
            for model in self._models.values():
                model.settle()
                while action := model.next_action():
                    what, version = action
                    if what == Action.UNLOAD:
                        self._unload(version)
                        continue
                    if self._loads >= self._most_loads:
                        break
                    name = f"load {model.name} {version.number}"
                    threading.Thread(target=self._load_version, args=(model, version), name=name, daemon=True).start()
                    self._loads += 1
                    version.state = State.LOADING
            self._changed.notify_all()

    def _load_version(self, model: ModelVersions[Loaded], version: Version[Loaded]) -> None:
        started = time.monotonic()
        servable, error = self._try_to_load(model, version)
        with self._changed:
            self._loads -= 1
            if servable is not None and version.wanted and not self._stopping.is_set():
                version.servable = servable
                version.state = State.AVAILABLE
                servable = None
            else:
                cancelled = ServingError(grpc.StatusCode.CANCELLED, "Loading of servable cancelled")
                version.error = error or cancelled
                version.state = State.END
            self._changed.notify_all()
        if servable is not None:
            servable.close()
        elif not version.error:
            seconds = time.monotonic() - started
            log.info("Version %d of %s is AVAILABLE after %.1f s", version.number, model.name, seconds)

    def _try_to_load(
        self, model: ModelVersions[Loaded], version: Version[Loaded]
    ) -> tuple[Loaded | None, ServingError | None]:
        attempts = self._max_retries + 1
        for attempt in range(1, attempts + 1):
            try:
                return self._load(version.path), None
            except Exception as failure:
                error = ServingError.wrap(failure)
            log.error(
                "Loading version %d of %s from %s failed (attempt %d of %d): %s",
                *(version.number, model.name, version.path, attempt, attempts, error),
            )
            with self._changed:
                if attempt == attempts or self._changed.wait_for(
                    lambda: not version.wanted or self._stopping.is_set(), self._retry_seconds
                ):
                    break
        return None, error

    def _unload(self, version: Version[Loaded]) -> None:
        """Takes a version from new requests and closes it, in a thread, when the last user is gone. Holds the lock."""

        def close_when_free() -> None:
            with self._changed:
                self._changed.wait_for(lambda: version.users == 0)
            assert version.servable is not None
            try:
                version.servable.close()
            finally:
                with self._changed:
                    version.servable = None
                    version.state = State.END
                    self._changed.notify_all()
            log.info("Version %d from %s is unloaded", version.number, version.path)

        threading.Thread(target=close_when_free, name=f"unload {version.number}", daemon=True).start()
        version.state = State.UNLOADING
        self._changed.notify_all()
