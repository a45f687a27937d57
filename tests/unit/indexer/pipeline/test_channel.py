"""Frames between two processes of which one may be hostile."""

import socket
from collections.abc import Iterator

import pytest

from codebase_indexer.pipeline.channel import Channel, FrameRefused, join, split

Ends = tuple[Channel, socket.socket]


@pytest.fixture
def ends() -> Iterator[Ends]:
    """A channel that takes 100 bytes, and the other end."""
    ours, theirs = socket.socketpair()
    channel = Channel(ours.detach(), 100)
    with theirs:
        yield channel, theirs
    channel.close()


def test_a_frame_comes_in_any_pieces(ends: Ends) -> None:
    channel, theirs = ends
    for byte in (3).to_bytes(4) + b"ab":
        theirs.send(bytes([byte]))
        assert channel.receive(0) is None
    theirs.send(b"c")
    assert channel.receive(0) == b"abc"


def test_a_frame_that_is_announced_too_large_is_refused_before_it_comes(ends: Ends) -> None:
    channel, theirs = ends
    theirs.send((101).to_bytes(4))
    with pytest.raises(FrameRefused, match="101 bytes; at most 100"):
        channel.receive(0)


def test_a_second_frame_that_nobody_asked_for_is_refused(ends: Ends) -> None:
    channel, theirs = ends
    theirs.send(2 * ((1).to_bytes(4) + b"x"))
    with pytest.raises(FrameRefused, match="more than the one"):
        channel.receive(0)


def test_the_end_of_the_other_is_noticed(ends: Ends) -> None:
    channel, theirs = ends
    theirs.send((3).to_bytes(4) + b"ab")
    theirs.close()
    with pytest.raises(EOFError):
        channel.receive(1)


def test_who_takes_nothing_does_not_hold_the_sender_for_ever(ends: Ends) -> None:
    channel, _ = ends
    with pytest.raises(TimeoutError):
        channel.send(bytes(2**24), 0.1)


def test_a_channel_that_was_closed_reads_from_no_other_file() -> None:
    ours, theirs = socket.socketpair()
    channel = Channel(ours.detach(), 100)
    channel.close()
    with theirs, pytest.raises(OSError, match="closed"):
        channel.receive(0)


@pytest.mark.parametrize("parts", [[], [b""], [b"a", b"", b"bc"]])
def test_parts_come_back_as_they_were(parts: list[bytes]) -> None:
    assert split(join(parts)) == parts


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"abc",
        b"\xff\xff\xff\xff",
        b"\0\0\0\1\0\0\0\2x",
        b"\0\0\0\1\0\0\0\0x",
        b"\0\0\0\2" + 8 * b"\xff",
    ],
)
def test_parts_that_do_not_add_up_are_refused(data: bytes) -> None:
    with pytest.raises(FrameRefused):
        split(data)
