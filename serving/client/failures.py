"""What a failed call says: what was asked of whom, the server's text, and what to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from serving.results import CallError

#: Longest text of a server that goes into a message whole; of a longer one go both ends. `CallError.details` has all.
_MOST_DETAILS = 600

_HINTS = {
    "UNAVAILABLE": "Tried {tried}.",
    "CANCELLED": "Tried {tried}.",
    "NOT_FOUND": "`status` tells which versions of `{model}` the server has, or that it does not know the name.",
    "DEADLINE_EXCEEDED": "The limit was {timeout}.",
    "RESOURCE_EXHAUSTED": "Ask for fewer rows at once, or raise the limit that is named (`max_message_bytes` here).",
    "UNIMPLEMENTED": "Expected the gRPC port of a server that offers this, not the one of REST.",
    "UNAUTHENTICATED": "Give a token (`token`, or --token-file).",
    "PERMISSION_DENIED": "The token or the client's certificate does not allow this.",
}
#: What gRPC says where no server could be talked to; what else is UNAVAILABLE is busy, and says so.
_NO_CONNECTION = ("failed to connect", "connections to all backends failing", "DNS resolution failed")
_WHERE_TO_LOOK = "Does a server listen there for gRPC (not REST), with TLS where the client has it, and only there?"
_UNKNOWN_MODEL = "Is `{model}` the model's name there (--model_name, or `name` in the server's model config)?"


def call_error(
    what: str,
    model: str,
    addresses: Sequence[str],
    code: str,
    details: str,
    attempts: int = 1,
    timeout: float | None = None,
    hint: str = "",
) -> CallError:
    """An error of a few lines.

    Args:
      what: was asked for: a signature, "status", "metadata" or "reload".
      model: its name.
      addresses: of the replicas.
      code: of gRPC.
      details: the server's text.
      attempts: that were made.
      timeout: of the whole call, in seconds.
      hint: what to do; "" for what the code suggests.
    """
    where = ", ".join(addresses)
    if not hint:
        template = _UNKNOWN_MODEL if code == "NOT_FOUND" and what == "status" else _HINTS.get(code, "")
        times = "once" if attempts == 1 else f"{attempts} times"
        limit = f"{timeout:g} s (`timeout`)" if timeout is not None else "set by the server"
        hint = template.format(tried=f"{where} {times}", model=model, timeout=limit)
        if code == "UNAVAILABLE" and any(text in details for text in _NO_CONNECTION):
            hint = f"{hint} {_WHERE_TO_LOOK}"
    half = _MOST_DETAILS // 2
    text = details if len(details) <= _MOST_DETAILS else f"{details[:half]} … {details[-half:]}"
    message = f"{what} of model `{model}` on {where} failed with {code}: {text or 'no details'}"
    if hint and message[-1] not in ".!?":
        message += "."
    return CallError(f"{message} {hint}".rstrip(), code, details)


def columns_hint(model: str, has: Sequence[str], sent: Sequence[str]) -> str:
    """Says which context columns the model has and the client sent; "" when they are the same."""
    if set(has) == set(sent):
        return ""
    return (
        f"The context columns of `{model}` are {', '.join(has) or 'none'}; the client sent {', '.join(sent) or 'none'}."
    )


def signatures_hint(model: str, signatures: Mapping[str, object]) -> str:
    """Says which signatures a model has."""
    return f"The signatures of `{model}` are {', '.join(sorted(signatures)) or 'none'}."
