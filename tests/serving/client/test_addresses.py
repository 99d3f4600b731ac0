"""Lists of replicas, as people write them, and what gRPC is told."""

import socket

import pytest

from serving.client import addresses


@pytest.mark.parametrize(
    ("given", "parsed", "target"),
    [
        ("localhost:8500", ("localhost:8500",), "localhost:8500"),
        ("[::1]:8500", ("[::1]:8500",), "[::1]:8500"),
        ("10.0.0.1:1,10.0.0.2:2", ("10.0.0.1:1", "10.0.0.2:2"), "ipv4:10.0.0.1:1,10.0.0.2:2"),
        (" 10.0.0.1:1 , 10.0.0.2:2 ", ("10.0.0.1:1", "10.0.0.2:2"), "ipv4:10.0.0.1:1,10.0.0.2:2"),
        (["10.0.0.1:1", "10.0.0.1:1"], ("10.0.0.1:1", "10.0.0.1:1"), "ipv4:10.0.0.1:1"),
        (("[::1]:1", "[fe80::2]:2"), ("[::1]:1", "[fe80::2]:2"), "ipv6:[::1]:1,[fe80::2]:2"),
        ("dns:///serving:8500", ("dns:///serving:8500",), "dns:///serving:8500"),
        ("unix:/run/serving.sock", ("unix:/run/serving.sock",), "unix:/run/serving.sock"),
        ("ipv4:10.0.0.1:1,10.0.0.2:2", ("ipv4:10.0.0.1:1,10.0.0.2:2",), "ipv4:10.0.0.1:1,10.0.0.2:2"),
    ],
)
def test_what_people_write(given, parsed, target):
    assert addresses.parse_addresses(given) == parsed
    assert addresses.target(parsed) == target


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ("localhost", "'localhost' cannot be read; expected host:port"),
        ("", "'' cannot be read"),
        ([], "No address is given"),
        ("a:1,", "'' cannot be read"),
        ("a:1,b", "'b' cannot be read"),
        ("a:0", "'a:0' cannot be read"),
        ("a:65536", "'a:65536' cannot be read"),
        ("http://a:8501", "'http://a:8501' cannot be read"),
        ("::1:8500", "'::1:8500' cannot be read"),
        (["a:1", "dns:///b:2"], "'dns:///b:2' is among others"),
    ],
)
def test_what_is_no_address(given, error):
    with pytest.raises(ValueError, match=error):
        addresses.parse_addresses(given)


def test_names_in_a_list_are_looked_up(monkeypatch):
    hosts = {"a": ["10.0.0.1", "10.0.0.2", "::1"], "b": ["10.0.0.3"], "six": ["fe80::1%eth0"]}

    def look_up(host, port, type):
        if host not in hosts:
            raise socket.gaierror(-2, "Name or service not known")
        return [(0, type, 6, "", (ip, 0)) for ip in hosts[host]]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    assert addresses.target(["a:1", "b:2", "10.0.0.4:3"]) == "ipv4:10.0.0.1:1,10.0.0.2:1,10.0.0.3:2,10.0.0.4:3"
    with pytest.raises(ValueError, match="a:1, six:2 mix IPv4 and IPv6; expected one kind"):
        addresses.target(["a:1", "six:2"])
    with pytest.raises(ValueError, match=r"host 'c' cannot be looked up: .*Name or service not known"):
        addresses.target(["a:1", "c:2"])
