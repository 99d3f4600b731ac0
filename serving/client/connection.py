"""The one channel of a client."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from serving import protos
from serving.client.addresses import target
from serving.client.tls import Tls

#: A call goes to the next replica that is connected; names may stand for several.
_ROUND_ROBIN = json.dumps({"loadBalancingConfig": [{"round_robin": {}}]})

_OPTIONS: tuple[tuple[str, Any], ...] = (
    ("grpc.service_config", _ROUND_ROBIN),
    ("grpc.service_config_disable_resolution", 1),
    # A replica that hangs, or is cut off, while calls wait for it is given up: they end as UNAVAILABLE. gRPC sends two
    # pings in a row at most, which is what servers put up with. Nothing but the last option limits the wait for a ping.
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.ping_timeout_ms", 10_000),
    # A replica that comes back is found again within seconds, not within gRPC's two minutes.
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 5_000),  # how long a connection may take to be made
    ("grpc.max_reconnect_backoff_ms", 5_000),
)


class Connection:
    """Knows how to open a channel to replicas; opens none itself.

    Args:
      addresses: as `parse_addresses` returns them.
      tls: None for a connection in the clear.
      max_message_bytes: of a request and of an answer; -1 for any size.

    Raises:
      ValueError: for addresses that cannot be looked up, or files of `tls` that cannot be read.
    """

    def __init__(self, addresses: Sequence[str], tls: Tls | None = None, max_message_bytes: int = -1) -> None:
        self._target = target(addresses)
        self._credentials = tls.credentials() if tls else None
        self._options = [
            *_OPTIONS,
            ("grpc.max_receive_message_length", max_message_bytes),
            ("grpc.max_send_message_length", max_message_bytes),
        ]
        if tls and tls.server_name:
            self._options.append(("grpc.ssl_target_name_override", tls.server_name))
        elif len(addresses) > 1:  # else the whole list would be the server's name
            self._options.append(("grpc.default_authority", addresses[0]))

    def open(self, library: Any) -> tuple[Any, dict[str, Any]]:
        """A channel, and what calls each method of `protos.METHODS` on it.

        Args:
          library: `grpc` or `grpc.aio`.
        """
        if self._credentials is None:
            channel = library.insecure_channel(self._target, options=self._options)
        else:
            channel = library.secure_channel(self._target, self._credentials, options=self._options)
        calls = {
            name: channel.unary_unary(
                path, request_serializer=request.SerializeToString, response_deserializer=response.FromString
            )
            for name, (path, request, response) in protos.METHODS.items()
        }
        return channel, calls
