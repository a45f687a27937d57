"""The best part of a chunk: pure."""

from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import accumulate

from codebase_index.lexical.words import terms

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
    hits = list(accumulate(_held(lines, asked), initial=0))
    shown, most = (0, 0), -1
    for first, end in _windows(lines, room):
        if hits[end] - hits[first] > most:
            shown, most = (first, end), hits[end] - hits[first]
    return shown[0], "\n".join(lines[slice(*shown)])[:room]


def _held(lines: Sequence[str], asked: Collection[str]) -> list[int]:
    """Return how many of the query's terms each line holds."""
    found = [0] * len(lines)
    for number in _may_hold(lines, asked):
        found[number] = len(set(terms(lines[number])).intersection(asked))
    return found


def _may_hold(lines: Sequence[str], asked: Collection[str]) -> Iterable[int]:
    """Return the lines that hold the letters of a term, and maybe others: most lines are passed over."""
    text = "\n".join(lines)
    if not text.isascii():  # other scripts have other forms of the same letters, and of other lengths
        return range(len(lines))
    lowered, ends = text.lower(), list(accumulate(len(line) + 1 for line in lines))
    found = set()
    for term in asked:
        at = lowered.find(term)
        while at >= 0:
            found.add(line := bisect_right(ends, at))
            at = lowered.find(term, ends[line])
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
