"""Who calls: the key of every share that one caller may have of something scarce."""

import contextlib
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

STDIO: Final = "stdio"
"""The one caller over standard input and output."""

UNKNOWN: Final = "unknown"
"""All who have no address: they share one share."""

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_IPV6_PREFIX: Final = 64
"""Bits that tell one IPv6 client from another: a network gets a /64 at least, and may use all its addresses."""

_MOST_HOPS: Final = 16
"""Entries of X-Forwarded-For that are read, from the nearest on."""

_caller: ContextVar[str] = ContextVar("caller", default=STDIO)


def current() -> str:
    """Return who makes the call that is being answered: equal texts are the same caller.

    Over HTTP it is the client's address, of IPv6 its /64, as `believed` by this server; over standard input and
    output it is STDIO. It is no proof of who somebody is, only what shares are counted by.
    """
    return _caller.get()


@contextlib.contextmanager
def calling(caller: str) -> Iterator[None]:
    """Let `current` return this caller, in the block and in the tasks that it starts."""
    token = _caller.set(caller)
    try:
        yield
    finally:
        _caller.reset(token)


def believed(peer: str | None, forwarded_for: Sequence[str], proxies: Sequence[Network]) -> str:
    """Return the caller behind a connection from `peer`.

    `forwarded_for` holds the values of X-Forwarded-For. Each entry is believed only if the proxy that wrote it is
    one of `proxies`, so the nearest address that is none of them is the caller: what a client writes there itself
    changes nothing.
    """
    address = parsed(peer or "")
    hops = ",".join(forwarded_for).split(",")
    for hop in reversed(hops[-_MOST_HOPS:]):
        if address is None or not is_one_of(address, proxies):
            break
        before = parsed(_without_port(hop.strip()))
        if before is None:
            break
        address = before
    return key(address)


def key(address: Address | None) -> str:
    """Return what shares of an address are counted by."""
    if address is None:
        return UNKNOWN
    if isinstance(address, IPv6Address):
        return str(ip_network((address, _IPV6_PREFIX), strict=False))
    return str(address)


def parsed(text: str) -> Address | None:
    """Read an address, or return None. An IPv4 address inside an IPv6 one is that IPv4 address."""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def is_one_of(address: Address, networks: Sequence[Network]) -> bool:
    """Say whether an address lies in one of these networks."""
    return any(address in network for network in networks)


def _without_port(hop: str) -> str:
    """Cut the port off `192.0.2.1:443` and `[2001:db8::1]:443`."""
    if hop.startswith("["):
        return hop[1:].partition("]")[0]
    return hop.partition(":")[0] if hop.count(":") == 1 else hop
