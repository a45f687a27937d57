"""uvicorn's HTTP/1.1 with an end to its patience.

uvicorn waits for ever for the rest of a head or a body, and for a client that does not read its answer; and when
all of its connections are taken so, it answers 503 to everybody else. Nothing else of it is changed here.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

import h11
from starlette.responses import PlainTextResponse
from uvicorn.protocols.http.h11_impl import H11Protocol

from codebase_mcp.limits.caller import Network, is_one_of, key, parsed
from codebase_mcp.limits.connection_limits import RECEIVE_SECONDS, Connections, Limits, Verdict

log = logging.getLogger(__name__)

_TOO_LATE: Final = (
    f"the request did not arrive as a whole within {RECEIVE_SECONDS:g} s, or its place was needed by another; "
    "send it again, at once and completely\n"
).encode()
_TIMEOUT: Final = (
    b"HTTP/1.1 408 Request Timeout\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n"
    b"Content-Length: %d\r\n\r\n%s" % (len(_TOO_LATE), _TOO_LATE)
)


class Patience:
    """The connections of one port, and what uvicorn needs to make them.

    `proxies` have no share of their own; those who stand behind them are counted by `http.Callers`.
    """

    def __init__(self, limits: Limits, proxies: Sequence[Network] = ()) -> None:
        self.connections: Connections[PatientProtocol] = Connections(limits)
        self.closed: Counter[str] = Counter()
        self._proxies = proxies
        self._refusals = {
            Verdict.CLIENT_IS_BUSY: PlainTextResponse(
                f"{limits.of_client} requests of this address are being answered, and more are not taken at once; "
                "send it again when one of them has been answered\n",
                429, {"Retry-After": "1", "Connection": "close"},
            ),
            Verdict.SERVER_IS_BUSY: PlainTextResponse(
                f"{limits.most} requests are being answered, and more are not taken at once; send it again in a "
                "second\n",
                503, {"Retry-After": "1", "Connection": "close"},
            ),
        }  # fmt: skip

    def protocol(self, **given: Any) -> asyncio.Protocol:
        """Make the protocol of a new connection: uvicorn's `http`."""
        return PatientProtocol(self, **given)

    def enter(self, connection: "PatientProtocol", address: str | None) -> Any:
        """Take a connection in; return the application that is to answer it, or None for the usual one."""
        client = parsed(address or "")
        exempt = client is not None and is_one_of(client, self._proxies)
        verdict, gone = self.connections.enter(connection, None if exempt else key(client))
        if gone is not None:
            self._close(gone, "another needed its place")
        if verdict is not Verdict.SERVE:
            self.closed[verdict] += 1
        return self._refusals.get(verdict)

    def close_overdue(self) -> None:
        """Close what has waited too long."""
        for connection in self.connections.overdue():
            self._close(connection, "it took too long")

    def told(self) -> dict[str, int]:
        """Return how many were closed or refused since this was asked last, by reason."""
        closed, self.closed = dict(self.closed), Counter()
        return closed

    def _close(self, connection: "PatientProtocol", reason: str) -> None:
        if connection.give_up():
            self.closed[reason] += 1


class PatientProtocol(H11Protocol):
    """A connection that tells whether it waits for its client, and can be given up."""

    def __init__(self, patience: Patience, **given: Any) -> None:
        super().__init__(**given)
        self._patience = patience
        self._works = False
        self._began = False  # something of the request that is waited for has come

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request."""
        super().connection_made(transport)
        refusal = self._patience.enter(self, self.client[0] if self.client else None)
        if refusal is not None:
            self.app = refusal

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._patience.connections.leave(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what comes."""
        if not self._began:
            self._began = True
            self._patience.connections.wait(self)  # its time begins
        super().data_received(data)
        self._tell()

    def on_response_complete(self) -> None:
        """Wait for the next request, or begin with one that has come already."""
        super().on_response_complete()
        self._began = self.conn.their_state is not h11.IDLE or bool(self.conn.trailing_data[0])
        if self._began:
            self._unset_keepalive_if_required()  # it is no idle connection
        self._tell()

    def pause_writing(self) -> None:
        """Wait for the client to read what it has been sent."""
        super().pause_writing()
        self._tell()

    def resume_writing(self) -> None:
        """Go on with what there is to send."""
        super().resume_writing()
        self._tell()

    def give_up(self) -> bool:
        """Close the connection; say why, if a request has begun to come. Return False if it is closing anyway."""
        unread = self.transport.get_write_buffer_size() > 0
        if self.transport.is_closing() and not unread:
            return False
        if self._began and not unread and self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            self.transport.write(_TIMEOUT)
        if self.transport.get_write_buffer_size() > 0:
            self.transport.abort()  # nobody reads it: close() would wait for that
        else:
            self.transport.close()
        return True

    def _tell(self) -> None:
        """Tell whether a request has come as a whole, is not answered yet, and its client reads what it gets."""
        answering = self.cycle is not None and not self.cycle.response_complete
        arrived = self.conn.their_state not in (h11.IDLE, h11.SEND_BODY)
        works = answering and arrived and not self.flow.write_paused
        if works == self._works:
            return
        self._works = works
        (self._patience.connections.work if works else self._patience.connections.wait)(self)
