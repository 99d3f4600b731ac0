"""The body of an HTTP request: read whole, however it is framed, within a budget that all requests share."""

from __future__ import annotations

import io
import re
import threading
import zlib
from email.message import Message
from http import HTTPStatus

#: Bytes of a body at most: reading more as JSON would hold up the other requests for seconds.
MAX_BODY_BYTES = 64 << 20
#: Bytes of all bodies together at most, inflated ones included.
MAX_HELD_BYTES = 16 * MAX_BODY_BYTES
_PIECE_BYTES = 1 << 20
_MOST_DIGITS = 18
_CHUNK_SIZE = re.compile(rb"[0-9a-fA-F]{1,16}")


class BadBody(Exception):
    """A body that is not read; the connection ends, for what follows on it is not known.

    Args:
      status: of the answer, which has no body of its own.
    """

    def __init__(self, status: HTTPStatus) -> None:
        super().__init__(status)
        self.status = status


class ByteBudget:
    """Memory for the bodies of all requests, so that many callers together cannot take more than there is.

    Args:
      limit: bytes.
    """

    def __init__(self, limit: int = MAX_HELD_BYTES) -> None:
        self._left = limit
        self._lock = threading.Lock()

    def take(self, size: int) -> bool:
        """Takes so many bytes; False, and none are taken, when they are not left."""
        with self._lock:
            if size > self._left:
                return False
            self._left -= size
            return True

    def give_back(self, size: int) -> None:
        """Returns what was taken."""
        with self._lock:
            self._left += size


class Body:
    """The body of one request; as a context manager it gives back at the end what it took of the budget.

    The bytes are taken as they arrive, not as they are announced: a caller that announces much and sends nothing takes
    nothing.

    Args:
      stream: of the connection, behind the head.
      headers: of the request.
      budget: which it shares with all other requests.
    """

    def __init__(self, stream: io.BufferedIOBase, headers: Message, budget: ByteBudget) -> None:
        self._stream = stream
        self._headers = headers
        self._budget = budget
        self._held = 0
        self._content = io.BytesIO()

    def __enter__(self) -> Body:
        return self

    def __exit__(self, *_: object) -> None:
        self._budget.give_back(self._held)

    def receive(self) -> None:
        """Reads the body off the connection.

        Raises:
          BadBody: 400 when its length is none or it ends early, 413 when it is too large, 501 for a framing that is
            not known, 503 when the budget is used up.
        """
        encoding = self._headers.get("Transfer-Encoding")
        if encoding is None:
            self._read(self._length())
        elif encoding.lower() == "chunked":
            self._read_chunks()
        else:
            raise BadBody(HTTPStatus.NOT_IMPLEMENTED)

    def content(self) -> bytes:
        """The body, inflated if it is compressed; nothing for a compressed one that is broken, as in the real server.

        Raises:
          BadBody: 413 when it is too large, 503 when the budget is used up.
        """
        body = self._content.getvalue()
        if "gzip" not in self._headers.get("Content-Encoding", ""):
            return body
        stream, content = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16), io.BytesIO()
        try:
            for start in range(0, len(body), _PIECE_BYTES):
                piece = body[start : start + _PIECE_BYTES]
                while piece and not stream.eof:
                    inflated = stream.decompress(piece, _PIECE_BYTES)
                    self._hold(len(inflated), content.tell())
                    content.write(inflated)
                    piece = stream.unconsumed_tail
        except zlib.error:
            return b""
        return content.getvalue() if stream.eof else b""

    def _length(self) -> int:
        text = self._headers.get("Content-Length") or "0"
        if not text.isascii() or not text.isdigit():
            raise BadBody(HTTPStatus.BAD_REQUEST)
        digits = text.lstrip("0") or "0"
        if len(digits) > _MOST_DIGITS:
            raise BadBody(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        return int(digits)

    def _read_chunks(self) -> None:
        while True:
            line = self._stream.readline(1000).split(b";")[0].strip()
            if not _CHUNK_SIZE.fullmatch(line):
                raise BadBody(HTTPStatus.BAD_REQUEST)
            size = int(line, 16)
            self._read(size)
            end = self._stream.readline(1000)
            while size == 0 and end not in (b"\r\n", b"\n", b""):  # trailers
                end = self._stream.readline(1000)
            if size == 0:
                return

    def _read(self, size: int) -> None:
        if self._content.tell() + size > MAX_BODY_BYTES:
            raise BadBody(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        while size:
            content = self._stream.read1(min(size, _PIECE_BYTES))
            if not content:
                raise BadBody(HTTPStatus.BAD_REQUEST)
            self._hold(len(content), self._content.tell())
            self._content.write(content)
            size -= len(content)

    def _hold(self, size: int, before: int) -> None:
        if before + size > MAX_BODY_BYTES:
            raise BadBody(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        if not self._budget.take(size):
            raise BadBody(HTTPStatus.SERVICE_UNAVAILABLE)
        self._held += size
