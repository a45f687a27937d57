"""Occurrences: neighbouring lines that match, grouped. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from codebase_index.definitions import Definition, Definitions
from codebase_index.store.query.text_search import TextMatch
from codebase_mcp.search.excerpt import CUT

CONTEXT_LINES: Final = 1
"""Lines shown above and below; detail=full shows more."""

MAX_OCCURRENCE_LINES: Final = 12
MAX_LINE_CHARACTERS: Final = 240
"""Of longer lines (minified code, data) the part around the match is shown."""


@dataclass(frozen=True)
class Occurrence:
    """Neighbouring lines of a chunk that match: `lines` counted in the file, rising.

    `definition` is the innermost one that they lie in; None: in none, or it is not known.
    """

    match: TextMatch
    lines: tuple[int, ...]
    definition: Definition | None = None


def occurrences(matches: Sequence[TextMatch], definitions: Mapping[int, Definitions]) -> list[Occurrence]:
    """Return the occurrences of all matches in order: lines whose surroundings would overlap are one, if they lie
    in the same definition. `definitions` has those of the chunks' files, by the chunks' ids.
    """
    found = []
    for match in matches:
        run: list[int] = []
        around: Definition | None = None
        of_file = definitions.get(match.id)
        for line in match.lines:
            inside = of_file.innermost(line) if of_file else None
            far = run and (line - run[-1] > 2 * CONTEXT_LINES or line - run[0] >= MAX_OCCURRENCE_LINES)
            if run and (far or inside != around):
                found.append(Occurrence(match, tuple(run), around))
                run = []
            run.append(line)
            around = inside
        found.append(Occurrence(match, tuple(run), around))
    return found


def surroundings(occurrence: Occurrence, needle: str) -> tuple[int, str]:
    """Return (number of the first line, text) to show of an occurrence: whole lines, unless they are long.

    `needle` is a text that the line holds, if known: of a long line the part around it is shown.
    """
    match = occurrence.match
    first = max(occurrence.lines[0] - CONTEXT_LINES, match.start_line)
    last = min(occurrence.lines[-1] + CONTEXT_LINES, match.end_line)
    lines = match.text.split("\n")[first - match.start_line : last - match.start_line + 1]
    return first, "\n".join(_cut(line, needle) for line in lines)


def _cut(line: str, needle: str) -> str:
    if len(line) <= MAX_LINE_CHARACTERS:
        return line
    at = line.lower().find(needle.lower()) if needle else 0
    start = min(max(at - MAX_LINE_CHARACTERS // 2, 0), len(line) - MAX_LINE_CHARACTERS)
    end = start + MAX_LINE_CHARACTERS
    return CUT * (start > 0) + line[start:end] + CUT * (end < len(line))
