"""Identity of callers: the key by which limits for each caller are counted."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from contextvars import ContextVar
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from codebase_index.context_value import set_for_block

STDIO: Final = "stdio"
"""The one caller over standard input and output."""

UNKNOWN: Final = "unknown"
"""All callers without an address: they share one limit."""

IpAddress = IPv4Address | IPv6Address
IpNetwork = IPv4Network | IPv6Network

_IPV6_PREFIX: Final = 64
"""Prefix length that identifies an IPv6 client: a network gets a /64 at least, and may use all its addresses."""

_MAX_HOPS: Final = 16
"""How many entries of X-Forwarded-For are read, the nearest first."""

_caller: ContextVar[str] = ContextVar("caller", default=STDIO)


def current() -> str:
    """Return the caller of the request that is being answered: equal texts are the same caller.

    Over HTTP it is the client's address, for IPv6 its /64, as `resolve_caller` finds it; over standard input and
    output it is STDIO. It is no authentication, only the key of limits.
    """
    return _caller.get()


def caller_context(caller: str) -> AbstractContextManager[None]:
    """Make `current` return this caller, in the block and in the tasks that it starts."""
    return set_for_block(_caller, caller)


def resolve_caller(peer: str | None, forwarded_for: Sequence[str], proxies: Sequence[IpNetwork]) -> str:
    """Return the caller behind a connection from `peer`.

    `forwarded_for` holds the values of X-Forwarded-For. Each entry counts only if the proxy that wrote it is
    one of `proxies`, so the caller is the nearest address that is none of them: what a client writes there itself
    changes nothing.
    """
    address = parse_address(peer or "")
    hops = ",".join(forwarded_for).split(",")
    for hop in reversed(hops[-_MAX_HOPS:]):
        if address is None or not in_networks(address, proxies):
            break
        before = parse_address(_without_port(hop.strip()))
        if before is None:
            break
        address = before
    return caller_key(address)


def caller_key(address: IpAddress | None) -> str:
    """Return the key by which limits of an address are counted."""
    if address is None:
        return UNKNOWN
    if isinstance(address, IPv6Address):
        return str(ip_network((address, _IPV6_PREFIX), strict=False))
    return str(address)


def parse_address(text: str) -> IpAddress | None:
    """Parse an address, or return None. An IPv4 address inside an IPv6 one is that IPv4 address."""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def in_networks(address: IpAddress, networks: Sequence[IpNetwork]) -> bool:
    """Return whether an address lies in one of these networks."""
    return any(address in network for network in networks)


def _without_port(hop: str) -> str:
    """Cut the port off `192.0.2.1:443` and `[2001:db8::1]:443`."""
    if hop.startswith("["):
        return hop[1:].partition("]")[0]
    return hop.partition(":")[0] if hop.count(":") == 1 else hop
