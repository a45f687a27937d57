"""How many connections there may be, in all and of one client, and which goes when another one comes. Pure.

A connection waits for its client, or works for it. One that waits costs its client nothing, so it may be held open
for ever at no price: those are closed, the oldest first, when their place is needed, and all after a time.
"""

import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Generic, TypeVar

RECEIVE_SECONDS: Final = 10.0
"""How long a request may take to arrive, head and body together, and an answer to be taken: however often a byte
comes. The largest body needs 26 KB a second."""

C = TypeVar("C", bound=Hashable)


class Verdict(StrEnum):
    """What is to be done with a new connection's request."""

    SERVE = "serve"
    CLIENT_IS_BUSY = "client is busy"
    SERVER_IS_BUSY = "server is busy"


@dataclass(frozen=True)
class Limits:
    """How many connections there may be: `most` in all, and `of_client` of one address."""

    most: int
    of_client: int


class Connections(Generic[C]):
    """The open connections, and those that wait, the one that has waited longest first."""

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits
        self._clock = clock
        self._client_of: dict[C, str | None] = {}
        self._of_client: dict[str, set[C]] = {}
        self._waiting: dict[C, float] = {}

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._client_of)

    @property
    def waiting(self) -> int:
        """How many wait for their client."""
        return len(self._waiting)

    def enter(self, connection: C, client: str | None) -> tuple[Verdict, C | None]:
        """Take a new connection in, which waits; return what to do with it, and which other one has to go for it.

        A client of None has no share of its own: it is a proxy, behind which many may stand.
        """
        verdict, gone = Verdict.SERVE, None
        siblings = self._of_client.setdefault(client, set()) if client is not None else set()
        if client is not None and len(siblings) >= self._limits.of_client:
            gone = next((waiting for waiting in self._waiting if waiting in siblings), None)
            verdict = Verdict.SERVE if gone is not None else Verdict.CLIENT_IS_BUSY
        elif len(self) >= self._limits.most:
            gone = next(iter(self._waiting), None)
            verdict = Verdict.SERVE if gone is not None else Verdict.SERVER_IS_BUSY
        if gone is not None:
            self.leave(gone)
        if client is not None:
            self._of_client.setdefault(client, set()).add(connection)
        self._client_of[connection] = client
        self._waiting[connection] = self._clock()
        return verdict, gone

    def leave(self, connection: C) -> None:
        """Forget a connection. One that is not known is no error."""
        client = self._client_of.pop(connection, None)
        self._waiting.pop(connection, None)
        if client is not None and (siblings := self._of_client.get(client)) is not None:
            siblings.discard(connection)
            if not siblings:
                del self._of_client[client]

    def wait(self, connection: C) -> None:
        """From now on the connection waits for its client."""
        if connection in self._client_of:
            self._waiting.pop(connection, None)  # to the end of the order
            self._waiting[connection] = self._clock()

    def work(self, connection: C) -> None:
        """The connection works for its client: it is not closed for another one."""
        self._waiting.pop(connection, None)

    def overdue(self) -> list[C]:
        """Forget the connections that have waited too long, and return them."""
        until = self._clock() - RECEIVE_SECONDS
        late = []
        for connection, since in self._waiting.items():
            if since > until:
                break
            late.append(connection)
        for connection in late:
            self.leave(connection)
        return late
