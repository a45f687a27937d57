"""Who decides, and for how long its decisions are believed."""

import time
from collections.abc import Callable
from typing import Final, Protocol

from cachetools import TLRUCache

from codebase_mcp.identity.principal import Principal
from codebase_mcp.identity.rights import Question, covered

ALLOWED_SECONDS: Final = 60.0
"""How long a yes is believed: a right that is taken away ends after that."""

REFUSED_SECONDS: Final = 10.0
"""How long a no is believed: a right that is given begins after that."""

MAX_DECISIONS: Final = 100_000
"""The least recently asked are forgotten: some 30 MB."""


class AuthorityUnavailable(Exception):
    """Who decides does not answer, so nothing is allowed; the message says who, and why."""


class Authority(Protocol):
    """Decides about rights."""

    async def may(self, principal: Principal, question: Question, /) -> bool:
        """Say whether it may. Raises AuthorityUnavailable."""
        ...


class Grants(Authority):
    """Decides by the grants that the principal came with, and by nothing else."""

    async def may(self, principal: Principal, question: Question, /) -> bool:
        """Say whether one of its grants is a yes."""
        return covered(principal.grants, question)


class Remembered(Authority):
    """Remembers the decisions of another authority for a while; that one being away is no decision."""

    def __init__(self, authority: Authority, clock: Callable[[], float] = time.monotonic) -> None:
        self._authority = authority
        self._known: TLRUCache[tuple[Principal, Question], bool] = TLRUCache(
            MAX_DECISIONS, lambda _, allowed, now: now + (ALLOWED_SECONDS if allowed else REFUSED_SECONDS), clock
        )

    async def may(self, principal: Principal, question: Question, /) -> bool:
        """Say whether it may, or might a short while ago. Raises AuthorityUnavailable."""
        known = self._known.get((principal, question))
        if known is None:
            known = self._known[principal, question] = await self._authority.may(principal, question)
        return known
