"""Outlines of text without a grammar: documents by their headings, anything else by blank lines. Pure.

Markdown has a grammar, but finding its headings by lines is ten times as fast and works for every document.
"""

import re
from bisect import bisect_right
from collections.abc import Iterator

from codebase_index.symbols import Kind
from codebase_indexer.chunking.outline import Definition, Outline

FORMATS = frozenset(["markdown", "rst", "asciidoc", "org", "latex"])
"""Documents with headings, by the names that `languages` gives their grammars."""

MAX_HEADINGS = 20_000
MAX_HEADING_BYTES = 200

_DEEP = 1000  # places found without syntax: worse than any that syntax gives
_FENCED = 500  # added inside a block of code, which is better not cut
_BLANK = re.compile(rb"\n[ \t\r]*\n")
_FENCE = re.compile(rb"^ {0,3}(```+|~~~+)[^\n]*$", re.MULTILINE)
_ATX = re.compile(rb"^ {0,3}(#{1,6})[ \t]+(\S[^\n]{0,300})", re.MULTILINE)
_UNDERLINED = re.compile(rb"^(?=\S)([^\n]{1,200})\n([=\-~^\"'`#*+.:_])\2{2,199}[ \t\r]*$", re.MULTILINE)
_MARKS = {
    "asciidoc": re.compile(rb"^(={1,6})[ \t]+(\S[^\n]{0,300})", re.MULTILINE),
    "org": re.compile(rb"^(\*{1,8})[ \t]+(\S[^\n]{0,300})", re.MULTILINE),
    "latex": re.compile(
        rb"^[ \t]*\\(part|chapter|(?:sub){0,2}section|paragraph)\*?\{([^\n}]{1,300})", re.MULTILINE
    ),
}
_LATEX = {b"part": 1, b"chapter": 2, b"section": 3, b"subsection": 4, b"subsubsection": 5}

Heading = tuple[int, int, str]
"""Offset of its line, level from 1, text."""


def read(data: bytes, form: str | None) -> Outline:
    """Return the outline of a text; `form` None, or not one of FORMATS: any text, with Markdown's headings."""
    fences = _fences(data) if form == "markdown" else []
    found = Outline(_paragraphs(data, fences))
    if form in FORMATS:
        headings = [h for h in _headings(data, form) if not _is_inside(h[0], fences)][:MAX_HEADINGS]
        found.definitions = _sections(headings, len(data))
        found.cuts.update((offset, level) for offset, level, _ in headings)
    else:
        found.cuts.update((match.start(), _DEEP) for match in _ATX.finditer(data))
    return found


def _paragraphs(data: bytes, fences: list[tuple[int, int]]) -> dict[int, int]:
    """Return cuts after blank lines, the less indented first."""
    cuts: dict[int, int] = {}
    fence = 0
    for blank in _BLANK.finditer(data):
        start = blank.end()
        # Lookahead only as far as any sensible indentation reaches.
        indentation = len(data[start : start + 64]) - len(data[start : start + 64].lstrip(b" \t"))
        while fence < len(fences) and fences[fence][1] <= start:
            fence += 1
        fenced = fence < len(fences) and fences[fence][0] < start
        cuts[start] = _DEEP + 1 + indentation + _FENCED * fenced
    return cuts


def _fences(data: bytes) -> list[tuple[int, int]]:
    """Return where blocks of code begin and end."""
    blocks = []
    opened: tuple[int, bytes] | None = None
    for match in _FENCE.finditer(data):
        if opened is None:
            opened = match.start(), match[1]
        elif match[1].startswith(opened[1]) and match[0].strip() == match[1]:
            blocks.append((opened[0], match.end()))
            opened = None
    if opened is not None:
        blocks.append((opened[0], len(data)))
    return blocks


def _is_inside(offset: int, blocks: list[tuple[int, int]]) -> bool:
    index = bisect_right(blocks, offset, key=lambda block: block[0]) - 1
    return index >= 0 and offset < blocks[index][1]


def _headings(data: bytes, form: str | None) -> Iterator[Heading]:
    if form in ("markdown", "rst"):
        found = list(_underlined(data, form))
        if form == "markdown":
            found += [(m.start(), len(m[1]), m[2].rstrip(b"# \t\r")) for m in _ATX.finditer(data)]
        found.sort()
    else:
        marks = _MARKS[form or ""].finditer(data)
        found = [(m.start(), _LATEX.get(m[1], len(m[1])), m[2]) for m in marks]
    for offset, level, text in found:
        if name := " ".join(text[:MAX_HEADING_BYTES].decode(errors="replace").replace("\0", "").split()):
            yield offset, level, name


def _underlined(data: bytes, form: str) -> Iterator[tuple[int, int, bytes]]:
    """Headings with a line of signs below. Markdown has two levels of them, others number them as they come."""
    levels: dict[bytes, int] = {b"=": 1, b"-": 2} if form == "markdown" else {}
    for match in _UNDERLINED.finditer(data):
        if form == "markdown" and match[2] not in levels:
            continue
        yield match.start(), levels.setdefault(match[2], len(levels) + 1), match[1]


def _sections(headings: list[Heading], size: int) -> list[Definition]:
    """A heading reaches to the next one of its level or above."""
    sections: list[Definition] = []
    ends = [size] * len(headings)
    opened: list[int] = []
    for index, (offset, level, _) in enumerate(headings):
        while opened and headings[opened[-1]][1] >= level:
            ends[opened.pop()] = offset
        opened.append(index)
    for (offset, _, name), end in zip(headings, ends, strict=True):
        sections.append(Definition(offset, end, offset, name, Kind.HEADING, place=(offset, end)))
    return sections
