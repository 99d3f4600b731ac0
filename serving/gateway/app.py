"""The gateway as an application of ASGI."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from serving import contract
from serving.gateway import asgi
from serving.gateway.admission import Admission
from serving.gateway.gateway import Gateway
from serving.gateway.messages import (
    ErrorAnswer,
    EventsAnswer,
    EventsBody,
    HealthAnswer,
    ReadyAnswer,
    RecommendAnswer,
    RecommendBody,
    SearchBody,
)
from serving.gateway.observed import Observed
from serving.gateway.rate_limiter import RateLimiter
from serving.gateway.refusal import Refusal, invalid, nothing_there
from serving.gateway.sentences import sentence
from serving.store.errors import StoreError

_BODIES: dict[str, type[BaseModel]] = {
    asgi.RECOMMEND: RecommendBody,
    asgi.SEARCH: SearchBody,
    asgi.EVENTS: EventsBody,
}
_ERRORS = {
    400: "The body is no JSON.",
    401: "No token, or one that is not known.",
    408: "The body comes too slowly.",
    413: "The body is too large.",
    415: "The body is not application/json.",
    422: "A field is unknown, missing or wrong.",
    429: "Too many requests with this token; Retry-After says how many seconds to wait.",
    503: "Too many requests at once, or nothing to answer; Retry-After says when to ask again.",
}
_RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorAnswer, "description": what} for status, what in _ERRORS.items()
}
_SECURITY: dict[str, Any] = {"security": [{"bearer": []}]}
_BEARER = {"bearer": {"type": "http", "scheme": "bearer"}}
_METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def create_app(gateway: Gateway) -> asgi.App:
    """The application; it starts and stops the gateway."""

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await gateway.start()
        try:
            yield
        finally:
            await gateway.stop()

    app = FastAPI(
        title="Gateway",
        version="1",
        description="Recommendations, search and events of an online shop.",
        lifespan=lifespan,
        redirect_slashes=False,
        docs_url=None,  # its page would come from another host
        redoc_url=None,
        openapi_url=asgi.OPENAPI,
    )
    _add_calls(app, gateway)
    _add_probes(app, gateway)
    _add_errors(app)
    _describe_tokens(app)
    rates = RateLimiter(gateway.settings.access)
    admission = Admission(app, lambda: gateway.files.tokens, rates, gateway.settings.limits, gateway.metrics)
    return Observed(admission, gateway.metrics)


def _add_calls(app: FastAPI, gateway: Gateway) -> None:
    async def answer(request: Request, signature: str, body: RecommendBody, query: str, route: str) -> Response:
        facts = asgi.facts_of(request.scope)
        answered = await gateway.answer(signature, body, query, facts.request_id)
        answered.count(gateway.metrics, route)
        facts.fields = answered.fields()
        return JSONResponse(answered.document())

    @app.post(asgi.RECOMMEND, response_model=RecommendAnswer, responses=_RESPONSES, openapi_extra=_SECURITY)
    async def recommend(body: RecommendBody, request: Request) -> Response:
        """The best items for a user, through the shop's rules."""
        return await answer(request, contract.RECOMMEND, body, "", asgi.RECOMMEND)

    @app.post(asgi.SEARCH, response_model=RecommendAnswer, responses=_RESPONSES, openapi_extra=_SECURITY)
    async def search(body: SearchBody, request: Request) -> Response:
        """The best items for a user's query, through the shop's rules."""
        return await answer(request, contract.SEARCH, body, body.query, asgi.SEARCH)

    @app.post(asgi.EVENTS, response_model=EventsAnswer, responses=_RESPONSES, openapi_extra=_SECURITY)
    async def events(body: EventsBody, request: Request) -> Response:
        """Takes what shoppers did, one event or several; it counts from the next request on. One that bears its
        `timestamp` may be sent again: it counts once. Without one it is of the moment in which it came, each time."""
        facts = asgi.facts_of(request.scope)
        try:
            taken = await gateway.events.take(body.events)
        except StoreError:
            message = "The events may not be stored, since the store does not answer; expected them again later."
            raise Refusal(503, "unavailable", message, 1) from None
        facts.fields = {"stored": taken.stored, "skipped": taken.skipped}
        return JSONResponse({"request_id": facts.request_id, "stored": taken.stored, "skipped": taken.skipped})


def _add_probes(app: FastAPI, gateway: Gateway) -> None:
    @app.get(asgi.HEALTH, response_model=HealthAnswer)
    async def healthz() -> Response:
        """Whether the process lives."""
        return JSONResponse({"status": "ok"})

    @app.get(asgi.READY, response_model=ReadyAnswer, responses={503: {"model": ReadyAnswer}})
    async def readyz() -> Response:
        """Whether model server and store answered when last looked at. Without them the gateway still answers."""
        model, store = gateway.models.up, gateway.shoppers.up
        ready = model and store
        return JSONResponse({"ready": ready, "model": model, "store": store}, 200 if ready else 503)

    @app.get(asgi.METRICS, responses={200: {"content": {"text/plain": {}}}}, response_class=Response)
    async def metrics() -> Response:
        """For Prometheus."""
        return Response(gateway.metrics.text(), media_type=_METRICS_TYPE)


def _add_errors(app: FastAPI) -> None:
    def answered(request: Request, refusal: Refusal) -> Response:
        body = refusal.body(asgi.facts_of(request.scope).request_id)
        return JSONResponse(body, refusal.status, refusal.headers)

    @app.exception_handler(Refusal)
    async def refused(request: Request, error: Refusal) -> Response:
        return answered(request, error)

    @app.exception_handler(Exception)
    async def failed(request: Request, _: Exception) -> Response:  # `Observed` logs it
        return answered(request, Refusal(500, "internal", "Something went wrong here."))

    @app.exception_handler(RequestValidationError)
    async def not_valid(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        if first["type"] == "json_invalid":
            return answered(request, _no_json())
        return answered(request, invalid(sentence(first, _BODIES[request.scope["path"]])))

    @app.exception_handler(HTTPException)
    async def of_http(request: Request, error: HTTPException) -> Response:
        if error.status_code == 400:  # what cannot be read, for its encoding or its depth
            return answered(request, _no_json())
        if error.status_code == 405:
            refusal = Refusal(405, "method_not_allowed", "The path does not take this method.")
            response = answered(request, refusal)
            response.headers.update(error.headers or {})
            return response
        return answered(request, nothing_there())


def _no_json() -> Refusal:
    return Refusal(400, "invalid_json", "The body is no JSON; expected one object in UTF-8.")


def _describe_tokens(app: FastAPI) -> None:
    """Says in the OpenAPI document how to authenticate, which another layer sees to."""
    document = app.openapi

    def with_tokens() -> dict[str, Any]:
        described = document()
        described.setdefault("components", {})["securitySchemes"] = _BEARER
        return described

    app.openapi = with_tokens  # type: ignore[method-assign]
