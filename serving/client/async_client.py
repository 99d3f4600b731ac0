"""The client of programs that do other things meanwhile, with asyncio."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Sequence
from typing import Any, Literal, overload

import grpc
import grpc.aio

from serving import contract
from serving.client.client_base import ClientBase, text_requests
from serving.client.model_config import ModelConfig
from serving.client.steps import Pause, Result, Steps
from serving.requests import Request
from serving.results import Metadata, Ranking, Recommendation, Suggestions, TextTags, UserProfile, VersionStatus


class AsyncClient(ClientBase):
    """`Client` for asyncio: the same arguments, methods and errors. Made for one event loop.

    Example:
      async with AsyncClient("localhost:8500", "ranker") as client:
          first, second = await asyncio.gather(client.recommend(request), client.search(request))
    """

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the connections; tasks whose calls are under way are cancelled."""
        self._closed = True
        await self._channel[0].close()

    @overload
    async def rank(
        self, requests: Request, *, version: int | None = None, label: str | None = None, timeout: float | None = None
    ) -> Ranking: ...
    @overload
    async def rank(
        self,
        requests: Sequence[Request],
        *,
        version: int | None = None,
        label: str | None = None,
        timeout: float | None = None,
    ) -> list[Ranking]: ...
    async def rank(
        self,
        requests: Request | Sequence[Request],
        *,
        version: int | None = None,
        label: str | None = None,
        timeout: float | None = None,
    ) -> Ranking | list[Ranking]:
        """Scores the candidates of each request."""
        return await self._run(self._predict(contract.RANK, requests, self._asked(version, label, timeout)))

    @overload
    async def recommend(
        self, requests: Request, *, version: int | None = None, label: str | None = None, timeout: float | None = None
    ) -> Recommendation: ...
    @overload
    async def recommend(
        self,
        requests: Sequence[Request],
        *,
        version: int | None = None,
        label: str | None = None,
        timeout: float | None = None,
    ) -> list[Recommendation]: ...
    async def recommend(
        self,
        requests: Request | Sequence[Request],
        *,
        version: int | None = None,
        label: str | None = None,
        timeout: float | None = None,
    ) -> Recommendation | list[Recommendation]:
        """The best items of the catalogue for each request."""
        return await self._run(self._predict(contract.RECOMMEND, requests, self._asked(version, label, timeout)))

    @overload
    async def search(
        self, requests: Request, *, version: int | None = None, label: str | None = None, timeout: float | None = None
    ) -> Recommendation: ...
    @overload
    async def search(
        self,
        requests: Sequence[Request],
        *,
        version: int | None = None,
        label: str | None = None,
        timeout: float | None = None,
    ) -> list[Recommendation]: ...
    async def search(
        self,
        requests: Request | Sequence[Request],
        *,
        version: int | None = None,
        label: str | None = None,
        timeout: float | None = None,
    ) -> Recommendation | list[Recommendation]:
        """The best items of the catalogue for each request's `query`."""
        return await self._run(self._predict(contract.SEARCH, requests, self._asked(version, label, timeout)))

    @overload
    async def profile(
        self,
        requests: Request,
        *,
        only: Literal["vector", "tags"] | None = None,
        version: int | None = None,
        label: str | None = None,
        timeout: float | None = None,
    ) -> UserProfile: ...
    @overload
    async def profile(
        self,
        requests: Sequence[Request],
        *,
        only: Literal["vector", "tags"] | None = None,
        version: int | None = None,
        label: str | None = None,
        timeout: float | None = None,
    ) -> list[UserProfile]: ...
    async def profile(
        self,
        requests: Request | Sequence[Request],
        *,
        only: Literal["vector", "tags"] | None = None,
        version: int | None = None,
        label: str | None = None,
        timeout: float | None = None,
    ) -> UserProfile | list[UserProfile]:
        """The user vector and tags of each request; with `only` the other part stays empty and is not computed."""
        return await self._run(self._predict(contract.PROFILE, requests, self._asked(version, label, timeout), only))

    @overload
    async def suggest(
        self, requests: Request, *, version: int | None = None, label: str | None = None, timeout: float | None = None
    ) -> Suggestions: ...
    @overload
    async def suggest(
        self,
        requests: Sequence[Request],
        *,
        version: int | None = None,
        label: str | None = None,
        timeout: float | None = None,
    ) -> list[Suggestions]: ...
    async def suggest(
        self,
        requests: Request | Sequence[Request],
        *,
        version: int | None = None,
        label: str | None = None,
        timeout: float | None = None,
    ) -> Suggestions | list[Suggestions]:
        """What each request's `query`, as far as it is typed, may be completed to; nothing else of it is read."""
        return await self._run(self._predict(contract.SUGGEST, requests, self._asked(version, label, timeout)))

    @overload
    async def tag(  # type: ignore[overload-overlap]
        self,
        texts: str,
        *,
        only: Literal["tags", "words", "sentiment"] | None = None,
        version: int | None = None,
        label: str | None = None,
        timeout: float | None = None,
    ) -> TextTags: ...
    @overload
    async def tag(
        self,
        texts: Sequence[str],
        *,
        only: Literal["tags", "words", "sentiment"] | None = None,
        version: int | None = None,
        label: str | None = None,
        timeout: float | None = None,
    ) -> list[TextTags]: ...
    async def tag(
        self,
        texts: str | Sequence[str],
        *,
        only: Literal["tags", "words", "sentiment"] | None = None,
        version: int | None = None,
        label: str | None = None,
        timeout: float | None = None,
    ) -> TextTags | list[TextTags]:
        """Tags, named words, sentiment and key words of each text; `only` as of `profile`."""
        return await self._run(
            self._predict(contract.TAG, text_requests(texts), self._asked(version, label, timeout), only)
        )

    async def status(
        self, *, version: int | None = None, label: str | None = None, timeout: float | None = None
    ) -> list[VersionStatus]:
        """State of every version the server ever tried, highest first, or of the one asked for."""
        return await self._run(self._status(self._asked(version, label, timeout)))

    async def metadata(
        self, *, version: int | None = None, label: str | None = None, timeout: float | None = None
    ) -> Metadata:
        """Signatures of the newest version, or of the one asked for."""
        return await self._run(self._metadata(self._asked(version, label, timeout)))

    async def reload(self, models: Sequence[ModelConfig], *, timeout: float | None = None) -> None:
        """Makes the server serve these models, and no others, and waits until it does.

        Of an address that stands for several servers it reaches one. Models take longer to load than a call may take by
        default: a call that is over its `timeout` leaves the server loading.

        Raises:
          ValueError: for a client of several addresses: it would reach one of them.
        """
        await self._run(self._reload(models, self._asked(None, None, timeout)))

    @functools.cached_property
    def _channel(self) -> tuple[Any, dict[str, Any]]:
        return self._connection.open(grpc.aio)

    async def _run(self, steps: Steps[Result]) -> Result:
        answer, error = None, None
        while True:
            try:
                step = steps.throw(error) if error else steps.send(answer)
            except StopIteration as end:
                return end.value
            answer, error = None, None
            if isinstance(step, Pause):
                await asyncio.sleep(step.seconds)
                continue
            call = self._channel[1][step.method]
            try:
                answer = await call(step.request, timeout=step.timeout, metadata=step.headers)
            except grpc.RpcError as caught:
                error = caught
