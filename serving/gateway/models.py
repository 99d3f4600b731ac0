"""The model server, asked for the arms of an experiment."""

from __future__ import annotations

import dataclasses
import logging
import pathlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from serving import contract
from serving.client import AsyncClient, CallError, Request
from serving.experiment.arm import Arm
from serving.gateway import metrics as named
from serving.gateway.json_logs import log
from serving.gateway.metrics import Metrics
from serving.gateway.settings import ModelSettings
from serving.results import Recommendation

#: Why there is no ranking, as answers and metrics have it.
TIMEOUT, UNAVAILABLE, REFUSED = "model_timeout", "model_unavailable", "model_refused"
MODEL_REASONS = (TIMEOUT, UNAVAILABLE, REFUSED)
_REASONS = {"DEADLINE_EXCEEDED": TIMEOUT, "UNAVAILABLE": UNAVAILABLE, "CANCELLED": UNAVAILABLE}
#: Numbers of versions from here to there are times in seconds (2001 to 2286), as Pusher gives them.
_TIMES = (10**9, 10**10)
#: The most that a look at the server may take, in seconds; it answers nobody.
_PATIENCE = 2.0


class Target(NamedTuple):
    """What is asked for: a model's version, or the one with a label, or the newest (0 and "")."""

    model: str
    label: str
    version: int

    @classmethod
    def of(cls, arm: Arm) -> Target:
        """What an arm is asked of."""
        return cls(arm.model, arm.label, arm.version)

    @property
    def name(self) -> str:
        """In metrics."""
        return self.label or (str(self.version) if self.version else "newest")


@dataclass(frozen=True)
class Seen:
    """What is known of the version that a target stands for now.

    Attributes:
      version: its number.
      since: when it was first seen, in seconds since 1970-01-01 UTC.
      columns: context columns of `recommend` and `search`; None before the first look.
    """

    version: int
    since: float
    columns: frozenset[str] | None = None


class ModelError(Exception):
    """That there is no ranking, and why (`reason`)."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Models:
    """Asks the model server, and keeps an eye on it.

    There is no circuit breaker: a server that hangs costs each request its time limit, one that is gone the pauses
    before the retries (two: 0.15 s at most). Calls reach it again once gRPC has connected anew, which it tries every
    few seconds.

    Args:
      settings: where it is, and how long it may take.
      metrics: of the gateway.

    Attributes:
      up: whether control's model answered when last looked at.

    Raises:
      ValueError: for an address, a certificate or a token that cannot be used.
    """

    def __init__(self, settings: ModelSettings, metrics: Metrics) -> None:
        self._settings = settings
        self._metrics = metrics
        self._tls = settings.tls.tls()
        self._token = _read_token(settings.token_file)
        self._clients: dict[str, AsyncClient] = {}
        self._seen: dict[Target, Seen] = {}
        self.client(settings.name)
        self.up = False

    def client(self, model: str) -> AsyncClient:
        """The client of a model, made when it is first asked for."""
        if model not in self._clients:
            self._clients[model] = AsyncClient(
                self._settings.address,
                model,
                timeout=self._settings.timeout_ms / 1000,
                retries=self._settings.retries,
                tls=self._tls,
                token=self._token,
            )
        return self._clients[model]

    async def ask(self, signature: str, request: Request, arm: Arm, timeout: float) -> Recommendation:
        """The best items of the catalogue.

        Args:
          signature: `recommend` or `search`.
          request: context columns that the model does not have are left out.
          arm: that says which model and version.
          timeout: seconds.

        Raises:
          ModelError: if there is no answer.
        """
        target = Target.of(arm)
        client = self.client(arm.model)
        method = client.recommend if signature == contract.RECOMMEND else client.search
        began = time.perf_counter()
        try:
            try:
                answer = await method(self._fitted(request, target), **_which(target), timeout=timeout)
            except ValueError:  # a version came that has fewer context columns
                await self._look_at(target)
                left = max(0.0, timeout - (time.perf_counter() - began))
                answer = await method(self._fitted(request, target), **_which(target), timeout=left)
        except CallError as error:
            self._metrics.add(named.MODEL_ERRORS, arm.model, error.code)
            raise ModelError(_REASONS.get(error.code, REFUSED)) from None
        except ValueError as error:
            self._metrics.add(named.MODEL_ERRORS, arm.model, "INVALID_ARGUMENT")
            log("the model cannot be asked", logging.ERROR, error, model=arm.model)
            raise ModelError(REFUSED) from None
        finally:
            self._metrics.observe(named.MODEL_DURATION, time.perf_counter() - began, arm.model, target.name, signature)
        self._note(target, answer.version)
        return answer

    async def look(self, arms: Sequence[Arm]) -> bool:
        """Looks at what each arm stands for; returns whether the first of them, control, is there."""
        control, targets = Target.of(arms[0]), dict.fromkeys(map(Target.of, arms))
        for target in set(self._seen).difference(targets):  # what an ended experiment asked grows old unseen
            del self._seen[target]
            for metric in (named.MODEL_VERSION, named.MODEL_TIMESTAMP):
                self._metrics.remove(metric, target.model, target.name)
        for target in targets:
            try:
                await self._look_at(target)
            except CallError as error:
                if target == control:
                    self._set_up(False, error.code)
                continue
            if target == control:
                self._set_up(True)
        return self.up

    async def close(self) -> None:
        """Closes the connections."""
        for client in self._clients.values():
            await client.close()

    async def _look_at(self, target: Target) -> None:
        found = await self.client(target.model).metadata(**_which(target), timeout=_PATIENCE)
        self._note(target, found.version, frozenset(found.context_columns(contract.RECOMMEND)))

    def _fitted(self, request: Request, target: Target) -> Request:
        """The request without context columns that the target is known not to have."""
        seen = self._seen.get(target)
        if seen is None or seen.columns is None or seen.columns.issuperset(request.context):
            return request
        known = {column: value for column, value in request.context.items() if column in seen.columns}
        return dataclasses.replace(request, context=known)

    def _set_up(self, up: bool, code: str = "") -> None:
        if up != self.up:
            log("the model server is there" if up else "the model server is gone", logging.WARNING, code=code)
        self.up = up
        self._metrics.set(named.DEPENDENCY_UP, up, "model")

    def _note(self, target: Target, version: int, columns: frozenset[str] | None = None) -> None:
        seen = self._seen.get(target)
        if seen is not None and seen.version == version:
            if columns is not None and columns != seen.columns:
                self._seen[target] = dataclasses.replace(seen, columns=columns)
            return
        now = time.time()
        # Of a version that is new the columns are not known before the next look: then all are sent.
        self._seen[target] = Seen(version, now, columns)
        pushed = version if _TIMES[0] <= version < _TIMES[1] else now
        self._metrics.set(named.MODEL_VERSION, version, target.model, target.name)
        self._metrics.set(named.MODEL_TIMESTAMP, pushed, target.model, target.name)
        log("a version answers", model=target.model, label=target.name, version=version)


def _which(target: Target) -> dict[str, Any]:
    return {"version": target.version or None, "label": target.label or None}


def _read_token(file: str) -> str:
    try:
        return pathlib.Path(file).read_text(encoding="utf-8").strip() if file else ""
    except (OSError, UnicodeDecodeError):
        raise ValueError(f"{file}: cannot be read; expected the token of the model server.") from None
