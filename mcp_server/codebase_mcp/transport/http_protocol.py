"""uvicorn's HTTP/1.1 with timeouts and bounds.

uvicorn waits for ever for the rest of a head or a body, and for a client that does not read its answer; when such
clients hold all of its connections, it answers 503 to everybody else. It parses all that a turn of the event loop
brings, and reads on while requests wait to be answered. Nothing else is changed here.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Final

import h11
from starlette.responses import PlainTextResponse
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.h11_impl import H11Protocol

from codebase_mcp.limits.caller import IpNetwork, caller_key, in_networks, parse_address
from codebase_mcp.limits.connection_limits import RECEIVE_SECONDS, Admission, ConnectionLimits, ConnectionTable
from codebase_mcp.transport.bounded_connection import BoundedConnection

log = logging.getLogger(__name__)

RECEIVE_BYTES: Final = 4 * 1024
"""What one connection may bring in one turn of the event loop; asyncio would take 256 KiB. In its worst form,
one-byte chunks, it is parsed in 5 ms."""

_MAX_INCOMPLETE_BYTES: Final = 16 * 1024
"""A head, a chunk line or trailers that are longer are refused by h11."""

_TIMEOUT_TEXT: Final = (
    f"the request did not arrive as a whole within {RECEIVE_SECONDS:g} s, or its place was needed by another; "
    "send it again, at once and completely\n"
).encode()
_TIMEOUT_RESPONSE: Final = (
    b"HTTP/1.1 408 Request Timeout\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n"
    b"Content-Length: %d\r\n\r\n%s" % (len(_TIMEOUT_TEXT), _TIMEOUT_TEXT)
)


class ConnectionManager:
    """Limits the connections of one port, and makes their protocols for uvicorn.

    `proxies` have no limit of their own: the requests that they pass on are counted by `middleware.RequestGuard`.
    """

    def __init__(self, limits: ConnectionLimits, proxies: Sequence[IpNetwork] = ()) -> None:
        self.connections: ConnectionTable[DeadlineProtocol] = ConnectionTable(limits)
        self.closed: Counter[str] = Counter()
        self._proxies = proxies
        self._refusals = {
            Admission.CLIENT_BUSY: PlainTextResponse(
                f"{limits.per_client} requests of this address are being answered, which is the limit; "
                "send it again when one of them has been answered\n",
                429, {"Retry-After": "1", "Connection": "close"},
            ),
            Admission.SERVER_BUSY: PlainTextResponse(
                f"{limits.total} requests are being answered, which is the limit; send it again in a second\n",
                503, {"Retry-After": "1", "Connection": "close"},
            ),
        }  # fmt: skip

    def protocol(self, **kwargs: Any) -> asyncio.Protocol:
        """Make the protocol of a new connection: uvicorn's `http`."""
        return DeadlineProtocol(self, **kwargs)

    def admit(self, connection: "DeadlineProtocol", address: str | None) -> Any:
        """Admit a connection; return the application that refuses its request, or None to serve it as usual."""
        client = parse_address(address or "")
        exempt = client is not None and in_networks(client, self._proxies)
        admission, evicted = self.connections.admit(connection, None if exempt else caller_key(client))
        if evicted is not None:
            self._close(evicted, "another needed its place")
        if admission is not Admission.SERVE:
            self.closed[admission] += 1
        return self._refusals.get(admission)

    def close_overdue(self) -> None:
        """Close the connections that have waited too long."""
        for connection in self.connections.remove_overdue():
            self._close(connection, "it took too long")

    def drain_closed(self) -> dict[str, int]:
        """Return how many were closed or refused since the last call, by reason."""
        closed, self.closed = dict(self.closed), Counter()
        return closed

    def _close(self, connection: "DeadlineProtocol", reason: str) -> None:
        if connection.abandon():
            self.closed[reason] += 1


class _Flow(FlowControl):
    """uvicorn's flow control, which reads nothing while a pipelined request waits for the answer before it.

    uvicorn reads on whenever the application awaits the client, so that pipelined requests would fill the memory.
    """

    def __init__(self, transport: asyncio.Transport, conn: BoundedConnection) -> None:
        super().__init__(transport)
        self._conn = conn

    def resume_reading(self) -> None:
        """Read on, unless there is a next request already."""
        if self._conn.their_state is not h11.DONE or not self._conn.unread:
            super().resume_reading()


class DeadlineProtocol(H11Protocol, asyncio.BufferedProtocol):
    """A connection that reports whether it waits for its client, and can be abandoned."""

    conn: BoundedConnection

    def __init__(self, manager: ConnectionManager, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.conn = BoundedConnection(_MAX_INCOMPLETE_BYTES)
        self._manager = manager
        self._buffer = bytearray(RECEIVE_BYTES)
        self._is_working = False
        self._has_data = False  # a part of the next request has arrived

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start to wait for a request."""
        super().connection_made(transport)
        self.flow = _Flow(transport, self.conn)
        refusal = self._manager.admit(self, self.client[0] if self.client else None)
        if refusal is not None:
            self.app = refusal

    def connection_lost(self, exc: Exception | None) -> None:
        """Remove the connection."""
        self._manager.connections.remove(self)
        super().connection_lost(exc)

    def get_buffer(self, sizehint: int) -> bytearray:
        """Return the buffer for what comes in one turn of the event loop."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Receive what the buffer holds now."""
        self.data_received(bytes(self._buffer[:nbytes]))

    def data_received(self, data: bytes) -> None:
        """Receive data."""
        if not self._has_data:
            self._has_data = True
            self._manager.connections.mark_waiting(self)  # its timeout starts
        super().data_received(data)
        self._update_state()

    def send_400_response(self, msg: str) -> None:
        """Answer a request that is malformed or out of bounds, unless it has been answered, and close."""
        refusal = self.conn.refusal
        status, text = (refusal.error_status_hint, str(refusal)) if refusal else (400, msg)
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            headers = [("Content-Type", "text/plain; charset=utf-8"), ("Connection", "close")]
            for event in (
                h11.Response(status_code=status, headers=headers, reason=HTTPStatus(status).phrase.encode()),
                h11.Data(data=f"{text}\n".encode()),
                h11.EndOfMessage(),
            ):
                self.transport.write(self.conn.send(event))
        if self.cycle is not None:
            self.cycle.disconnected = True  # what the application may still say comes too late
        self.transport.close()

    def on_response_complete(self) -> None:
        """Wait for the next request, or start with one that has arrived already."""
        super().on_response_complete()
        self.flow.resume_reading()  # now that the next request, too, has been taken from what had arrived
        self._has_data = self.conn.their_state is not h11.IDLE or bool(self.conn.unread)
        if self._has_data:
            self._unset_keepalive_if_required()  # it is no idle connection
        self._update_state()

    def pause_writing(self) -> None:
        """Wait for the client to read what it has been sent."""
        super().pause_writing()
        self._update_state()

    def resume_writing(self) -> None:
        """Go on sending."""
        super().resume_writing()
        self._update_state()

    def abandon(self) -> bool:
        """Close the connection, with an answer if a request has begun to arrive. Return False if it is closing."""
        unread = self.transport.get_write_buffer_size() > 0
        if self.transport.is_closing() and not unread:
            return False
        if self._has_data and not unread and self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            self.transport.write(_TIMEOUT_RESPONSE)
        if self.transport.get_write_buffer_size() > 0:
            self.transport.abort()  # nobody reads it: close() would wait for that
        else:
            self.transport.close()
        return True

    def _update_state(self) -> None:
        """Report whether a whole request has arrived that is being answered, to a client that reads the answer."""
        answering = self.cycle is not None and not self.cycle.response_complete
        arrived = self.conn.their_state not in (h11.IDLE, h11.SEND_BODY)
        is_working = answering and arrived and not self.flow.write_paused
        if is_working == self._is_working:
            return
        self._is_working = is_working
        (self._manager.connections.mark_working if is_working else self._manager.connections.mark_waiting)(self)
