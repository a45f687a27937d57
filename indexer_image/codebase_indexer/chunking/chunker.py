"""Cuts a file into chunks along its syntax. Pure: bytes in, chunks out.

A parser gives places where a cut hurts little: the starts of statements and definitions, the fewer levels deep
the better. From each chunk's start we look 900 to 1,500 bytes ahead and cut at the outermost of these places,
the last one if several are equal. So definitions stay whole where they fit, small neighbours share a chunk,
and a file is covered exactly once, module-level code included. Only nodes larger than a chunk are entered,
which makes the walk some twenty times faster than the parse.

Where there is no grammar, or the parser does not come to an end, headings, blank lines and indentation take
the place of syntax (`prose`). Only a line longer than a chunk is ever cut inside.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypedDict

from codebase_index.symbols import MINOR, Kind, Symbol
from codebase_indexer.chunking import outline, prose
from codebase_indexer.chunking.outline import MAX_BYTES, Definition

CHUNKER_VERSION = 4
"""Part of the index's fingerprint: raise it when the same file would be cut or named differently."""

MIN_BYTES = 900
"""A chunk has this to `MAX_BYTES`, except for the last of a file. Retrieval is equal within noise from 700 to
1,800 bytes; this is what fits the 256 tokens of common embedding models."""

MAX_WORD = 200
"""Bytes at the end of a chunk in which a line that is too long is cut between two words."""

MAX_SYMBOLS = 64
"""Definitions noted for one chunk; more fit into it only in generated code and data."""

MAX_SYMBOL = 500
"""Characters of a qualified name."""

MAX_SIGNATURE = 200
"""Bytes of a signature: its first line says most."""

_TYPES = frozenset([Kind.CLASS, Kind.INTERFACE, Kind.STRUCT, Kind.ENUM])
_NOT_CODE = frozenset([Kind.HEADING, Kind.RULE, Kind.STAGE, Kind.KEY, Kind.TEST])
_QUALIFIER = re.compile(r"::|[.:/](?=[^.:/]+$)")


@dataclass(frozen=True)
class Piece:
    """A chunk of a file: bytes `start` to `end` (exclusive), the lines they lie on (from 1, inclusive).

    `symbol`, of `kind`, is the first definition that begins in it, else the one that it is a later part of, whose
    first line then is the `signature`. `defines` are all definitions that begin in it, in order.
    """

    start: int
    end: int
    start_line: int
    end_line: int
    symbol: str | None
    text: str
    kind: Kind | None = None
    signature: str | None = None
    defines: tuple[Symbol, ...] = ()


def chunk(data: bytes, grammar: str | None) -> list[Piece]:
    """Cut a file. Each byte is in exactly one piece, in order, except for pieces of white space alone.

    `data` is UTF-8. NUL, which Postgres refuses, becomes a replacement character.
    """
    found = outline.read(data, grammar) if grammar and grammar not in prose.FORMATS else None
    if found is None:
        found = prose.read(data, grammar)
    namer = _Namer(data, found.definitions)
    pieces = []
    line = 1
    for start, end in spans(data, found.cuts):
        newlines = data.count(b"\n", start, end)
        last_line = line + newlines - (data[end - 1] == 0x0A)
        raw = data[start:end]
        if not raw.isspace():
            pieces.append(Piece(start, end, line, last_line, text=_text(raw), **namer.describe(start, end)))
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
    if (space := data.rfind(b" ", limit - MAX_WORD, limit)) > start:
        return space + 1  # a paragraph in one line
    while limit > start + 1 and data[limit] & 0xC0 == 0x80:  # not inside a character
        limit -= 1
        if start + MAX_BYTES - limit > 3:  # not UTF-8 at all
            return start + MAX_BYTES
    return limit


def _text(raw: bytes) -> str:
    return raw.decode(errors="replace").replace("\0", "\ufffd")


class _Description(TypedDict):
    symbol: str | None
    kind: Kind | None
    signature: str | None
    defines: tuple[Symbol, ...]


class _Namer:
    """Finds what each piece is called and defines. Pieces are asked for in order."""

    def __init__(self, data: bytes, definitions: Sequence[Definition]) -> None:
        self._data = data
        self._definitions = definitions
        self._starts = [definition.start for definition in definitions]
        self._symbols: list[Symbol] = []
        self._parents: list[int] = []  # the place of the definition around each; -1: none
        self._qualify()

    def _qualify(self) -> None:
        """Give each definition its qualified name, outermost first."""
        around: list[int] = []
        for place, definition in enumerate(self._definitions):
            while around and self._definitions[around[-1]].end <= definition.start:
                around.pop()
            parent = around[-1] if around else -1
            kind = definition.kind
            prefix = ""
            if parent >= 0:
                outer = self._symbols[parent]
                prefix = outer.name + _separator(kind)
                if kind is Kind.FUNCTION and outer.kind in _TYPES:
                    kind = Kind.METHOD
            self._symbols.append(Symbol((prefix + definition.name)[:MAX_SYMBOL], _plain(definition), kind))
            self._parents.append(parent)
            around.append(place)

    def describe(self, start: int, end: int) -> "_Description":
        """Return a piece's symbol, its kind and signature, and what it defines.

        A piece that begins inside a function and ends in its neighbour is named after the function.
        """
        first, last = bisect_left(self._starts, start), bisect_left(self._starts, end)
        outer = self._around(first, start)
        place = self._named_after(outer, first, last)
        symbol = self._symbols[place] if place >= 0 else None
        return {
            "symbol": symbol.name if symbol else None,
            "kind": symbol.kind if symbol else None,
            "signature": self._signature(place) if 0 <= place < first else None,
            "defines": tuple(dict.fromkeys(self._symbols[first : min(last, first + MAX_SYMBOLS)])),
        }

    def _around(self, first: int, start: int) -> int:
        """Return the innermost definition that is open at the start of a piece, -1 if there is none."""
        place = first - 1
        while place >= 0 and self._definitions[place].end <= start:
            place = self._parents[place]
        return place

    def _named_after(self, outer: int, first: int, last: int) -> int:
        """Go from the definition around a piece into those that begin in it, through mere scopes."""
        place = outer
        for candidate in range(first, last):
            definition = self._definitions[candidate]
            if place >= 0 and definition.start >= self._definitions[place].end:
                break
            if self._parents[candidate] == place and definition.kind not in MINOR:
                place = candidate
                if not definition.scope:
                    break
        return place

    def _signature(self, place: int) -> str:
        head = self._definitions[place].head
        line_end = self._data.find(b"\n", head, head + MAX_SIGNATURE)
        raw = self._data[head : line_end if line_end >= 0 else head + MAX_SIGNATURE]
        return " ".join(_text(raw).split())


def _separator(kind: Kind) -> str:
    return " > " if kind is Kind.HEADING else "."


def _plain(definition: Definition) -> str:
    """Return a name without the qualification that it has where it stands: `put` of ``Store::put``."""
    if definition.kind in _NOT_CODE:
        return definition.name
    name = definition.name
    return name if name.isidentifier() else _QUALIFIER.split(name)[-1] or name
