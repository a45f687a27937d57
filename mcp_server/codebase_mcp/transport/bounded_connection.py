"""h11's parser with bounds for what it does at length: lines of a head, chunk lines, trailers.

Each of those lines may be four bytes short and costs h11 microseconds, so that a client could keep the event loop
busy for seconds with less than a second of traffic. A line of an ordinary request is no dearer; there are few.
"""

import re
from typing import Final

import h11

MAX_HEAD_LINES: Final = 101
"""The request line and 100 headers: a browser sends twenty, a proxy adds ten."""

MAX_FRAMING_BYTES: Final = 16 * 1024
"""What a body may have besides its bytes: chunk lines and trailers. The largest body in chunks of 128 bytes."""

_BLANK_LINE: Final = re.compile(rb"\n\r?\n")


class BoundedConnection(h11.Connection):
    """The server's side of one HTTP/1.1 connection."""

    def __init__(self, max_incomplete_event_size: int) -> None:
        super().__init__(h11.SERVER, max_incomplete_event_size)
        self.refusal: h11.RemoteProtocolError | None = None
        """Why the request is out of bounds: `error_status_hint` is the HTTP status, the text is for the client."""
        self._framing = 0  # bytes of the request after its head, without those of its body

    @property
    def unread(self) -> bytes:
        """What has arrived and is not parsed yet."""
        return self.trailing_data[0]

    def receive_data(self, data: bytes) -> None:
        """Add bytes that have arrived."""
        self._framing += len(data)
        super().receive_data(data)

    def next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        """Parse the next event. Raises h11.RemoteProtocolError."""
        if self.their_state is h11.IDLE:
            self._check_head()
        event = super().next_event()
        if isinstance(event, h11.Request):
            self._framing = len(self.unread)
        elif isinstance(event, h11.Data):
            self._framing -= len(event.data)
        # Only now: what has been received and not parsed before may be body.
        elif event is h11.NEED_DATA and self.their_state is h11.SEND_BODY and self._framing > MAX_FRAMING_BYTES:
            raise self._refused(400, (
                f"the chunk lines and trailers of the body have more than {MAX_FRAMING_BYTES} bytes; send it with "
                "Content-Length, or in fewer and larger chunks"
            ))  # fmt: skip
        return event

    def _check_head(self) -> None:
        unread = self.unread
        end = _BLANK_LINE.search(unread)
        if unread.count(b"\n", 0, end.start() + 1 if end else None) > MAX_HEAD_LINES:
            raise self._refused(431, f"the request has more than {MAX_HEAD_LINES - 1} headers; send fewer")

    def _refused(self, status: int, why: str) -> h11.RemoteProtocolError:
        self.refusal = h11.RemoteProtocolError(why, error_status_hint=status)
        return self.refusal
