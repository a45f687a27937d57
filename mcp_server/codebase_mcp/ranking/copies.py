"""The same code in several places: at other refs, in worktrees and forks. One result stands for all. Pure."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Final, TypeAlias

from codebase_index.store.query.candidate import Candidate

MIN_CHARACTERS: Final = 40
"""Shorter texts are equal by chance: `from a import b`."""

MIN_SHARED_LINES: Final = 0.8
"""Share of the lines that two versions of a place have in common, at the same path in two indexes."""

_Place: TypeAlias = tuple[str, str | None]


def group(best_first: Sequence[Candidate]) -> list[list[int]]:
    """Return the numbers of the candidates in groups of copies, each in order, by the order of their first.

    Copies are in different indexes: two equal places of one repository are two results. They have the same text,
    or the same path and symbol and nearly the same lines.
    """
    if len({candidate.index_id for candidate in best_first}) == 1:
        return [[number] for number in range(len(best_first))]
    groups: list[list[int]] = []
    alike: dict[str | _Place, list[list[int]]] = defaultdict(list)
    for number, candidate in enumerate(best_first):
        text, place = candidate.text.strip(), (candidate.path, candidate.symbol)
        keys: list[str | _Place] = [place, text] if len(text) >= MIN_CHARACTERS else [place]
        of_keys = (group for key in keys for group in alike[key])
        found = next((g for g in of_keys if _is_copy(candidate, [best_first[i] for i in g])), None)
        if found is None:
            found = []
            groups.append(found)
            for key in keys:
                alike[key].append(found)
        found.append(number)
    return groups


def _is_copy(candidate: Candidate, others: Sequence[Candidate]) -> bool:
    """Say whether a candidate is a copy of the first of the others, and in an index of its own."""
    if any(candidate.index_id == other.index_id for other in others):
        return False
    first = others[0]
    if candidate.text.strip() == first.text.strip():
        return True
    lines, of_first = set(candidate.text.split("\n")), set(first.text.split("\n"))
    return len(lines & of_first) >= MIN_SHARED_LINES * max(len(lines), len(of_first))
