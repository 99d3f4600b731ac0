"""The REST port: HTTP around `RestApi`, and the page that Prometheus reads."""

from __future__ import annotations

import http.server
import io
import logging
import re
import threading
import zlib
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from serving.server.errors import ServingError
from serving.server.json_text import format_object, format_string
from serving.server.rest_api import EmptyBadRequest, RestApi

log = logging.getLogger("serving.server")

_API = re.compile(r"/v1/.*", re.IGNORECASE | re.DOTALL)
_JSON = "application/json"
#: Bytes of a body at most: reading more as JSON would hold up the other requests for seconds.
MAX_BODY_BYTES = 64 << 20
#: Connections at the same time at most; more are closed at once.
_MOST_CONNECTIONS = 1000
#: That a connection may take to send or to receive anything, as in the real server's library.
_PATIENCE_SECONDS = 50.0
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
        self._connections = threading.BoundedSemaphore(_MOST_CONNECTIONS)
        super().__init__((host, port), _Handler)

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


class _BadBody(Exception):
    """A body that is not read; the connection ends, for what follows on it is not known."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = _PATIENCE_SECONDS
    wbufsize = -1  # head and body in one packet
    disable_nagle_algorithm = True
    server: RestServer

    def _handle(self) -> None:
        path = self.path.partition("?")[0]
        try:
            body = self._inflated(self._body())
        except _BadBody as error:
            self.close_connection = True
            self._reply(error.args[0], None)
            return
        if path in self.server.pages:
            self._reply(HTTPStatus.OK, self.server.pages[path]().encode(), "text/plain")
        elif not _API.fullmatch(path):
            self._reply(HTTPStatus.NOT_FOUND, None)
        elif self.command == "OPTIONS" and self.server.cors:
            self._reply(HTTPStatus.OK, b"")
        else:
            with self.server.answering:
                status, answer = self._answer(path, body)
            self._reply(status, answer)

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = do_HEAD = _handle

    def _answer(self, path: str, body: bytes) -> tuple[int, bytes]:
        try:
            return HTTPStatus.OK, self.server.api.answer(self.command, path, body)
        except EmptyBadRequest:
            return HTTPStatus.BAD_REQUEST, b""
        except ServingError as error:
            text = format_object({"error": format_string(error.message)}, 0)
            return error.http_status, text.encode("utf-8", "replace")
        except Exception:
            log.exception("A request failed in the server itself")
            text = format_object({"error": format_string("The server failed; its log says why.")}, 0)
            return HTTPStatus.INTERNAL_SERVER_ERROR, text.encode()

    def _body(self) -> bytes:
        encoding = self.headers.get("Transfer-Encoding")
        if encoding:
            if encoding.lower() != "chunked":
                raise _BadBody(HTTPStatus.NOT_IMPLEMENTED)
            return self._chunks()
        text = self.headers.get("Content-Length") or "0"
        if not text.isascii() or not text.isdigit():
            raise _BadBody(HTTPStatus.BAD_REQUEST)
        return self._read(int(text), 0)

    def _inflated(self, body: bytes) -> bytes:
        """What a compressed body holds; nothing for one that is broken, as in the real server."""
        if "gzip" not in self.headers.get("Content-Encoding", ""):
            return body
        stream = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
        try:
            content = stream.decompress(body, MAX_BODY_BYTES)
        except zlib.error:
            return b""
        if stream.unconsumed_tail:
            raise _BadBody(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        return content if stream.eof else b""

    def _chunks(self) -> bytes:
        body = io.BytesIO()
        while True:
            line = self.rfile.readline(1000).split(b";")[0].strip()
            try:
                size = int(line, 16)
            except ValueError:
                raise _BadBody(HTTPStatus.BAD_REQUEST) from None
            if size < 0:
                raise _BadBody(HTTPStatus.BAD_REQUEST)
            body.write(self._read(size, body.tell()))
            end = self.rfile.readline(1000)
            while size == 0 and end not in (b"\r\n", b"\n", b""):  # trailers
                end = self.rfile.readline(1000)
            if size == 0:
                return body.getvalue()

    def _read(self, size: int, before: int) -> bytes:
        if size + before > MAX_BODY_BYTES:
            raise _BadBody(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        content = self.rfile.read(size)
        if len(content) < size:
            raise _BadBody(HTTPStatus.BAD_REQUEST)
        return content

    def _reply(self, status: int, body: bytes | None, kind: str = _JSON) -> None:
        self.send_response_only(status)
        self.send_header("Date", self.date_time_string())
        if body is not None:
            self.send_header("Content-Type", kind)
            for name, value in _CORS.items() if self.server.cors else ():
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body or b"")))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if body and self.command != "HEAD":
            self.wfile.write(body)
        self.wfile.flush()

    def handle(self) -> None:
        """Answers until the caller goes or says nothing for long."""
        try:
            super().handle()
        except (ConnectionError, TimeoutError):
            self.close_connection = True

    def log_message(self, format: str, *arguments: Any) -> None:
        """Says nothing: one line a request is no use to anybody."""
