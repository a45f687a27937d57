"""Under which names the server answers, and to pages of which origin. Pure.

A web page may let the browser of somebody who can reach this server talk to it, but cannot choose two headers:
Host is the name under which it found the server (so that a name rebound to this address is refused), Origin its
own address.

`*.example.com` is as in an Ingress or HTTPRoute: any name below that domain, whose owner decides where each leads.
It is for Host alone. Such a domain often belongs to many, as `*.apps.example.com` does, and a page under it may be
a stranger's.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Final

_HOST: Final = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9_.-]+)(?::([0-9]{1,5}))?")
_ORIGIN: Final = re.compile(r"https?://(.+)")


class AllowedHosts:
    """The names under which clients may reach the server: each with any port, or with the one that it names."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(name.lower().removesuffix(":*") for name in names)
        self._exact = frozenset(name for name in self.names if not name.startswith("*."))
        self._domains = frozenset(name[2:] for name in self.names if name.startswith("*."))

    def __contains__(self, host: str) -> bool:
        """Say whether a Host header is one of them, or below a domain of them."""
        spellings = _spellings(host)
        return bool(self._exact & spellings) or any(
            domain in self._domains for spelling in spellings for domain in _domains_above(spelling)
        )

    def allows(self, origin: str) -> bool:
        """Say whether a page of this Origin may call: one served under a name that is allowed as such, by no `*.`.

        Empty: it is no page.
        """
        found = _ORIGIN.fullmatch(origin.lower())
        return not origin or (found is not None and bool(self._exact & _spellings(found[1])))


def _spellings(host: str) -> frozenset[str]:
    """A host with its port and without; nothing for what is no host."""
    found = _HOST.fullmatch(host.lower())
    return frozenset({found[0], found[1]}) if found and 0 < int(found[2] or 80) < 65536 else frozenset()


def _domains_above(name: str) -> Iterator[str]:
    """The domains that a name lies in: b.c and c for a.b.c. Nothing for one with an empty part."""
    parts = name.split(".")
    if all(parts):
        yield from (".".join(parts[start:]) for start in range(1, len(parts)))
