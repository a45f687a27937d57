"""The same code in several places: at other refs, in worktrees and forks. One result stands for all. Pure."""

from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Sequence
from itertools import chain
from operator import attrgetter
from typing import Final

from codebase_index.store.query.candidate import Candidate

MIN_CHARACTERS: Final = 40
"""Shorter texts are equal by chance: `from a import b`."""

MIN_SHARED_LINES: Final = 0.8
"""Share of the lines that two versions of a place have in common, at the same path in two indexes."""

MAX_NEIGHBORS: Final = 8
"""Places before a version and after it, of its path and symbol, whose lines are compared with its own: a large
file has hundreds, but an edit moves a place past few of those that were found."""


class _Group:
    """Copies of a place, by number; the lines are those of the first."""

    def __init__(self, start_line: int, text: str, lines: frozenset[str]) -> None:
        self.start_line, self.text, self.lines = start_line, text, lines
        self.numbers: list[int] = []
        self.index_ids: set[int] = set()


_START_LINE = attrgetter("start_line")


def group(best_first: Sequence[Candidate]) -> list[list[int]]:
    """Return the numbers of the candidates in groups of copies, each in order, by the order of their first.

    Copies are in different indexes: two equal places of one repository are two results. They have the same text,
    or the same path and symbol and nearly the same lines.
    """
    if len({candidate.index_id for candidate in best_first}) == 1:
        return [[number] for number in range(len(best_first))]
    groups: list[_Group] = []
    of_text: dict[str, list[_Group]] = defaultdict(list)
    of_place: dict[tuple[str, str | None], list[_Group]] = defaultdict(list)  # each by its first line
    for number, candidate in enumerate(best_first):
        text, lines = candidate.text.strip(), frozenset(candidate.text.split("\n"))
        equal = of_text[text] if len(text) >= MIN_CHARACTERS else []
        at_place = of_place[candidate.path, candidate.symbol]
        near = _nearest(at_place, candidate.start_line)
        elsewhere = (g for g in chain(near, equal) if candidate.index_id not in g.index_ids)
        found = next((g for g in elsewhere if g.text == text or _shares_lines(lines, g)), None)
        if found is None:
            found = _Group(candidate.start_line, text, lines)
            groups.append(found)
            insort(at_place, found, key=_START_LINE)
            equal.append(found)
        found.numbers.append(number)
        found.index_ids.add(candidate.index_id)
    return [found.numbers for found in groups]


def _nearest(by_line: Sequence[_Group], line: int) -> Sequence[_Group]:
    """Return the groups that begin nearest before and after a line."""
    at = bisect_left(by_line, line, key=_START_LINE)
    return by_line[max(0, at - MAX_NEIGHBORS) : at + MAX_NEIGHBORS]


def _shares_lines(lines: frozenset[str], other: _Group) -> bool:
    return len(lines & other.lines) >= MIN_SHARED_LINES * max(len(lines), len(other.lines))
