"""The client of programs that wait for an answer."""

from __future__ import annotations

import functools
import time
from collections.abc import Sequence
from typing import Any, Literal, overload

import grpc

from serving import contract
from serving.client.client_base import ClientBase, text_requests
from serving.client.model_config import ModelConfig
from serving.client.steps import Pause, Result, Steps
from serving.requests import Request
from serving.results import Metadata, Ranking, Recommendation, Suggestions, TextTags, UserProfile, VersionStatus


class Client(ClientBase):
    """Asks one model of `tensorflow_model_server` or of the embedded server; both answer alike.

    `rank`, `recommend`, `search`, `profile` and `suggest` take one `Request` and return one result, or take a list and
    return a list (one call, one batch; an empty list needs no call); `tag` takes texts in their place. Every call may
    name a `version` or a `label` in place of the newest version, and a `timeout` in place of the client's. Safe to
    share between threads, which share its connections.

    Args:
      address: "host:port" of the gRPC port; of several replicas a list, or one text with commas; or a target of gRPC's
        own, such as "dns:///serving:8500". Calls go to the replicas by turns. Names in a list are looked up once, when
        the client is made; of one address gRPC looks the name up again when it must.
      model_name: as the server knows it.
      context_columns: the model's declared context columns, such as ("country",); None to read them from the model's
        metadata before the first call that needs them, and again when a version has come that takes others.
      timeout: seconds that a call may take, retries included, where it does not say; None for no limit.
      retries: of a call whose replica is UNAVAILABLE or ends it as CANCELLED, after growing pauses, on the next
        replica; 0 for none.
      tls: None for a connection in the clear.
      token: sent as `authorization: Bearer TOKEN`; a function is asked for it before each attempt. Nothing but `tls`
        keeps it from being read on the way.
      headers: further metadata of each call.
      max_message_bytes: of a request and of an answer; -1 for any size.

    Raises:
      ValueError: for settings that cannot be right, names that cannot be looked up, files that cannot be read; from a
        call for a request that cannot be sent, or when the client is closed.
      CallError: from every call that fails, with the code and the server's text.

    Example:
      with Client("localhost:8500", "ranker") as client:
          ranking = client.rank(Request(user_id="17850", candidates=["22423", "85123A"]))
    """

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections; calls of other threads that are under way end with CANCELLED."""
        self._closed = True
        self._channel[0].close()

    @overload
    def rank(
        self, requests: Request, *, version: int | None = None, label: str | None = None, timeout: float | None = None
    ) -> Ranking: ...
    @overload
    def rank(
        self,
        requests: Sequence[Request],
        *,
        version: int | None = None,
        label: str | None = None,
        timeout: float | None = None,
    ) -> list[Ranking]: ...
    def rank(
        self,
        requests: Request | Sequence[Request],
        *,
        version: int | None = None,
        label: str | None = None,
        timeout: float | None = None,
    ) -> Ranking | list[Ranking]:
        """Scores the candidates of each request."""
        return self._run(self._predict(contract.RANK, requests, self._asked(version, label, timeout)))

    @overload
    def recommend(
        self, requests: Request, *, version: int | None = None, label: str | None = None, timeout: float | None = None
    ) -> Recommendation: ...
    @overload
    def recommend(
        self,
        requests: Sequence[Request],
        *,
        version: int | None = None,
        label: str | None = None,
        timeout: float | None = None,
    ) -> list[Recommendation]: ...
    def recommend(
        self,
        requests: Request | Sequence[Request],
        *,
        version: int | None = None,
        label: str | None = None,
        timeout: float | None = None,
    ) -> Recommendation | list[Recommendation]:
        """The best items of the catalogue for each request."""
        return self._run(self._predict(contract.RECOMMEND, requests, self._asked(version, label, timeout)))

    @overload
    def search(
        self, requests: Request, *, version: int | None = None, label: str | None = None, timeout: float | None = None
    ) -> Recommendation: ...
    @overload
    def search(
        self,
        requests: Sequence[Request],
        *,
        version: int | None = None,
        label: str | None = None,
        timeout: float | None = None,
    ) -> list[Recommendation]: ...
    def search(
        self,
        requests: Request | Sequence[Request],
        *,
        version: int | None = None,
        label: str | None = None,
        timeout: float | None = None,
    ) -> Recommendation | list[Recommendation]:
        """The best items of the catalogue for each request's `query`."""
        return self._run(self._predict(contract.SEARCH, requests, self._asked(version, label, timeout)))

    @overload
    def profile(
        self,
        requests: Request,
        *,
        only: Literal["vector", "tags"] | None = None,
        version: int | None = None,
        label: str | None = None,
        timeout: float | None = None,
    ) -> UserProfile: ...
    @overload
    def profile(
        self,
        requests: Sequence[Request],
        *,
        only: Literal["vector", "tags"] | None = None,
        version: int | None = None,
        label: str | None = None,
        timeout: float | None = None,
    ) -> list[UserProfile]: ...
    def profile(
        self,
        requests: Request | Sequence[Request],
        *,
        only: Literal["vector", "tags"] | None = None,
        version: int | None = None,
        label: str | None = None,
        timeout: float | None = None,
    ) -> UserProfile | list[UserProfile]:
        """The user vector and tags of each request; with `only` the other part stays empty and is not computed."""
        return self._run(self._predict(contract.PROFILE, requests, self._asked(version, label, timeout), only))

    @overload
    def suggest(
        self, requests: Request, *, version: int | None = None, label: str | None = None, timeout: float | None = None
    ) -> Suggestions: ...
    @overload
    def suggest(
        self,
        requests: Sequence[Request],
        *,
        version: int | None = None,
        label: str | None = None,
        timeout: float | None = None,
    ) -> list[Suggestions]: ...
    def suggest(
        self,
        requests: Request | Sequence[Request],
        *,
        version: int | None = None,
        label: str | None = None,
        timeout: float | None = None,
    ) -> Suggestions | list[Suggestions]:
        """What each request's `query`, as far as it is typed, may be completed to; nothing else of it is read."""
        return self._run(self._predict(contract.SUGGEST, requests, self._asked(version, label, timeout)))

    @overload
    def tag(  # type: ignore[overload-overlap]
        self,
        texts: str,
        *,
        only: Literal["tags", "words", "sentiment"] | None = None,
        version: int | None = None,
        label: str | None = None,
        timeout: float | None = None,
    ) -> TextTags: ...
    @overload
    def tag(
        self,
        texts: Sequence[str],
        *,
        only: Literal["tags", "words", "sentiment"] | None = None,
        version: int | None = None,
        label: str | None = None,
        timeout: float | None = None,
    ) -> list[TextTags]: ...
    def tag(
        self,
        texts: str | Sequence[str],
        *,
        only: Literal["tags", "words", "sentiment"] | None = None,
        version: int | None = None,
        label: str | None = None,
        timeout: float | None = None,
    ) -> TextTags | list[TextTags]:
        """Tags, named words, sentiment and key words of each text; `only` as of `profile`."""
        return self._run(self._predict(contract.TAG, text_requests(texts), self._asked(version, label, timeout), only))

    def status(
        self, *, version: int | None = None, label: str | None = None, timeout: float | None = None
    ) -> list[VersionStatus]:
        """State of every version the server ever tried, highest first, or of the one asked for."""
        return self._run(self._status(self._asked(version, label, timeout)))

    def metadata(
        self, *, version: int | None = None, label: str | None = None, timeout: float | None = None
    ) -> Metadata:
        """Signatures of the newest version, or of the one asked for."""
        return self._run(self._metadata(self._asked(version, label, timeout)))

    def reload(self, models: Sequence[ModelConfig], *, timeout: float | None = None) -> None:
        """Makes the server serve these models, and no others, and waits until it does.

        Of an address that stands for several servers it reaches one. Models take longer to load than a call may take by
        default: a call that is over its `timeout` leaves the server loading.

        Raises:
          ValueError: for a client of several addresses: it would reach one of them.
        """
        self._run(self._reload(models, self._asked(None, None, timeout)))

    @functools.cached_property
    def _channel(self) -> tuple[Any, dict[str, Any]]:
        return self._connection.open(grpc)

    def _run(self, steps: Steps[Result]) -> Result:
        answer, error = None, None
        while True:
            try:
                step = steps.throw(error) if error else steps.send(answer)
            except StopIteration as end:
                return end.value
            answer, error = None, None
            if isinstance(step, Pause):
                time.sleep(step.seconds)
                continue
            call = self._channel[1][step.method]
            try:
                answer = call(step.request, timeout=step.timeout, metadata=step.headers)
            except grpc.RpcError as caught:
                error = caught
