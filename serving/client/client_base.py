"""What the two clients share: everything but the waiting."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, overload

import grpc

from serving import protos
from serving.client import answers, failures
from serving.client.addresses import parse_addresses
from serving.client.connection import Connection
from serving.client.inputs import build_inputs, takes_context
from serving.client.model_config import ModelConfig, server_config
from serving.client.steps import LONGEST_TIMEOUT, Asked, Attempt, Pause, Steps, backoff
from serving.client.tensors import fill_tensor
from serving.client.tls import Tls
from serving.requests import Request
from serving.results import CallError, Metadata, VersionStatus

_CODES = {code.value[0]: code.name for code in grpc.StatusCode}
#: What a call ends with whose replica is not there. CANCELLED is what some servers say of calls under way when they
#: stop; the client itself never cancels one and then waits for it.
_CUT_OFF = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
_HEADER_NAME = re.compile(r"[0-9a-z_.-]+")
_HEADER_VALUE = re.compile(r"[\x20-\x7e]+")
_AUTHORIZATION = "authorization"
#: What a server says to inputs that are not the signature's, and of a signature that it does not have.
_OTHER_INPUTS = ("input size does not match signature", "Signature input alias")
_NO_SIGNATURE = "Serving signature"
#: So often one call is sent with context columns that were read and that the replica does not take.
_MOST_REFUSALS = 4


class ClientBase:
    """Settings of a client, and the steps of its calls.

    Args: as of `serving.client.Client`.
    """

    def __init__(
        self,
        address: str | Sequence[str],
        model_name: str = "default",
        context_columns: Sequence[str] | None = None,
        timeout: float | None = 10.0,
        *,
        retries: int = 4,
        tls: Tls | None = None,
        token: str | Callable[[], str] = "",
        headers: Mapping[str, str] | None = None,
        max_message_bytes: int = -1,
    ) -> None:
        if isinstance(context_columns, str):
            raise ValueError("`context_columns` is one string; expected a list of strings.")
        if timeout is not None and not 0 < timeout <= LONGEST_TIMEOUT:
            raise ValueError(
                f"`timeout` is {timeout}; expected seconds above 0, at most {LONGEST_TIMEOUT}, or None for no limit."
            )
        if retries < 0:
            raise ValueError(f"`retries` is {retries}; expected 0 or more.")
        self.addresses = parse_addresses(address)
        self.model_name = model_name
        self.context_columns = None if context_columns is None else tuple(context_columns)
        self.timeout = timeout
        self.retries = retries
        self._token = token
        self._headers = tuple(_header(name.lower(), value) for name, value in (headers or {}).items())
        if token and any(name == _AUTHORIZATION for name, _ in self._headers):
            raise ValueError(f"Both `token` and the header `{_AUTHORIZATION}` are given; expected one of them.")
        if not callable(token):
            self._all_headers()
        self._connection = Connection(self.addresses, tls, max_message_bytes)
        self._learned: dict[tuple[int | None, str | None], Metadata] = {}
        self._closed = False

    def _asked(self, version: int | None, label: str | None, timeout: float | None) -> Asked:
        return Asked(version, label, self.timeout if timeout is None else timeout)

    def _predict(
        self, signature: str, requests: Request | Sequence[Request], asked: Asked, only: str | None = None
    ) -> Steps[Any]:
        """Asks a signature: one result for one request, a list for a list."""
        outputs = answers.outputs_of(signature, only)
        batch = [requests] if isinstance(requests, Request) else list(requests)
        if not batch:
            return []
        columns = yield from self._columns(signature, batch, asked)
        for refusals in range(1, _MOST_REFUSALS + 1):
            try:
                answer = yield from self._send_batch(signature, batch, columns, outputs, asked)
                break
            except CallError as error:
                columns = yield from self._columns_after(error, refusals, signature, columns, asked)
        try:
            results = answers.results(signature, batch, answer, outputs)
        except ValueError as error:
            raise self._error(signature, asked, "INTERNAL", str(error)) from None
        return results[0] if isinstance(requests, Request) else results

    def _status(self, asked: Asked) -> Steps[list[VersionStatus]]:
        request = protos.GetModelStatusRequest()
        self._fill_spec(request.model_spec, asked)
        return answers.statuses((yield from self._send("status", "GetModelStatus", request, asked)))

    def _metadata(self, asked: Asked, what: str = "metadata") -> Steps[Metadata]:
        request = protos.GetModelMetadataRequest(metadata_field=["signature_def"])
        self._fill_spec(request.model_spec, asked)
        return answers.metadata((yield from self._send(what, "GetModelMetadata", request, asked)))

    def _reload(self, models: Sequence[ModelConfig], asked: Asked) -> Steps[None]:
        if len(self.addresses) > 1:
            raise ValueError(
                f"`reload` reaches one server, and this client has {len(self.addresses)} addresses; "
                "expected a client for each of them."
            )
        request = protos.ReloadConfigRequest(config=server_config(models))
        answer = yield from self._send("reload", "HandleReloadConfigRequest", request, asked)
        if answer.status.error_code:
            code = _CODES.get(answer.status.error_code, "UNKNOWN")
            raise self._error("reload", asked, code, answer.status.error_message)

    def _columns(self, signature: str, batch: Sequence[Request], asked: Asked) -> Steps[tuple[str, ...]]:
        """The context columns to send: as given, else as read once of what is asked.

        They are read again when requests have others, which a version may declare that came since.
        """
        if not takes_context(signature):
            return ()
        if self.context_columns is not None:
            return self.context_columns
        named = {column for request in batch for column in request.context}
        metadata = self._learned.get((asked.version, asked.label))
        if metadata is None or not named.issubset(metadata.context_columns(signature)):
            metadata = self._learned[asked.version, asked.label] = yield from self._metadata(asked, signature)
        if signature not in metadata.signatures:
            return tuple(sorted(named))  # the server will say what is wrong, rather than that these are not declared
        return metadata.context_columns(signature)

    def _columns_after(
        self, error: CallError, refusals: int, signature: str, sent: tuple[str, ...], asked: Asked
    ) -> Steps[tuple[str, ...]]:
        """The context columns of a version that came since they were read.

        While a version comes, replicas differ, and each message may reach another one. So the same is sent once more
        between readings: else two replicas asked by turns could refuse and describe themselves by turns for ever.

        Raises:
          CallError: the one given where they are not to blame, with what the model has where it has something else.
        """
        other_inputs = error.code == "INVALID_ARGUMENT" and any(text in error.details for text in _OTHER_INPUTS)
        no_signature = error.code == "FAILED_PRECONDITION" and _NO_SIGNATURE in error.details
        if not (other_inputs or no_signature):
            raise error
        learned = self.context_columns is None and takes_context(signature) and not no_signature
        if learned and refusals % 2:
            return sent
        try:
            metadata = yield from self._metadata(asked)
        except CallError:
            raise error from None
        if no_signature:
            hint = failures.signatures_hint(self.model_name, metadata.signatures)
            raise self._error(signature, asked, error.code, error.details, hint=hint) from None
        has = metadata.context_columns(signature)
        if learned and refusals < _MOST_REFUSALS:
            self._learned[asked.version, asked.label] = metadata
            return has
        hint = failures.columns_hint(self.model_name, has, sent)
        raise self._error(signature, asked, error.code, error.details, hint=hint) from None

    def _send_batch(
        self, signature: str, batch: Sequence[Request], columns: tuple[str, ...], outputs: Sequence[str], asked: Asked
    ) -> Steps[Any]:
        message = protos.PredictRequest(output_filter=outputs)
        self._fill_spec(message.model_spec, asked)
        message.model_spec.signature_name = signature
        for name, array in build_inputs(signature, batch, columns).items():
            fill_tensor(message.inputs[name], array)
        return (yield from self._send(signature, "Predict", message, asked))

    def _send(self, what: str, method: str, request: Any, asked: Asked) -> Steps[Any]:
        """Sends a message, again where a replica is not there: every call may be made twice without harm.

        gRPC's own retries are of no use here: it does not repeat a call of which any part of the answer has come.
        """
        if self._closed:
            raise ValueError("The client is closed; expected no call after that.")
        if asked.left() == 0:  # gRPC may still send what is over
            raise self._error(what, asked, "DEADLINE_EXCEEDED", "no time is left to send it")
        pauses = backoff(self.retries)
        attempts = 0
        while True:
            attempts += 1
            try:
                return (yield Attempt(method, request, asked.left(), self._all_headers()))
            except grpc.RpcError as error:
                code, details = error.code(), error.details() or ""
            pause = next(pauses, None) if code in _CUT_OFF else None
            left = asked.left()
            if pause is not None and (left is None or left > pause):
                yield Pause(pause)
                if not self._closed and asked.left() != 0:  # a busy machine may sleep for longer
                    continue
            raise self._error(what, asked, code.name, details, attempts)

    def _fill_spec(self, spec: Any, asked: Asked) -> None:
        spec.name = self.model_name
        if asked.version is not None:
            spec.version.value = asked.version
        if asked.label is not None:
            spec.version_label = asked.label

    def _all_headers(self) -> tuple[tuple[str, str], ...]:
        token = self._token() if callable(self._token) else self._token
        return (*self._headers, _header(_AUTHORIZATION, f"Bearer {token}")) if token else self._headers

    def _error(self, what: str, asked: Asked, code: str, details: str, attempts: int = 1, hint: str = "") -> CallError:
        return failures.call_error(what, self.model_name, self.addresses, code, details, attempts, asked.timeout, hint)


@overload
def text_requests(texts: str) -> Request: ...  # type: ignore[overload-overlap]
@overload
def text_requests(texts: Sequence[str]) -> list[Request]: ...
def text_requests(texts: str | Sequence[str]) -> Request | list[Request]:
    """Requests that bring these texts to the signature `tag`."""
    if isinstance(texts, str):
        return Request(profile_text=texts)
    return [Request(profile_text=text) for text in texts]


def _header(name: str, value: str) -> tuple[str, str]:
    """A pair that gRPC takes; no message shows the value, which may be secret."""
    if not _HEADER_NAME.fullmatch(name) or name.startswith("grpc-") or name.endswith("-bin"):
        raise ValueError(
            f"The header `{name}` cannot be sent; expected letters, digits, `_`, `-` and `.`, "
            "without `grpc-` before or `-bin` after them."
        )
    if not _HEADER_VALUE.fullmatch(value) or value != value.strip():
        raise ValueError(
            f"The value of the header `{name}` cannot be sent; expected printable ASCII on one line, "
            "without blanks around it."
        )
    return name, value
