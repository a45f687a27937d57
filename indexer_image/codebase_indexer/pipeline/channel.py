"""Frames between the indexer's main process and a parser process, which may have been taken over.

A frame is a length of four bytes, big-endian, and so many bytes. Each end waits no longer, and takes no more, than
it says, and reads one frame at a time: nobody sends a second one unasked.
"""

import errno
import os
import select
import struct
import time
from collections.abc import Sequence
from typing import Final

_LENGTH: Final = struct.Struct("!I")
_READ_BYTES: Final = 2**18
"""About as much as a Unix socket holds."""


class FrameRefused(Exception):
    """The other end sent what no honest process sends. The message says what."""


class Channel:
    """One end of a connected stream socket. Frames of more than `limit` bytes are refused. For one thread."""

    def __init__(self, descriptor: int, limit: int) -> None:
        self._descriptor = descriptor
        self._limit = limit
        self._buffer = bytearray()
        os.set_blocking(descriptor, False)

    def send(self, data: bytes, seconds: float | None = None) -> None:
        """Send a frame. Raises OSError: TimeoutError if the other end does not take it in time."""
        deadline = _deadline(seconds)
        left = memoryview(_LENGTH.pack(len(data)) + data)
        while left:
            if not self._wait(select.POLLOUT, deadline):
                raise TimeoutError(f"{len(left)} bytes were not taken within {seconds} s")
            left = left[os.write(self._descriptor, left) :]

    def receive(self, seconds: float | None = None) -> bytes | None:
        """Return the next frame; None if it is not complete in time: the next call goes on with it.

        Raises FrameRefused, EOFError when the other end is closed, and OSError.
        """
        deadline = _deadline(seconds)
        while not self._is_whole():
            if not self._wait(select.POLLIN, deadline):
                return None
            part = os.read(self._descriptor, _READ_BYTES)
            if not part:
                raise EOFError
            self._buffer += part
        frame = bytes(memoryview(self._buffer)[_LENGTH.size :])
        self._buffer = bytearray()
        return frame

    def close(self) -> None:
        """Close this end; what waits for it in another thread fails with OSError."""
        descriptor, self._descriptor = self._descriptor, -1  # the number may soon be another file's
        os.close(descriptor)

    def _is_whole(self) -> bool:
        if len(self._buffer) < _LENGTH.size:
            return False
        length: int = _LENGTH.unpack_from(self._buffer)[0]
        if length > self._limit:
            raise FrameRefused(f"a frame of {length:,} bytes; at most {self._limit:,} are taken")
        if len(self._buffer) > _LENGTH.size + length:
            raise FrameRefused("more than the one frame that was asked for")
        return len(self._buffer) == _LENGTH.size + length

    def _wait(self, event: int, deadline: float | None) -> bool:
        """Wait until the descriptor is ready; False when the time is up."""
        if self._descriptor < 0:
            raise OSError(errno.EBADF, "the channel is closed")
        poll = select.poll()
        poll.register(self._descriptor, event)
        if deadline is None:
            return bool(poll.poll())
        return bool(poll.poll(max(0.0, deadline - time.monotonic()) * 1000))


def _deadline(seconds: float | None) -> float | None:
    return None if seconds is None else time.monotonic() + seconds


def join(parts: Sequence[bytes]) -> bytes:
    """Return the content of a frame that has several parts: their number, their lengths, and they themselves."""
    return b"".join([struct.pack(f"!{1 + len(parts)}I", len(parts), *map(len, parts)), *parts])


def split(data: bytes) -> list[bytes]:
    """Return the parts that `join` joined. Raises FrameRefused."""
    if len(data) < _LENGTH.size:
        raise FrameRefused(f"a frame of {len(data)} bytes")
    (count,) = _LENGTH.unpack_from(data)
    begin = _LENGTH.size * (1 + count)
    if begin > len(data):
        raise FrameRefused(f"a frame of {len(data):,} bytes that says it has {count:,} parts")
    parts = []
    for length in struct.unpack_from(f"!{count}I", data, _LENGTH.size):
        parts.append(data[begin : begin + length])
        begin += length
    if begin != len(data):
        raise FrameRefused(f"a frame of {len(data):,} bytes whose parts have {begin:,}")
    return parts
