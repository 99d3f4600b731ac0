"""The outermost layer: counts, times and logs each request, and answers what nothing else did."""

from __future__ import annotations

import logging
import time
import uuid

from serving.gateway import metrics as named
from serving.gateway.asgi import OTHER, App, Facts, Message, Receive, Scope, Send, route_of, send_refusal, set_facts
from serving.gateway.json_logs import log
from serving.gateway.metrics import Metrics
from serving.gateway.refusal import Refusal

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


class Observed:
    """Gives each request an id of its own, whatever ids it brings, and writes one line about it.

    Args:
      app: the layers within.
      metrics: of the gateway.
    """

    def __init__(self, app: App, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request, as ASGI has it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, facts, status = time.perf_counter(), Facts(uuid.uuid4().hex), 0
        set_facts(scope, facts)

        async def send_on(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = [(b"x-request-id", facts.request_id.encode()), (b"cache-control", b"no-store")]
                message = {**message, "headers": [*message.get("headers", []), *headers]}
            await send(message)

        try:
            await self._app(scope, receive, send_on)
        except Exception as error:
            log("a request failed", logging.ERROR, error, request_id=facts.request_id)
            if not status:
                await send_refusal(send_on, Refusal(500, "internal", "Something went wrong here."), facts.request_id)
        finally:
            self._note(route_of(scope), scope["method"], facts, status, time.perf_counter() - began)

    def _note(self, route: str, method: str, facts: Facts, status: int, seconds: float) -> None:
        # 499, as nginx has it: the client went before there was an answer.
        status = status or 499
        self._metrics.add(named.REQUESTS, route, str(status))
        self._metrics.observe(named.REQUEST_DURATION, seconds, route)
        log(
            "request",
            request_id=facts.request_id,
            route=route,
            method=method if method in _METHODS else OTHER,
            status=status,
            ms=round(seconds * 1000, 2),
            token=facts.token or None,
            **facts.fields,
        )
