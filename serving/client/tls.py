"""How a client makes sure of a server, and a server of a client."""

from __future__ import annotations

import os
import pathlib
from dataclasses import dataclass

import grpc


@dataclass(frozen=True)
class Tls:
    """An encrypted connection; with a certificate of the client's own, mutual TLS.

    Attributes:
      root_certificates: PEM file of the authorities that vouch for the server; None for gRPC's own list.
      certificate: PEM file of the client's certificate, with any that lie between it and its root; None for none.
      key: PEM file of its private key.
      server_name: that the server's certificate must bear; "" for the (first) host asked.

    Raises:
      ValueError: for a certificate without a key, or a key without a certificate.
    """

    root_certificates: str | os.PathLike[str] | None = None
    certificate: str | os.PathLike[str] | None = None
    key: str | os.PathLike[str] | None = None
    server_name: str = ""

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("Mutual TLS needs both the client's certificate and its key; only one of them is given.")

    def credentials(self) -> grpc.ChannelCredentials:
        """Reads the files.

        Raises:
          ValueError: for a file that cannot be read or holds no PEM.
        """
        return grpc.ssl_channel_credentials(_read(self.root_certificates), _read(self.key), _read(self.certificate))


def _read(file: str | os.PathLike[str] | None) -> bytes | None:
    if file is None:
        return None
    try:
        content = pathlib.Path(file).read_bytes()
    except OSError as error:
        raise ValueError(f"{os.fspath(file)}: cannot be read ({error.strerror}).") from None
    if b"-----BEGIN " not in content:
        raise ValueError(f"{os.fspath(file)}: holds no PEM; expected a block that begins with -----BEGIN.")
    return content
