"""The best part of a chunk: pure."""

from collections.abc import Collection, Iterator, Sequence
from itertools import accumulate

from codebase_index.text import terms

MAX_LINES = 16
MAX_CHARACTERS = 800
"""Bounds of an excerpt: what is longer is no longer a glance."""


def excerpt(text: str, asked: Collection[str], room: int = MAX_CHARACTERS) -> tuple[int, str]:
    """Return the window of whole lines that holds the most of the query's terms, the earliest on a tie.

    As (first line, text), the line counted from 0 within the chunk. `room` is its most characters, at most
    MAX_CHARACTERS: a first line that is longer is cut.
    """
    room = min(room, MAX_CHARACTERS)
    lines = text.split("\n")  # as line numbers count: splitlines() also splits at form feeds
    found = _held(lines, asked)
    hits = list(accumulate(found, initial=0))
    # max() keeps the first of equals.
    first, end = max(_windows(lines, room), key=lambda window: hits[window[1]] - hits[window[0]])
    return first, "\n".join(lines[first:end])[:room]


def _held(lines: Sequence[str], asked: Collection[str]) -> list[int]:
    """Return how many of the query's terms each line holds."""
    # Most lines hold the letters of none. Other scripts have other forms of the same letters.
    text = "\n".join(lines).casefold()
    letters = [term for term in asked if term in text]
    found = []
    for line in lines:
        lowered = line.casefold()
        may_hold = not line.isascii() or any(term in lowered for term in letters)
        found.append(len(set(terms(line)).intersection(asked)) if may_hold else 0)
    return found


def head(text: str, room: int) -> str:
    """Return the first lines that fit `room` characters; at least one, cut if it is longer."""
    lines = text.split("\n")
    _, end = next(_windows(lines, min(room, MAX_CHARACTERS)))
    return "\n".join(lines[:end])[:room]


def _windows(lines: Sequence[str], room: int) -> Iterator[tuple[int, int]]:
    """Yield as many lines as fit from each line on, at least one, up to the first window that reaches the end."""
    end, size = 0, -1  # the characters of lines[first:end] with a newline between them
    for first in range(len(lines)):
        while end < len(lines) and (
            end == first or (end - first < MAX_LINES and size + 1 + len(lines[end]) <= room)
        ):
            size += 1 + len(lines[end])
            end += 1
        yield first, end
        if end == len(lines):
            return
        size -= len(lines[first]) + 1
