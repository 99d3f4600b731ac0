"""All servers of a model, each asked and told by itself."""

from __future__ import annotations

import dataclasses
import ipaddress
import pathlib
import socket
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

import grpc

from serving.client import CallError, Client, ModelConfig
from serving.client.addresses import parse_addresses
from serving.client.tls import Tls
from serving.release.errors import ReleaseError
from serving.results import VersionStatus

AVAILABLE, END = "AVAILABLE", "END"
#: Ends of loads that were no failures: an unloaded version has none, one that was no longer wanted this one.
_NO_FAILURE = (0, grpc.StatusCode.CANCELLED.value[0])
#: What a label that is not there, or whose version is not loaded, is answered with.
_NO_LABEL = ("INVALID_ARGUMENT", "NOT_FOUND")
_CALL_SECONDS = 30.0
_POLL_SECONDS = 0.1


class FailedVersionError(ReleaseError):
    """A version that a server tried to load, and could not."""


class Fleet:
    """Every server of a model, each with a connection of its own; speaks nothing but the published protocol.

    A server that failed once is not told anything any more, nor waited for: a rollback must not wait for it.

    Args:
      addresses: host:port of each; a name that stands for several is all of them, as of now.
      model: its name there.
      tls: None for connections in the clear.
      token: sent with each call; "" for none.

    Attributes:
      servers: address -> how its connection is encrypted.
      lost: address -> why, of the servers that failed.

    Raises:
      ReleaseError: for addresses that cannot be used.
    """

    def __init__(self, addresses: Sequence[str], model: str, tls: Tls | None = None, token: str = "") -> None:
        self._model = model
        self.lost: dict[str, str] = {}
        try:
            self.servers = {address: secured for one in addresses for address, secured in _expanded(one, tls)}
            self._clients = {
                address: Client(address, model, timeout=_CALL_SECONDS, tls=secured, token=token)
                for address, secured in self.servers.items()
            }
        except ValueError as error:
            raise ReleaseError(str(error)) from None

    def __enter__(self) -> Fleet:
        return self

    def __exit__(self, *_: object) -> None:
        for client in self._clients.values():
            client.close()

    def statuses(self) -> dict[str, list[VersionStatus] | CallError]:
        """Of each server, every version it ever tried, or why it does not say."""
        found: dict[str, list[VersionStatus] | CallError] = {}
        for address, client in self._clients.items():
            try:
                found[address] = _statuses(client)
            except CallError as error:
                found[address] = error
        return found

    def available(self) -> set[int]:
        """Versions that some server serves now."""
        statuses = [status for each in self.statuses().values() if isinstance(each, list) for status in each]
        return {status.version for status in statuses if status.state == AVAILABLE}

    def labels(self, names: Iterable[str]) -> dict[str, dict[str, int | None] | CallError]:
        """Of each server, the version that each label names (None for none), or why it does not say."""
        found: dict[str, dict[str, int | None] | CallError] = {}
        names = list(names)
        for address, client in self._clients.items():
            try:
                found[address] = {name: _labelled(client, name) for name in names}
            except CallError as error:
                found[address] = error
        return found

    def reload(self, models: Sequence[ModelConfig], seconds: float) -> None:
        """Tells every server what to serve."""
        for address, client in self._answering():
            try:
                client.reload(models, timeout=seconds)
            except CallError as error:
                self.lost[address] = str(error)

    def wait_available(self, versions: Iterable[int], seconds: float) -> None:
        """Waits until every server serves all of these versions.

        Raises:
          FailedVersionError: when a server could not load one.
        """
        wanted = set(versions)

        def missing(address: str, client: Client) -> str:
            statuses = {status.version: status for status in _statuses(client)}
            for number in sorted(wanted):
                status = statuses.get(number)
                if status and is_failed(status):
                    raise FailedVersionError(
                        f"{address} cannot load version {number} of `{self._model}`: {status.error_message}"
                    )
            late = sorted(n for n in wanted if n not in statuses or statuses[n].state != AVAILABLE)
            return f"version {', '.join(map(str, late))} is not AVAILABLE" if late else ""

        self._wait(missing, seconds)

    def wait_labelled(self, labels: Mapping[str, int], seconds: float) -> None:
        """Waits until every server answers each label with its version."""

        def missing(address: str, client: Client) -> str:
            found = {label: _labelled(client, label) for label in labels}
            other = [
                f"{label} is {found[label] or 'nothing'} in place of {number}"
                for label, number in labels.items()
                if found[label] != number
            ]
            return ", ".join(other)

        self._wait(missing, seconds)

    def wait_unloaded(self, versions: Iterable[int], seconds: float) -> None:
        """Waits until no server serves any of these versions."""
        unwanted = set(versions)

        def missing(address: str, client: Client) -> str:
            there = sorted(s.version for s in _statuses(client) if s.version in unwanted and s.state != END)
            return f"version {', '.join(map(str, there))} is still loaded" if there else ""

        self._wait(missing, seconds)

    def _answering(self) -> list[tuple[str, Client]]:
        return [(address, client) for address, client in self._clients.items() if address not in self.lost]

    def _wait(self, missing: Callable[[str, Client], str], seconds: float) -> None:
        """Asks each server until nothing is missing."""
        deadline = time.monotonic() + seconds
        waiting = self._answering()
        while True:
            late = {}
            for address, client in waiting:
                try:
                    late[address] = missing(address, client)
                except CallError as error:
                    self.lost[address] = str(error)
            waiting = [(address, self._clients[address]) for address, what in late.items() if what]
            if not waiting:
                return
            if time.monotonic() >= deadline:
                self.lost |= {
                    address: f"{address}: {late[address]} after {seconds:g} seconds" for address, _ in waiting
                }
                return
            time.sleep(_POLL_SECONDS)


def is_failed(status: VersionStatus) -> bool:
    """Whether a server tried to load the version, and could not."""
    return status.state == END and status.error_code not in _NO_FAILURE


def read_token(file: str) -> str:
    """The token in a file; "" without a file.

    Raises:
      ReleaseError: if it cannot be read.
    """
    try:
        return pathlib.Path(file).read_text(encoding="utf-8").strip() if file else ""
    except (OSError, UnicodeDecodeError) as error:
        raise ReleaseError(f"{file}: cannot be read ({getattr(error, 'strerror', None) or error}).") from None


def _statuses(client: Client) -> list[VersionStatus]:
    """None of a model that the server does not know, or not yet."""
    try:
        return client.status()
    except CallError as error:
        if error.code == "NOT_FOUND":
            return []
        raise


def _labelled(client: Client, label: str) -> int | None:
    try:
        return client.metadata(label=label).version
    except CallError as error:
        if error.code in _NO_LABEL:
            return None
        raise


def _expanded(address: str, tls: Tls | None) -> list[tuple[str, Tls | None]]:
    """The servers that a name stands for; certificates bear the name, not the numbers."""
    (one,) = parse_addresses([address])
    host, _, port = one.rpartition(":")
    try:
        ipaddress.ip_address(host.strip("[]"))
        return [(one, tls)]
    except ValueError:
        pass
    try:
        found = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)
    except (OSError, ValueError) as error:
        raise ValueError(f"The host {host!r} cannot be looked up: {error}.") from None
    families = {entry[0] for entry in found}
    family = socket.AF_INET if socket.AF_INET in families else socket.AF_INET6
    ips = sorted({str(entry[4][0]) for entry in found if entry[0] == family})
    if len(ips) == 1:
        return [(one, tls)]
    named = dataclasses.replace(tls, server_name=tls.server_name or host) if tls else None
    return [(f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}", named) for ip in ips]
