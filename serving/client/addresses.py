"""Where replicas of a server listen, as one target of gRPC."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Sequence

#: Targets that name one of gRPC's own resolvers.
_SCHEME = re.compile(r"(dns|ipv4|ipv6|unix|unix-abstract|vsock|xds):.+")
_HOST_AND_PORT = re.compile(r"(?P<host>\[[^\]]+\]|[^:\[\]/,\s]+):(?P<port>[0-9]+)")


def parse_addresses(address: str | Sequence[str]) -> tuple[str, ...]:
    """The replicas that are meant.

    Args:
      address: "host:port", several of them separated by commas or as a list, or one target of gRPC's own such as
        "dns:///serving:8500".

    Raises:
      ValueError: for anything else.
    """
    parts = address.split(",") if isinstance(address, str) and not _SCHEME.fullmatch(address) else address
    addresses = (parts,) if isinstance(parts, str) else tuple(part.strip() for part in parts)
    if not addresses:
        raise ValueError("No address is given; expected host:port.")
    for one in addresses:
        match = _HOST_AND_PORT.fullmatch(one)
        if match and 0 < int(match["port"]) < 65536:
            continue
        if not _SCHEME.fullmatch(one):
            raise ValueError(f"The address {one!r} cannot be read; expected host:port, such as localhost:8500.")
        if len(addresses) > 1:
            raise ValueError(f"The address {one!r} is among others; expected a list of host:port, or that one alone.")
    return addresses


def target(addresses: Sequence[str]) -> str:
    """gRPC's name for replicas that `parse_addresses` made sense of.

    One address is left to gRPC, which looks names up again when it must. Of several, names are looked up here, once,
    because gRPC takes a list of numeric addresses only.

    Raises:
      ValueError: for a name that cannot be looked up, or for IPv4 beside IPv6.
    """
    if len(addresses) == 1:
        return addresses[0]
    numeric = {"ipv4": list[str](), "ipv6": list[str]()}
    for one in addresses:
        host, _, port = one.rpartition(":")
        for ip in _look_up(host.strip("[]")):
            kind = "ipv6" if ip.version == 6 else "ipv4"
            numeric[kind].append(f"[{ip}]:{port}" if ip.version == 6 else f"{ip}:{port}")
    kinds = [kind for kind, found in numeric.items() if found]
    if len(kinds) > 1:
        raise ValueError(f"The addresses {', '.join(addresses)} mix IPv4 and IPv6; expected one kind.")
    return f"{kinds[0]}:{','.join(dict.fromkeys(numeric[kinds[0]]))}"


def _look_up(host: str) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    """IPv4 addresses of a host where it has any, else its IPv6 ones."""
    try:
        return [ipaddress.ip_address(host)]
    except ValueError:
        pass
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise ValueError(f"The host {host!r} cannot be looked up: {error}.") from None
    ips = [ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]
    return [ip for ip in ips if ip.version == 4] or ips
