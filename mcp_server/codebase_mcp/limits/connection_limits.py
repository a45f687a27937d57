"""How many connections there may be, in all and for each client, and which one is evicted for a new one. Pure.

A connection waits for its client, or works for it. A waiting one costs its client nothing, so it could
be held open for ever: waiting connections are evicted, the oldest first, when a new one needs their place, and all
of them after a timeout.
"""

import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Generic, TypeVar

RECEIVE_SECONDS: Final = 10.0
"""Timeout for a request to arrive, head and body together, and for an answer to be read, however many bytes come.
The largest body needs 26 KB a second."""

C = TypeVar("C", bound=Hashable)


class Admission(StrEnum):
    """What to do with the request of a new connection."""

    SERVE = "serve"
    CLIENT_BUSY = "client is busy"
    SERVER_BUSY = "server is busy"


@dataclass(frozen=True)
class ConnectionLimits:
    """How many connections there may be: `total` in all, and `per_client` of one address."""

    total: int
    per_client: int


class ConnectionTable(Generic[C]):
    """The open connections, and which of them wait, the oldest first."""

    def __init__(self, limits: ConnectionLimits, clock: Callable[[], float] = time.monotonic) -> None:
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

    @property
    def clients(self) -> int:
        """How many clients with a limit of their own have connections."""
        return len(self._of_client)

    def admit(self, connection: C, client: str | None) -> tuple[Admission, C | None]:
        """Add a new, waiting connection; return what to do with it, and the connection that is evicted for it.

        A client of None has no limit of its own: it is a proxy, behind which there may be many.
        """
        admission, evicted = Admission.SERVE, None
        siblings = self._of_client.setdefault(client, set()) if client is not None else set()
        if client is not None and len(siblings) >= self._limits.per_client:
            evicted = next((waiting for waiting in self._waiting if waiting in siblings), None)
            admission = Admission.SERVE if evicted is not None else Admission.CLIENT_BUSY
        elif len(self) >= self._limits.total:
            evicted = next(iter(self._waiting), None)
            admission = Admission.SERVE if evicted is not None else Admission.SERVER_BUSY
        if evicted is not None:
            self.remove(evicted)
        if client is not None:
            self._of_client.setdefault(client, set()).add(connection)
        self._client_of[connection] = client
        self._waiting[connection] = self._clock()
        return admission, evicted

    def remove(self, connection: C) -> None:
        """Remove a connection, if it is there."""
        client = self._client_of.pop(connection, None)
        self._waiting.pop(connection, None)
        if client is not None and (siblings := self._of_client.get(client)) is not None:
            siblings.discard(connection)
            if not siblings:
                del self._of_client[client]

    def mark_waiting(self, connection: C) -> None:
        """Note that the connection waits for its client from now on."""
        if connection in self._client_of:
            self._waiting.pop(connection, None)  # to the end of the order
            self._waiting[connection] = self._clock()

    def mark_working(self, connection: C) -> None:
        """Note that the connection works for its client: it is not evicted."""
        self._waiting.pop(connection, None)

    def remove_overdue(self) -> list[C]:
        """Remove the connections that have waited too long, and return them."""
        until = self._clock() - RECEIVE_SECONDS
        late = []
        for connection, since in self._waiting.items():
            if since > until:
                break
            late.append(connection)
        for connection in late:
            self.remove(connection)
        return late
