"""The REST port: HTTP around `RestApi`, and the page that Prometheus reads."""

from __future__ import annotations

import contextlib
import http.server
import logging
import re
import threading
from collections.abc import Callable, Iterator
from http import HTTPStatus
from typing import Any, NamedTuple

from serving.server.errors import ServingError
from serving.server.http_body import BadBody, Body, ByteBudget
from serving.server.json_text import format_object, format_string
from serving.server.rest_api import EmptyBadRequest, RestApi

log = logging.getLogger("serving.server")

_API = re.compile(r"/v1/.*", re.IGNORECASE | re.DOTALL)
_JSON = "application/json"
#: Connections at the same time at most; more are closed at once.
_MOST_CONNECTIONS = 1000
#: That a connection may take to send or to receive anything, as in the real server's library.
_PATIENCE_SECONDS = 50.0
_STOPPING = "The server stops."
_CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "POST, GET",
    "Access-Control-Allow-Headers": "Content-Type",
}


class RestServer(http.server.ThreadingHTTPServer):
    """Answers REST requests: a thread a connection, so that a slow one holds up nobody, and few answers at a time.

    Args:
      host, port: to listen on; port 0 takes a free one (`server_port` tells which).
      api: makes the answers.
      threads: answers under way at the same time.
      pages: path -> text of plain pages besides the API.
      cors: allow browsers that have the page from elsewhere.
    """

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(
        self,
        host: str,
        port: int,
        api: RestApi,
        threads: int,
        pages: dict[str, Callable[[], str]],
        cors: bool = False,
    ) -> None:
        self.api = api
        self.pages = pages
        self.cors = cors
        self.answering = threading.BoundedSemaphore(threads)
        self.budget = ByteBudget()
        self.stopping = False
        self._connections = threading.BoundedSemaphore(_MOST_CONNECTIONS)
        self._under_way = 0
        self._ended = threading.Condition()
        super().__init__((host, port), _Handler)

    @contextlib.contextmanager
    def request(self) -> Iterator[bool]:
        """One request, from its head to the end of its answer; yields False when no more are taken."""
        with self._ended:
            accepted = not self.stopping
            self._under_way += accepted
        try:
            yield accepted
        finally:
            with self._ended:
                self._under_way -= accepted
                self._ended.notify_all()

    def stop(self, grace: float) -> None:
        """Closes the port, refuses what still comes on open connections, and lets requests under way end.

        Args:
          grace: seconds to wait for them.
        """
        with self._ended:
            self.stopping = True
        self.shutdown()
        self.server_close()
        with self._ended:
            self._ended.wait_for(lambda: not self._under_way, grace)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Starts a connection's thread."""
        if not self._connections.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """A connection's thread."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._connections.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A caller that goes away, or says nothing for long, is no error."""
        log.debug("A REST connection ended early", exc_info=True)


class _Reply(NamedTuple):
    status: int
    #: None: no Content-Type either.
    body: bytes | None = None
    kind: str = _JSON


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = _PATIENCE_SECONDS
    wbufsize = -1  # head and body in one packet
    disable_nagle_algorithm = True
    server: RestServer

    def _handle(self) -> None:
        with self.server.request() as accepted:
            try:
                with Body(self.rfile, self.headers, self.server.budget) as body:
                    body.receive()
                    reply = self._answer(body) if accepted else _error(HTTPStatus.SERVICE_UNAVAILABLE, _STOPPING)
            except BadBody as error:
                self.close_connection = True
                reply = _Reply(error.status)
            self._send(reply)

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = do_HEAD = _handle

    def _answer(self, body: Body) -> _Reply:
        # Whatever is not escaped in it is UTF-8, which Python's server reads as another encoding.
        path = self.path.partition("?")[0].encode("latin-1").decode("utf-8", "replace")
        if path in self.server.pages:
            return _Reply(HTTPStatus.OK, self.server.pages[path]().encode(), "text/plain")
        if not _API.fullmatch(path):
            return _Reply(HTTPStatus.NOT_FOUND)
        if self.command == "OPTIONS" and self.server.cors:
            return _Reply(HTTPStatus.OK, b"")
        with self.server.answering:
            try:
                return _Reply(HTTPStatus.OK, self.server.api.answer(self.command, path, body.content()))
            except EmptyBadRequest:
                return _Reply(HTTPStatus.BAD_REQUEST, b"")
            except ServingError as error:
                return _error(error.http_status, error.message)
            except BadBody:
                raise
            except Exception:
                log.exception("A request failed in the server itself")
                return _error(HTTPStatus.INTERNAL_SERVER_ERROR, "The server failed; its log says why.")

    def _send(self, reply: _Reply) -> None:
        self.send_response_only(reply.status)
        self.send_header("Date", self.date_time_string())
        if reply.body is not None:
            self.send_header("Content-Type", reply.kind)
            for name, value in _CORS.items() if self.server.cors else ():
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(reply.body or b"")))
        if self.server.stopping:
            self.close_connection = True
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if reply.body and self.command != "HEAD":
            self.wfile.write(reply.body)
        self.wfile.flush()

    def handle(self) -> None:
        """Answers until the caller goes or says nothing for long."""
        try:
            super().handle()
        except (ConnectionError, TimeoutError):
            self.close_connection = True

    def log_message(self, format: str, *arguments: Any) -> None:
        """Says nothing: one line a request is no use to anybody."""


def _error(status: int, message: str) -> _Reply:
    text = format_object({"error": format_string(message)}, 0)
    return _Reply(status, text.encode("utf-8", "replace"))
