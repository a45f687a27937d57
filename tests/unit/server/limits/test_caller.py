from ipaddress import ip_network

import pytest

from codebase_mcp.limits.caller import STDIO, UNKNOWN, caller_context, current, resolve_caller

PROXIES = [ip_network("10.0.0.0/8"), ip_network("fd00::/8")]


@pytest.mark.parametrize(
    ("peer", "forwarded", "caller"),
    [
        pytest.param("192.0.2.7", [], "192.0.2.7", id="an address is its own caller"),
        pytest.param("192.0.2.7", ["198.51.100.1"], "192.0.2.7", id="a client says nothing about itself"),
        pytest.param("10.0.0.1", ["198.51.100.1"], "198.51.100.1", id="a proxy says who stands behind it"),
        pytest.param(
            "10.0.0.1", ["1.1.1.1, 198.51.100.1"], "198.51.100.1", id="what the client wrote is left out"
        ),
        pytest.param("10.0.0.1", ["1.1.1.1", "198.51.100.1"], "198.51.100.1", id="nor in a header of its own"),
        pytest.param("10.0.0.1", ["198.51.100.1, 10.9.9.9"], "198.51.100.1", id="two proxies in a row"),
        pytest.param("10.0.0.1", ["198.51.100.1:4711"], "198.51.100.1", id="a port is cut off"),
        pytest.param("fd00::1", ["[2001:db8:1:2::9]:443"], "2001:db8:1:2::/64", id="also in brackets"),
        pytest.param("10.0.0.1", ["evil'--"], "10.0.0.1", id="nonsense: the proxy is all that is known"),
        pytest.param("10.0.0.1", [""], "10.0.0.1", id="an empty header"),
        pytest.param("10.0.0.1", [], "10.0.0.1", id="a proxy that says nothing"),
        pytest.param("10.0.0.1", ["10.0.0.2"], "10.0.0.2", id="a client that is a proxy itself"),
        pytest.param("2001:db8:1:2:3:4:5:6", [], "2001:db8:1:2::/64", id="a network of IPv6 is one caller"),
        pytest.param("::ffff:192.0.2.7", [], "192.0.2.7", id="IPv4 in IPv6"),
        pytest.param("::ffff:10.0.0.1", ["198.51.100.1"], "198.51.100.1", id="a proxy over IPv4 in IPv6"),
        pytest.param("fe80::1%eth0", [], "fe80::/64", id="a zone is no part of the address"),
        pytest.param(None, [], UNKNOWN, id="no address"),
        pytest.param("/run/socket", ["198.51.100.1"], UNKNOWN, id="a local socket"),
    ],
)
def test_the_caller_is_the_nearest_address_that_is_no_proxy(peer: str, forwarded: list[str], caller: str) -> None:
    assert resolve_caller(peer, forwarded, PROXIES) == caller


def test_without_proxies_nobody_is_believed() -> None:
    assert resolve_caller("10.0.0.1", ["198.51.100.1"], []) == "10.0.0.1"


def test_outside_of_any_request_the_caller_is_that_of_stdio() -> None:
    assert current() == STDIO
    with caller_context("192.0.2.7"):
        assert current() == "192.0.2.7"
    assert current() == STDIO
