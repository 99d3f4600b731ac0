"""From requests to the inputs of a signature."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np

from models import features
from serving import contract
from serving.requests import Event, Request

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


def takes_context(signature: str) -> bool:
    """Whether a named signature has context columns where a model declares them."""
    return contract.signature_inputs(signature, ("any",)) != contract.signature_inputs(signature)


def build_inputs(
    signature: str, requests: Sequence[Request], context_columns: tuple[str, ...] = ()
) -> dict[str, np.ndarray]:
    """The inputs of a named signature for a batch of requests.

    Args:
      signature: a named one: `suggest` reads a request's `query` as prefix, `tag` its `profile_text` as text, and
        both nothing else.
      requests: B of them, at least one.
      context_columns: the model's declared context columns.

    Returns:
      Input name -> [B] or [B, L] array, int64 or object (bytes); L >= 1 is the longest list, shorter ones end in
      the contract's neutral value, and the length inputs hold how many values are real.

    Raises:
      ValueError: for a context column that is not declared, or a value of the wrong kind.
    """
    for request in requests if takes_context(signature) else ():
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
    try:
        return np.array(values, np.int64)
    except OverflowError:
        raise ValueError(f"`{spec.name}` holds {max(values, key=abs)}; expected a number of 64 bits.") from None
