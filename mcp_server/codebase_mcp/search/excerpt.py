"""The best excerpt of a chunk. Pure."""

from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Final, NamedTuple

from codebase_index.lexical.words import terms

MAX_EXCERPT_LINES = 16
MAX_EXCERPT_CHARACTERS = 800
"""Limits of an excerpt, which is read at a glance."""

CUT: Final = "…"
"""Stands where a line that is shown goes on."""


class Excerpt(NamedTuple):
    """A part of a chunk. `first` is its first line, `best` the one with the most of the query's terms: both are
    counted from 0 in the chunk.
    """

    first: int
    text: str
    best: int


def excerpt(text: str, query_terms: Collection[str], room: int = MAX_EXCERPT_CHARACTERS) -> Excerpt:
    """Return the window of whole lines that holds the most of the query's terms, the earliest on a tie.

    `room` is its most characters, at most MAX_EXCERPT_CHARACTERS: a first line that is longer is cut.
    """
    room = min(room, MAX_EXCERPT_CHARACTERS)
    lines = text.split("\n")  # as line numbers count: splitlines() also splits at form feeds
    counts = _count_terms(lines, query_terms)
    hits = list(accumulate(counts, initial=0))
    shown, most = (0, 0), -1
    for first, end in _windows(lines, room):
        if hits[end] - hits[first] > most:
            shown, most = (first, end), hits[end] - hits[first]
    best = max(range(*shown), key=lambda line: (counts[line], bool(lines[line].strip()), -line))
    return Excerpt(shown[0], _within("\n".join(lines[slice(*shown)]), room), best)


def _count_terms(lines: Sequence[str], query_terms: Collection[str]) -> list[int]:
    """Return how many of the query's terms each line holds."""
    found = [0] * len(lines)
    for number in _candidate_lines(lines, query_terms):
        found[number] = len(set(terms(lines[number])).intersection(query_terms))
    return found


def _candidate_lines(lines: Sequence[str], query_terms: Collection[str]) -> Iterable[int]:
    """Return a superset of the lines that hold a term, cheaply: most lines are skipped."""
    text = "\n".join(lines)
    if not text.isascii():  # case folding changes the length of other scripts' letters
        return range(len(lines))
    lowered, ends = text.lower(), list(accumulate(len(line) + 1 for line in lines))
    found = set()
    for term in query_terms:
        at = lowered.find(term)
        while at >= 0:
            found.add(line := bisect_right(ends, at))
            at = lowered.find(term, ends[line])
    return found


def head(text: str, room: int) -> str:
    """Return the first lines that fit `room` characters; at least one, cut if it is longer."""
    lines = text.split("\n")
    _, end = next(_windows(lines, min(room, MAX_EXCERPT_CHARACTERS)))
    return _within("\n".join(lines[:end]), room)


def _within(text: str, room: int) -> str:
    return text if len(text) <= room else text[:room] + CUT


def _windows(lines: Sequence[str], room: int) -> Iterator[tuple[int, int]]:
    """Yield as many lines as fit from each line on, at least one, up to the first window that reaches the end."""
    end, size = 0, -1  # the characters of lines[first:end] with a newline between them
    for first in range(len(lines)):
        while end < len(lines) and (
            end == first or (end - first < MAX_EXCERPT_LINES and size + 1 + len(lines[end]) <= room)
        ):
            size += 1 + len(lines[end])
            end += 1
        yield first, end
        if end == len(lines):
            return
        size -= len(lines[first]) + 1


def first_lines(first: int, text: str, room: int) -> tuple[int, str] | None:
    """Return as many of the first lines as fit, whole, with the number of the first one; None if none does."""
    lines = text.split("\n")
    count = _count_fitting(lines, room)
    return (first, "\n".join(lines[:count])) if count else None


def last_lines(first: int, text: str, room: int) -> tuple[int, str] | None:
    """Return as many of the last lines as fit, whole, with the number of the first of them; None if none does."""
    lines = text.split("\n")
    count = _count_fitting(lines[::-1], room)
    return (first + len(lines) - count, "\n".join(lines[len(lines) - count :])) if count else None


def _count_fitting(lines: Sequence[str], room: int) -> int:
    sizes = accumulate(len(line) + 1 for line in lines)
    return sum(size - 1 <= room for size in sizes)
