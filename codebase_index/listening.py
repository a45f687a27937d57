"""Where a program listens: in a pod on every address of it, of IPv4 and of IPv6.

A pod has addresses of one family or of both, and its manifest cannot say which: it depends on the cluster.
"""

import errno
import socket
from typing import Final

EVERYWHERE: Final = "*"
"""Stands for every address, where a setting names one."""

_NO_IPV6: Final = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})


def listen_everywhere(port: int, backlog: int = 128) -> socket.socket:
    """Return a socket that listens on `port` of every address. Raises OSError.

    It is one of IPv6 that takes IPv4 too, whose peers are then written ::ffff:192.0.2.1. Where the kernel has no
    IPv6, or it is switched off, it is one of IPv4.
    """
    if socket.has_dualstack_ipv6():
        try:
            return _at_once(
                socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=backlog)
            )
        except OSError as error:
            if error.errno not in _NO_IPV6:
                raise
    return listen_on("0.0.0.0", port, backlog)  # noqa: S104 - every address is meant


def listen_on(address: str, port: int, backlog: int = 128) -> socket.socket:
    """Return a socket that listens on `port` of an address of IPv4. Raises OSError."""
    return _at_once(socket.create_server((address, port), backlog=backlog))


def _at_once(listening: socket.socket) -> socket.socket:
    """Let connections send what is written at once: they inherit it.

    asyncio sets it for sockets that it makes itself, and not for these. Without it the kernel keeps an answer's
    body until the client has acknowledged its head, which a client does after 40 ms.
    """
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening
