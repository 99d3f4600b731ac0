"""Asks a server that speaks TensorFlow Serving's gRPC API; imports no TensorFlow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast, overload

import grpc
import numpy as np

from models import features
from serving import contract, protos
from serving.requests import Event, Request
from serving.results import (
    CallError,
    Metadata,
    Ranking,
    Recommendation,
    SignatureSpec,
    Suggestions,
    TensorSpec,
    TextTags,
    UserProfile,
    VersionStatus,
)

Result = TypeVar("Result")

_NUMPY = {"float": "<f4", "double": "<f8", "int32": "<i4", "int64": "<i8", "bool": "?"}
_TYPED_FIELDS = {
    "float": "float_val",
    "double": "double_val",
    "int32": "int_val",
    "int64": "int64_val",
    "bool": "bool_val",
    "string": "string_val",
}

_SCALARS: dict[str, Callable[[Request], Any]] = {
    features.USER_ID: lambda request: request.user_id,
    features.PROFILE_TEXT: lambda request: request.profile_text,
    features.TEXT: lambda request: request.profile_text,
    features.QUERY: lambda request: request.query,
    features.REQUEST_TIME: lambda request: request.request_time,
    contract.PREFIX: lambda request: request.query,
}
_LISTS: dict[str, Callable[[Request], Sequence[Any]]] = {
    features.HISTORY_ITEM_IDS: lambda request: [Event(*event).item_id for event in request.history],
    features.HISTORY_EVENT_TYPES: lambda request: [Event(*event).event_type for event in request.history],
    features.HISTORY_TIMESTAMPS: lambda request: [Event(*event).timestamp for event in request.history],
    features.CANDIDATE_ITEM_IDS: lambda request: request.candidates,
    features.CANDIDATE_TEXT: lambda request: request.candidate_text or [""] * len(request.candidates),
    contract.EXCLUDE_ITEM_IDS: lambda request: request.exclude,
    contract.ALLOW_ITEM_IDS: lambda request: request.allow,
}


def build_inputs(
    signature: str, requests: Sequence[Request], context_columns: tuple[str, ...] = ()
) -> dict[str, np.ndarray]:
    """The inputs of a named signature for a batch of requests.

    Args:
      signature: a named one: `suggest` reads a request's `query` as prefix, `tag` its `profile_text` as text.
      requests: B of them, at least one.
      context_columns: the model's declared context columns.

    Returns:
      Input name -> [B] or [B, L] array, int64 or object (bytes); L >= 1 is the longest list, shorter ones end in
      the contract's neutral value, and the length inputs hold how many values are real.

    Raises:
      ValueError: for a context column that is not declared, or a value of the wrong kind.
    """
    for request in requests:
        unknown = sorted(set(request.context) - set(context_columns))
        if unknown:
            declared = ", ".join(context_columns) or "none"
            raise ValueError(f"context column `{unknown[0]}` is not declared; declared columns: {declared}.")
    inputs = contract.signature_inputs(signature, context_columns)
    lengths = set(contract.length_inputs(inputs))
    arrays: dict[str, np.ndarray] = {}
    for spec in inputs:
        if spec.name in lengths:
            continue
        if spec.rank == 1:
            if spec.name in context_columns:
                values = [request.context.get(spec.name, spec.neutral) for request in requests]
            else:
                values = [_SCALARS[spec.name](request) for request in requests]
            arrays[spec.name] = _array(spec, values)
            continue
        rows = [list(_LISTS[spec.name](request)) for request in requests]
        width = max(1, *map(len, rows))
        flat = [value for row in rows for value in row + [spec.neutral] * (width - len(row))]
        arrays[spec.name] = _array(spec, flat).reshape(len(rows), width)
        arrays[cast(str, spec.length)] = np.array([len(row) for row in rows], np.int64)
    return arrays


class Client:
    """Asks one model of `tensorflow_model_server` or of the embedded server; both answer alike.

    `rank`, `recommend`, `search`, `profile` and `suggest` take one `Request` and return one result, or take a list and
    return a list (one call, one batch; an empty list needs no call). Safe to share between threads.

    Args:
      address: "host:port" of the gRPC port.
      model_name: as the server knows it.
      context_columns: the model's declared context columns, such as ("country",).
      timeout: seconds that a call may take; None for no limit.

    Raises:
      CallError: from every call that fails, with the code and the server's text.
      ValueError: for a request that cannot be sent.

    Example:
      with Client("localhost:8500", "ranker", context_columns=("country",)) as client:
          ranking = client.rank(Request(user_id="17850", candidates=["22423", "85123A"]))
    """

    def __init__(
        self,
        address: str,
        model_name: str = "default",
        context_columns: Sequence[str] = (),
        timeout: float | None = 10.0,
    ) -> None:
        self.address = address
        self.model_name = model_name
        self.context_columns = tuple(context_columns)
        self.timeout = timeout
        # Clients refuse answers beyond 4 MiB by default: 1,000 rows of 100 items with their ids are more than that.
        unlimited = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
        self._channel = grpc.insecure_channel(address, options=unlimited)
        self._calls = {
            name: self._channel.unary_unary(
                path, request_serializer=request.SerializeToString, response_deserializer=response.FromString
            )
            for name, (path, request, response) in protos.METHODS.items()
        }

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connection."""
        self._channel.close()

    @overload
    def rank(self, requests: Request, *, version: int | None = None) -> Ranking: ...
    @overload
    def rank(self, requests: Sequence[Request], *, version: int | None = None) -> list[Ranking]: ...
    def rank(self, requests: Request | Sequence[Request], *, version: int | None = None) -> Ranking | list[Ranking]:
        """Scores the candidates of each request; `version` None asks the newest."""

        def result(request: Request, row: dict[str, Any], answered: int) -> Ranking:
            return Ranking(list(request.candidates), row[contract.SCORES][: len(request.candidates)], answered)

        return self._ask(contract.RANK, requests, version, result)

    @overload
    def recommend(self, requests: Request, *, version: int | None = None) -> Recommendation: ...
    @overload
    def recommend(self, requests: Sequence[Request], *, version: int | None = None) -> list[Recommendation]: ...
    def recommend(
        self, requests: Request | Sequence[Request], *, version: int | None = None
    ) -> Recommendation | list[Recommendation]:
        """The best items of the catalogue for each request."""
        return self._ask(contract.RECOMMEND, requests, version, _recommendation)

    @overload
    def search(self, requests: Request, *, version: int | None = None) -> Recommendation: ...
    @overload
    def search(self, requests: Sequence[Request], *, version: int | None = None) -> list[Recommendation]: ...
    def search(
        self, requests: Request | Sequence[Request], *, version: int | None = None
    ) -> Recommendation | list[Recommendation]:
        """The best items of the catalogue for each request's `query`."""
        return self._ask(contract.SEARCH, requests, version, _recommendation)

    @overload
    def profile(self, requests: Request, *, version: int | None = None) -> UserProfile: ...
    @overload
    def profile(self, requests: Sequence[Request], *, version: int | None = None) -> list[UserProfile]: ...
    def profile(
        self, requests: Request | Sequence[Request], *, version: int | None = None
    ) -> UserProfile | list[UserProfile]:
        """The user vector and tags of each request."""
        return self._ask(contract.PROFILE, requests, version, _profile)

    @overload
    def suggest(self, requests: Request, *, version: int | None = None) -> Suggestions: ...
    @overload
    def suggest(self, requests: Sequence[Request], *, version: int | None = None) -> list[Suggestions]: ...
    def suggest(
        self, requests: Request | Sequence[Request], *, version: int | None = None
    ) -> Suggestions | list[Suggestions]:
        """What each request's `query`, as far as it is typed, may be completed to; nothing else of it is read."""
        return self._ask(contract.SUGGEST, requests, version, _suggestions)

    @overload
    def tag(self, texts: str, *, version: int | None = None) -> TextTags: ...  # type: ignore[overload-overlap]
    @overload
    def tag(self, texts: Sequence[str], *, version: int | None = None) -> list[TextTags]: ...
    def tag(self, texts: str | Sequence[str], *, version: int | None = None) -> TextTags | list[TextTags]:
        """Tags, named words, sentiment and key words of each text."""
        if isinstance(texts, str):
            return self._ask(contract.TAG, Request(profile_text=texts), version, _text_tags)
        return self._ask(contract.TAG, [Request(profile_text=text) for text in texts], version, _text_tags)

    def status(self, *, version: int | None = None) -> list[VersionStatus]:
        """State of every version the server ever tried, highest first, or of one."""
        request = protos.GetModelStatusRequest()
        self._fill_spec(request.model_spec, version)
        answer = self._call("GetModelStatus", "status", request)
        return [
            VersionStatus(item.version, protos.STATES[item.state], item.status.error_code, item.status.error_message)
            for item in answer.model_version_status
        ]

    def metadata(self, *, version: int | None = None) -> Metadata:
        """Signatures of the newest version, or of the one asked for."""
        request = protos.GetModelMetadataRequest(metadata_field=["signature_def"])
        self._fill_spec(request.model_spec, version)
        answer = self._call("GetModelMetadata", "metadata", request)
        signatures = protos.SignatureDefMap.FromString(answer.metadata["signature_def"].value)
        return Metadata(
            answer.model_spec.version.value,
            {
                name: SignatureSpec(_specs(signature.inputs), _specs(signature.outputs))
                for name, signature in signatures.signature_def.items()
            },
        )

    def _ask(
        self,
        signature: str,
        requests: Request | Sequence[Request],
        version: int | None,
        result: Callable[[Request, dict[str, Any], int], Result],
    ) -> Any:
        batch = [requests] if isinstance(requests, Request) else list(requests)
        if not batch:
            return []
        message = protos.PredictRequest()
        self._fill_spec(message.model_spec, version)
        message.model_spec.signature_name = signature
        for name, array in build_inputs(signature, batch, self.context_columns).items():
            _fill_tensor(message.inputs[name], array)
        answer = self._call("Predict", signature, message)
        outputs = {}
        for name in contract.OUTPUTS[signature]:
            if name not in answer.outputs:
                raise self._error(signature, "INTERNAL", f"the answer lacks the output `{name}`")
            outputs[name] = _read_tensor(answer.outputs[name])
        answered = answer.model_spec.version.value
        results = [
            result(request, {name: output[row] for name, output in outputs.items()}, answered)
            for row, request in enumerate(batch)
        ]
        return results[0] if isinstance(requests, Request) else results

    def _fill_spec(self, spec: Any, version: int | None) -> None:
        spec.name = self.model_name
        if version is not None:
            spec.version.value = version

    def _call(self, method: str, what: str, request: Any) -> Any:
        try:
            return self._calls[method](request, timeout=self.timeout)
        except grpc.RpcError as error:
            raise self._error(what, error.code().name, error.details() or "") from None

    def _error(self, what: str, code: str, details: str) -> CallError:
        message = f"{what} of model `{self.model_name}` on {self.address} failed with {code}: {details or 'no details'}"
        return CallError(message, code, details)


def _recommendation(request: Request, row: dict[str, Any], version: int) -> Recommendation:
    item_ids = _texts(row[contract.ITEM_IDS])
    return Recommendation(item_ids, row[contract.SCORES][: len(item_ids)], version)


def _profile(request: Request, row: dict[str, Any], version: int) -> UserProfile:
    tags = _texts(row[contract.TAGS])
    return UserProfile(row[contract.VECTOR], tags, row[contract.TAG_SCORES][: len(tags)], version)


def _suggestions(request: Request, row: dict[str, Any], version: int) -> Suggestions:
    texts = _texts(row[contract.SUGGESTIONS])
    return Suggestions(texts, _texts(row[contract.KINDS])[: len(texts)], row[contract.SCORES][: len(texts)], version)


def _text_tags(request: Request, row: dict[str, Any], version: int) -> TextTags:
    tags, words = _texts(row[contract.TAGS]), _texts(row[contract.WORDS])
    return TextTags(
        tags,
        row[contract.TAG_SCORES][: len(tags)],
        words,
        _texts(row[contract.WORD_LABELS]),
        row[contract.WORD_SCORES][: len(words)],
        float(row[contract.SENTIMENT]),
        version,
    )


def _texts(values: np.ndarray) -> list[str]:
    """Decodes a row of strings up to its padding."""
    texts = [value.decode("utf-8", "replace") for value in values]
    return texts[: texts.index("")] if "" in texts else texts


def _array(spec: contract.Input, values: list[Any]) -> np.ndarray:
    if spec.dtype == "string":
        for value in values:
            if not isinstance(value, (str, bytes)):
                raise ValueError(f"`{spec.name}` holds {value!r}; expected a string.")
        array = np.empty(len(values), object)
        array[:] = [value.encode("utf-8") if isinstance(value, str) else value for value in values]
        return array
    for value in values:
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
            raise ValueError(f"`{spec.name}` holds {value!r}; expected a whole number.")
    return np.array(values, np.int64)


def _fill_tensor(tensor: Any, array: np.ndarray) -> None:
    for size in array.shape:
        tensor.tensor_shape.dim.add(size=size)
    if array.dtype == object:
        tensor.dtype = protos.DATA_TYPES["string"]
        tensor.string_val.extend(array.ravel().tolist())
    else:
        tensor.dtype = protos.DATA_TYPES[array.dtype.name]
        tensor.tensor_content = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()


def _read_tensor(tensor: Any) -> np.ndarray:
    kind = protos.DATA_TYPE_NAMES[tensor.dtype]
    shape = [dim.size for dim in tensor.tensor_shape.dim]
    if tensor.tensor_content:
        return np.frombuffer(tensor.tensor_content, _NUMPY[kind]).reshape(shape)
    values = list(getattr(tensor, _TYPED_FIELDS[kind]))
    # A typed list shorter than the shape repeats its last value.
    values += values[-1:] * (int(np.prod(shape)) - len(values))
    array = np.empty(len(values), object if kind == "string" else _NUMPY[kind])
    array[:] = values
    return array.reshape(shape)


def _specs(infos: Any) -> dict[str, TensorSpec]:
    return {
        name: TensorSpec(
            protos.DATA_TYPE_NAMES.get(info.dtype, f"dtype {info.dtype}"),
            None if info.tensor_shape.unknown_rank else tuple(dim.size for dim in info.tensor_shape.dim),
        )
        for name, info in infos.items()
    }
