"""What the layers of the gateway's HTTP share: the facts about a request, and answers without a body of FastAPI's."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any

from serving.gateway.refusal import Refusal

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

RECOMMEND, SEARCH, EVENTS = "/v1/recommend", "/v1/search", "/v1/events"
HEALTH, READY, METRICS, OPENAPI = "/healthz", "/readyz", "/metrics", "/openapi.json"
#: Paths that take a token and a body.
CALLS = (RECOMMEND, SEARCH, EVENTS)
#: In logs and metrics, for any other path.
OTHER = "other"
ROUTES = frozenset({*CALLS, HEALTH, READY, METRICS, OPENAPI})
_FACTS = "gateway"


@dataclass
class Facts:
    """What is known of one request while it is answered.

    Attributes:
      request_id: unlike any other.
      token: name of the token that it came with.
      fields: further ones for the log; nothing in them is about a person.
    """

    request_id: str
    token: str = ""
    fields: dict[str, Any] = field(default_factory=dict)


def route_of(scope: Scope) -> str:
    """The route, of which there are few, whatever paths are tried."""
    return scope["path"] if scope["path"] in ROUTES else OTHER


def set_facts(scope: Scope, facts: Facts) -> None:
    """Hands the facts on to the inner layers."""
    scope.setdefault("state", {})[_FACTS] = facts


def facts_of(scope: Scope) -> Facts:
    """The facts about the request."""
    facts: Facts = scope["state"][_FACTS]
    return facts


async def send_refusal(send: Send, refusal: Refusal, request_id: str) -> None:
    """Answers with an error."""
    body = json.dumps(refusal.body(request_id)).encode()
    headers = {"content-type": "application/json", "content-length": str(len(body)), **refusal.headers}
    start = {
        "type": "http.response.start",
        "status": refusal.status,
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }
    await send(start)
    await send({"type": "http.response.body", "body": body})
