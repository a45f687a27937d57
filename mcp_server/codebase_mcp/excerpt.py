"""The best part of a chunk: pure."""

from collections.abc import Collection

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
    found = [_held(line, asked) for line in lines]
    best, best_hits = (0, _end(lines, 0, room)), -1
    for first in range(len(lines)):
        end = _end(lines, first, room)
        hits = sum(found[first:end])
        if hits > best_hits:
            best, best_hits = (first, end), hits
        if end == len(lines):
            break
    first, end = best
    return first, "\n".join(lines[first:end])[:room]


def _held(line: str, asked: Collection[str]) -> int:
    """Return how many of the query's terms a line holds."""
    lowered = line.casefold()
    # Most lines hold the letters of none. Other scripts have other forms of the same letters.
    if line.isascii() and not any(term in lowered for term in asked):
        return 0
    return len(set(terms(line)).intersection(asked))


def head(text: str, room: int) -> str:
    """Return the first lines that fit `room` characters; at least one, cut if it is longer."""
    lines = text.split("\n")
    return "\n".join(lines[: _end(lines, 0, min(room, MAX_CHARACTERS))])[:room]


def _end(lines: list[str], first: int, room: int) -> int:
    """Return the line after the window that starts at `first`: as many lines as fit, at least one."""
    size, end = len(lines[first]), first + 1
    while end < len(lines) and end - first < MAX_LINES and size + 1 + len(lines[end]) <= room:
        size += 1 + len(lines[end])
        end += 1
    return end
