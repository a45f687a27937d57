"""Cuts a file into chunks along its syntax. Pure: bytes in, chunks out.

A parser gives places where a cut hurts little: the starts of statements and definitions, the fewer levels deep
the better. From each chunk's start we look 900 to 1,500 bytes ahead and cut at the outermost of these places,
the last one if several are equal. So definitions stay whole where they fit, small neighbours share a chunk,
and a file is covered exactly once, module-level code included. Only nodes larger than a chunk are entered,
which makes the walk some twenty times faster than the parse.

Where there is no grammar, or the parser does not come to an end, blank lines, headings and indentation take
the place of syntax. Only a line longer than a chunk is ever cut inside.
"""

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice

from tree_sitter import Node

from codebase_indexer import grammars

CHUNKER_VERSION = 1
"""Part of the index's fingerprint: raise it when the same file would be cut differently."""

MIN_BYTES = 900
MAX_BYTES = 1500
"""A chunk's size, except for the last of a file. Retrieval is equal within noise from 700 to 1,800 bytes; this
is what fits the 256 tokens of common embedding models."""

MAX_NODES = 200_000
"""Nodes looked at in one file: ten times what a 2 MiB file of ordinary code needs."""

_LINES_DEEP = 1000  # places found without syntax: worse than any that syntax gives
_BLANK = re.compile(rb"\n[ \t\r]*\n")
_HEADING = re.compile(rb"^#{1,6} \S", re.MULTILINE)


@dataclass(frozen=True)
class Piece:
    """A chunk of a file: bytes `start` to `end` (exclusive), the lines they lie on (from 1, inclusive)."""

    start: int
    end: int
    start_line: int
    end_line: int
    symbol: str | None
    text: str


@dataclass(frozen=True)
class Definition:
    """A name given to bytes `start` to `end` (exclusive), the comments above included.

    `scope`: it is only a place for other definitions, like a namespace.
    """

    start: int
    end: int
    name: str
    scope: bool


@dataclass
class Outline:
    """What the syntax says about a file: cuts as offset -> depth (0 is outermost), definitions in order."""

    cuts: dict[int, int] = field(default_factory=dict)
    definitions: list[Definition] = field(default_factory=list)


def chunk(data: bytes, grammar: str | None) -> list[Piece]:
    """Cut a file. Each byte is in exactly one piece, in order, except for pieces of white space alone.

    Text that is not UTF-8 is decoded with replacement characters, and NUL, which Postgres refuses, becomes one.
    """
    outline = _outline(data, grammar) if grammar else None
    if outline is None:
        outline = Outline(_text_cuts(data))
    namer = _Namer(outline.definitions)
    pieces = []
    line = 1
    for start, end in spans(data, outline.cuts):
        newlines = data.count(b"\n", start, end)
        last_line = line + newlines - (data[end - 1] == 0x0A)
        raw = data[start:end]
        if not raw.isspace():
            text = raw.decode(errors="replace").replace("\0", "\ufffd")
            pieces.append(Piece(start, end, line, last_line, namer.name(start, end), text))
        line += newlines
    return pieces


def spans(data: bytes, cuts: dict[int, int]) -> Iterator[tuple[int, int]]:
    """Divide a file at the best of the cuts: consecutive (start, end), none longer than MAX_BYTES.

    `cuts` maps byte offsets to how much a cut there hurts.
    """
    offsets = sorted(cuts)
    start = 0
    while len(data) - start > MAX_BYTES:
        first = bisect_right(offsets, start + MIN_BYTES - 1)
        last = bisect_right(offsets, start + MAX_BYTES)
        # Equal ones: the last, so that chunks become as large as they may.
        best = min(offsets[first:last], key=lambda offset: (cuts[offset], -offset), default=None)
        end = best if best is not None else _cut_lines(data, start)
        yield start, end
        start = end
    if start < len(data):
        yield start, len(data)


def _cut_lines(data: bytes, start: int) -> int:
    """Return where to cut if syntax gives no place: after a line, inside one only if it is too long."""
    limit = start + MAX_BYTES
    newline = data.rfind(b"\n", start, limit)
    if newline > start:
        return newline + 1
    while limit > start + 1 and data[limit] & 0xC0 == 0x80:  # not inside a character
        limit -= 1
        if start + MAX_BYTES - limit > 3:  # not UTF-8 at all
            return start + MAX_BYTES
    return limit


def _outline(data: bytes, name: str) -> Outline | None:
    """Return the cuts and definitions of a parsed file; None: it can not be parsed in time."""
    grammar = grammars.load(name)
    tree = grammar.parse(data)
    if tree is None:
        return None
    outline = Outline()
    stack: list[tuple[Node, int]] = [(tree.root_node, 0)]
    seen = 0
    while stack:
        node, depth = stack.pop()
        children = node.children
        seen += len(children)
        if seen > MAX_NODES:
            return None
        _collect(data, children, depth, grammar, outline, stack)
    outline.definitions.sort(key=lambda definition: (definition.start, -definition.end))
    return outline


def _collect(
    data: bytes,
    children: list[Node],
    depth: int,
    grammar: grammars.Grammar,
    outline: Outline,
    stack: list[tuple[Node, int]],
) -> None:
    """Note the cuts and definitions among a node's children; put those that are too large on the stack."""
    held: int | None = None  # where the comments before the next child begin
    for child in children:
        kind = child.kind_id
        start = _line_start(data, child.start_byte)
        if start is not None and kind in grammar.sticky:
            held = start if held is None else held
            continue
        cut = held if held is not None else start
        if cut is not None and cut not in outline.cuts:
            outline.cuts[cut] = depth
        held = None
        definition = _unwrap(child, grammar)
        if definition is not None and (name := grammars.name_of(definition, data)):
            begin = cut if cut is not None else child.start_byte
            scope = definition.kind_id in grammar.scopes
            outline.definitions.append(Definition(begin, child.end_byte, name, scope))
        if child.end_byte - child.start_byte > MAX_BYTES:
            stack.append((child, depth + 1))


def _unwrap(node: Node, grammar: grammars.Grammar) -> Node | None:
    """Return the definition that a node is, or that its wrappers (decorator, export, template) hold."""
    for _ in range(4):
        if node.kind_id in grammar.definitions:
            return node if grammars.is_defined_here(node) else None
        if node.kind_id not in grammar.wrappers:
            return None
        inner = next((c for c in node.named_children[:8] if _leads_to_definition(c, grammar)), None)
        if inner is None:
            return None
        node = inner
    return None


def _leads_to_definition(node: Node, grammar: grammars.Grammar) -> bool:
    return node.kind_id in grammar.definitions or node.kind_id in grammar.wrappers


def _line_start(data: bytes, offset: int) -> int | None:
    """Return the start of the line, if only white space is between it and `offset`."""
    if offset == 0 or data[offset - 1] == 0x0A:
        return offset
    start = data.rfind(b"\n", 0, offset) + 1
    return start if data[start:offset].isspace() else None


class _Namer:
    """Finds the symbol of each piece, in one pass over the definitions."""

    def __init__(self, definitions: list[Definition]) -> None:
        self._definitions = definitions
        self._next = 0
        self._open: list[Definition] = []

    def name(self, start: int, end: int) -> str | None:
        """Return the qualified name, outermost first, of what the piece defines first, else of where it lies.

        A piece that begins inside a function and ends in its neighbour is named after the function.
        """
        self._enter_all_before(start)
        inside = list(self._open)
        for definition in islice(self._definitions, self._next, None):
            if definition.start >= end or (inside and definition.end > inside[-1].end):
                break
            inside.append(definition)
            if not definition.scope:
                break
        return ".".join(definition.name for definition in inside)[:500] or None

    def _enter_all_before(self, offset: int) -> None:
        while self._next < len(self._definitions) and self._definitions[self._next].start < offset:
            self._close(self._definitions[self._next].start)
            self._open.append(self._definitions[self._next])
            self._next += 1
        self._close(offset)

    def _close(self, offset: int) -> None:
        while self._open and self._open[-1].end <= offset:
            self._open.pop()


def _text_cuts(data: bytes) -> dict[int, int]:
    """Return cuts for text without a grammar: headings, else after blank lines, the less indented first."""
    cuts: dict[int, int] = {}
    for blank in _BLANK.finditer(data):
        start = blank.end()
        # Lookahead only as far as any sensible indentation reaches.
        indentation = len(data[start : start + 64]) - len(data[start : start + 64].lstrip(b" \t"))
        cuts[start] = _LINES_DEEP + 1 + indentation
    for heading in _HEADING.finditer(data):
        cuts[heading.start()] = _LINES_DEEP
    return cuts
