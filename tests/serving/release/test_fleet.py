"""Servers that are asked one by one."""

import socket

import pytest

from serving.client import ModelConfig
from serving.release import fleet as fleet_lib
from serving.release.errors import ReleaseError
from serving.release.fleet import FailedVersionError, Fleet, read_token


def test_a_name_that_stands_for_several_is_all_of_them(monkeypatch):
    def look_up(host, port, **_):
        ips = {"shop": ("10.0.0.2", "10.0.0.1", "10.0.0.1"), "six": ("fd00::1", "fd00::2"), "one": ("10.0.0.3",)}
        family = socket.AF_INET6 if host == "six" else socket.AF_INET
        return [(family, socket.SOCK_STREAM, 6, "", (ip, port)) for ip in ips[host]]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    with Fleet(["shop:8500", "one:1", "127.0.0.1:2", "six:3"], "ranker") as fleet:
        assert tuple(fleet.servers) == (
            "10.0.0.1:8500",
            "10.0.0.2:8500",
            "one:1",
            "127.0.0.1:2",
            "[fd00::1]:3",
            "[fd00::2]:3",
        )
    tls = fleet_lib.Tls("ca.pem")
    assert fleet_lib._expanded("shop:8500", tls)[0][1].server_name == "shop"  # as the certificate says
    assert fleet_lib._expanded("one:1", tls)[0][1].server_name == ""


@pytest.mark.parametrize(
    ("address", "error"),
    [("shop", "expected host:port"), ("no.such.host.invalid:1", "cannot be looked up"), ("dns:///a:1", "looked up")],
)
def test_addresses_that_cannot_be_used(address, error):
    with pytest.raises(ReleaseError, match=error):
        Fleet([address], "ranker")


def test_tokens(tmp_path):
    (tmp_path / "token").write_text("secret\n")
    assert (read_token(str(tmp_path / "token")), read_token("")) == ("secret", "")
    with pytest.raises(ReleaseError, match="none: cannot be read"):
        read_token(str(tmp_path / "none"))


def test_a_model_that_a_server_does_not_know_is_waited_for(shop):
    shop.version(3)
    server = shop.serve()
    with Fleet([server.address], "ranker") as fleet:
        assert fleet.statuses() == {server.address: []} and fleet.available() == set()
        assert fleet.labels(["stable"]) == {server.address: {"stable": None}}
        fleet.wait_available([3], 0.1)
        assert fleet.lost == {server.address: f"{server.address}: version 3 is not AVAILABLE after 0.1 seconds"}
    with Fleet([server.address], "ranker") as fleet:
        fleet.reload([ModelConfig("ranker", str(shop.folder), (3,))], 20)
        fleet.wait_available([3], 20)
        fleet.wait_labelled({"stable": 3}, 0.1)
        assert fleet.lost == {server.address: f"{server.address}: stable is nothing in place of 3 after 0.1 seconds"}


def test_a_label_before_its_version_is_refused(shop):
    """The fake server keeps the rule that all of this is about."""
    shop.version(3)
    server = shop.serve()
    config = ModelConfig("ranker", str(shop.folder), (3,), labels={"stable": 3})
    with Fleet([server.address], "ranker") as fleet:
        fleet.reload([config], 20)
        assert "FAILED_PRECONDITION: Request to assign label to version 3" in fleet.lost[server.address]
        fleet.wait_available([3], 0.1)  # it is not waited for
    with Fleet([server.address], "ranker") as fleet:
        fleet.reload([ModelConfig("ranker", str(shop.folder), (3,))], 20)
        fleet.wait_available([3], 20)
        fleet.reload([config], 20)
        fleet.wait_labelled({"stable": 3}, 20)
        assert fleet.lost == {}
        shop.version(5, made={})
        fleet.reload([ModelConfig("ranker", str(shop.folder), (3, 5), labels={"stable": 3})], 20)
        with pytest.raises(FailedVersionError, match=r"cannot load version 5 of `ranker`: .*has no signature"):
            fleet.wait_available([3, 5], 20)
