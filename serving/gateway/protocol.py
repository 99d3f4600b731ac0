"""HTTP/1.1 of uvicorn with limits of time that it does not have itself."""

from __future__ import annotations

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from serving.gateway.settings import LimitSettings

#: Seconds that a body which is not wanted is read on, so that its sender gets to read why.
_LINGER = 1.0


class PatientProtocol(H11Protocol):
    """Closes connections of slow clients: whose head of a request does not come, who do not read their answers, and
    who go on with a body after they were refused. uvicorn itself only ends connections that are idle; the time of a
    body is `Admission`'s.

    Args:
      limits: of time.
      **options: of uvicorn's protocol.
    """

    def __init__(self, limits: LimitSettings, **options: Any) -> None:
        super().__init__(**options)
        self._limits = limits
        self._reading: asyncio.TimerHandle | None = None
        self._writing: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Starts the time of the first head."""
        super().connection_made(transport)
        self._reading = self.loop.call_later(self._limits.head_seconds, self._close)

    def connection_lost(self, exc: Exception | None) -> None:
        """Ends all times."""
        _cancel(self._reading)
        _cancel(self._writing)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Starts the time of a further head when it begins, and ends it when it is there."""
        super().data_received(data)
        self._watch(head_comes=self.conn.their_state is h11.IDLE)

    def on_response_complete(self) -> None:
        """Starts the time in which a body that is not read any more must end."""
        super().on_response_complete()
        self._watch(head_comes=self.conn.their_state is h11.IDLE and bool(self.conn.trailing_data[0]))

    def pause_writing(self) -> None:
        """Starts the time in which the client must read."""
        super().pause_writing()
        _cancel(self._writing)
        self._writing = self.loop.call_later(self._limits.write_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """Ends it."""
        _cancel(self._writing)
        super().resume_writing()

    def _watch(self, head_comes: bool) -> None:
        unwanted = self.conn.their_state is h11.SEND_BODY and self.conn.our_state is h11.DONE
        if not head_comes and not unwanted:
            _cancel(self._reading)
            self._reading = None
        elif self._reading is None:
            self._reading = self.loop.call_later(_LINGER if unwanted else self._limits.head_seconds, self._close)

    def _close(self) -> None:
        if not self.transport.is_closing():
            self.transport.close()


def _cancel(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()
