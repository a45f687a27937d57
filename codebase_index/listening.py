"""Where a program in a pod listens: on every address of it, of IPv4 and of IPv6.

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
            return socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=backlog)
        except OSError as error:
            if error.errno not in _NO_IPV6:
                raise
    return socket.create_server(("0.0.0.0", port), backlog=backlog)  # noqa: S104 - every address is meant
