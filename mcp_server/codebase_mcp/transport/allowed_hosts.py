"""Under which names the server answers, and to pages of which origin. Pure.

A web page may let the browser of somebody who can reach this server talk to it, but cannot choose two headers:
Host is the name under which it found the server (so that a name rebound to this address is refused), Origin its
own address.
"""

import re
from collections.abc import Sequence
from typing import Final

_HOST: Final = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9_.-]+)(?::([0-9]{1,5}))?")
_ORIGIN: Final = re.compile(r"https?://(.+)")


class AllowedHosts:
    """The names under which clients may reach the server: each with any port, or with the one that it names."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(name.lower().removesuffix(":*") for name in names)

    def __contains__(self, host: str) -> bool:
        """Say whether a Host header is one of them."""
        found = _HOST.fullmatch(host.lower())
        if not found or not 0 < int(found[2] or 80) < 65536:
            return False
        return found[0] in self.names or found[1] in self.names

    def allows(self, origin: str) -> bool:
        """Say whether a page of this Origin may call: one served under an allowed name. Empty: it is no page."""
        found = _ORIGIN.fullmatch(origin.lower())
        return not origin or (found is not None and found[1] in self)
