"""The gateway on a port."""

from __future__ import annotations

import functools
import signal
import socket
from typing import Any

import uvicorn

from serving.gateway.app import create_app
from serving.gateway.gateway import Gateway
from serving.gateway.protocol import PatientProtocol

#: Seconds that requests under way have when the process is told to end.
_GRACE = 10
_BACKLOG = 2048


class GatewayServer(uvicorn.Server):
    """Serves a gateway until SIGTERM or SIGINT; requests that are under way then are answered.

    Prints one line on stdout when it is ready: `Gateway on http://HOST:PORT`.

    Args:
      gateway: that is served; the server starts and stops it.

    Attributes:
      gateway: as given.
      url: where it listens.

    Raises:
      ValueError: if the port, the certificate or its key cannot be used.
    """

    def __init__(self, gateway: Gateway) -> None:
        listen, limits = gateway.settings.listen, gateway.settings.limits
        protocol: Any = functools.partial(PatientProtocol, limits)
        config = uvicorn.Config(
            create_app(gateway),
            loop="asyncio",
            http=protocol,
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=limits.idle_seconds,  # type: ignore[arg-type]
            timeout_graceful_shutdown=_GRACE,
            backlog=_BACKLOG,
            ssl_certfile=listen.certificate or None,
            ssl_keyfile=listen.key or None,
        )
        try:
            config.load()
        except OSError as error:  # of ssl, too
            raise ValueError(
                f"the certificate or its key cannot be used ({error.strerror or error}); expected PEM files that go "
                "together."
            ) from None
        super().__init__(config)
        self.gateway = gateway
        self._socket = _bound(listen.host, listen.port)
        host = f"[{listen.host}]" if ":" in listen.host else listen.host
        self.url = f"{'https' if listen.certificate else 'http'}://{host}:{self._socket.getsockname()[1]}"

    def serve_forever(self) -> None:
        """Serves until the process is told to end."""
        # uvicorn raises the signal again when it is done, which would look like a failure.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: None)
        self.run()

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Serves until `should_exit` is set, whatever signals do."""
        super().run(sockets or [self._socket])

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begins to listen."""
        await super().startup(sockets)
        print(f"Gateway on {self.url}", flush=True)


def _bound(host: str, port: int) -> socket.socket:
    # The protocol is named, since asyncio switches Nagle's algorithm off for such sockets alone: with it, each answer
    # (a head and a body) would wait for the client's delayed acknowledgement, 40 ms.
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
        bound.listen(_BACKLOG)
        return bound
    except OSError as error:
        bound.close()
        why = error.strerror or str(error)
        raise ValueError(f"port {port} of {host} cannot be listened on ({why}); expected a free one.") from None
