"""Lets in who may call, as often as they may, with as much as they may send."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable

from serving.gateway import metrics as named
from serving.gateway.asgi import CALLS, ROUTES, App, Message, Receive, Scope, Send, facts_of, send_refusal
from serving.gateway.metrics import Metrics
from serving.gateway.rate_limiter import RateLimiter
from serving.gateway.refusal import Refusal, nothing_there
from serving.gateway.settings import LimitSettings
from serving.gateway.shop_files import ANYBODY
from serving.gateway.tokens import Token, Tokens

_BEARER = re.compile(r"[Bb]earer +([!-~]{1,512}) *")
_JSON = re.compile(r"application/(?:json|[a-z0-9.-]+\+json)(?: *;.*)?", re.IGNORECASE)


class Admission:
    """Checks a call of /v1 before anything of its body is read, and its body while it is read.

    A path that is none of the routes to the letter is refused (404), since the application's own router takes
    "/v1/search\\n", too. Then, in this order: token (401), rate (429), type of the content (415), size (413, by the
    length that is told or, where none is, as soon as there is too much), time (408), and how many are answered at once
    (503).

    Args:
      app: the layers within.
      tokens: says which tokens there are now; None lets everybody in.
      rates: of tokens.
      limits: of requests.
      metrics: of the gateway.
    """

    def __init__(
        self, app: App, tokens: Callable[[], Tokens | None], rates: RateLimiter, limits: LimitSettings, metrics: Metrics
    ) -> None:
        self._app = app
        self._tokens = tokens
        self._rates = rates
        self._limits = limits
        self._metrics = metrics
        self._in_flight = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request, as ASGI has it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        facts = facts_of(scope)
        if scope["path"] not in ROUTES:
            await send_refusal(send, nothing_there(), facts.request_id)
            return
        if scope["path"] not in CALLS or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        try:
            headers = _headers(scope)
            token = self._token(headers)
            facts.token = token.name
            self._check_rate(token)
            self._check_head(headers)
            body = await self._read(receive)
            if body is None:
                return
            if self._in_flight >= self._limits.in_flight:
                raise Refusal(503, "overloaded", "Too many requests are being answered.", 1)
        except Refusal as refusal:
            await send_refusal(send, refusal, facts.request_id)
            return
        self._in_flight += 1
        self._metrics.set(named.IN_PROGRESS, self._in_flight)
        try:
            await self._app(scope, _replayed(body, receive), send)
        finally:
            self._in_flight -= 1
            self._metrics.set(named.IN_PROGRESS, self._in_flight)

    def _token(self, headers: dict[str, str]) -> Token:
        tokens = self._tokens()
        if tokens is None:
            return ANYBODY
        presented = _BEARER.fullmatch(headers.get("authorization", ""))
        token = tokens.find(presented[1]) if presented else None
        if token is None:
            what = "The token is not known" if presented else "There is no token"
            raise Refusal(401, "unauthenticated", f"{what}; expected `Authorization: Bearer TOKEN`.")
        return token

    def _check_rate(self, token: Token) -> None:
        wait = self._rates.take(token)
        if wait:
            self._metrics.add(named.RATE_LIMITED, token.name)
            raise Refusal(429, "rate_limited", "Too many requests with this token; expected a pause.", wait)

    def _check_head(self, headers: dict[str, str]) -> None:
        if not _JSON.fullmatch(headers.get("content-type", "")):
            raise Refusal(415, "unsupported_media_type", "The body has another type; expected application/json.")
        if headers.get("content-encoding", "identity").lower() != "identity":
            raise Refusal(415, "unsupported_media_type", "The body is compressed; expected plain JSON.")
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length[:20]) > self._limits.body_bytes:
            raise self._too_large()

    async def _read(self, receive: Receive) -> bytes | None:
        """The body; None if the client went away meanwhile."""
        body, deadline = bytearray(), time.monotonic() + self._limits.body_seconds
        while True:
            try:
                message = await asyncio.wait_for(receive(), max(0.0, deadline - time.monotonic()))
            except asyncio.TimeoutError:
                limit = f"{self._limits.body_seconds:g} seconds"
                raise Refusal(408, "too_slow", f"The body does not come; expected it within {limit}.") from None
            if message["type"] == "http.disconnect":
                return None
            body += message.get("body", b"")
            if len(body) > self._limits.body_bytes:
                raise self._too_large()
            if not message.get("more_body", False):
                return bytes(body)

    def _too_large(self) -> Refusal:
        return Refusal(413, "too_large", f"The body is too large; expected at most {self._limits.body_bytes} bytes.")


def _headers(scope: Scope) -> dict[str, str]:
    """By name, the last of each; a name that is there twice, of those that are looked at, is no way in."""
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}


def _replayed(body: bytes, receive: Receive) -> Receive:
    """Gives the body once, and then what comes."""
    message: Message | None = {"type": "http.request", "body": body, "more_body": False}

    async def replay() -> Message:
        nonlocal message
        if message is None:
            return await receive()
        first, message = message, None
        return first

    return replay
