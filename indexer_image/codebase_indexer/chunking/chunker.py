"""Splits a file into chunks along its syntax. Pure: bytes in, chunks out.

The syntax tree gives candidate cuts: the starts of statements and definitions, the less deeply nested the better.
From each chunk's start we look 900 to 1,500 bytes ahead and cut at the outermost candidate, the last one of equal
candidates. So definitions stay whole where they fit, small neighbours share a chunk, and a file is covered exactly
once, module-level code included. Only nodes larger than a chunk are entered, which makes the walk some twenty
times faster than the parse.

Without a grammar, or when the parser runs out of time, headings, blank lines and indentation replace the syntax
(`prose`). Only a line longer than a chunk is ever cut inside.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, TypedDict

import numpy as np

from codebase_index.definitions import MAX_QUALIFIED, PlacedName, separator
from codebase_index.symbols import MINOR, Kind, Symbol
from codebase_indexer.chunking import outline, prose
from codebase_indexer.chunking.outline import MAX_BYTES, Definition

CHUNKER_VERSION = 6
"""Part of the index's fingerprint: raise it when the same file would be cut or named differently, or would have
other definitions.
"""

MIN_BYTES = 900
"""A chunk has this to `MAX_BYTES`, except for the last of a file. Retrieval is equal within noise from 700 to
1,800 bytes; this is what fits the 256 tokens of common embedding models."""

MAX_WORD = 200
"""Bytes at the end of a chunk in which a line that is too long is cut between two words."""

MAX_SYMBOLS = 64
"""Definitions noted for one chunk; more fit into it only in generated code and data."""

MAX_SIGNATURE = 200
"""Bytes of a signature: its beginning says most."""

_FUNCTION, _METHOD = Kind.FUNCTION, Kind.METHOD  # an enum's members are slow to reach before Python 3.12
_TYPES = frozenset([Kind.CLASS, Kind.INTERFACE, Kind.STRUCT, Kind.ENUM])
_UNSIGNED = frozenset([Kind.HEADING, Kind.KEY])
"""Kinds whose signature would only repeat the name."""
_NOT_CODE = frozenset([Kind.HEADING, Kind.RULE, Kind.STAGE, Kind.KEY, Kind.TEST])
_QUALIFIER = re.compile(r"::|[.:/](?=[^.:/]+$)")


class SourceChunk(NamedTuple):
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


class SplitFile(NamedTuple):
    """The chunks of a file, and its definitions with their places, both in order."""

    chunks: list[SourceChunk]
    definitions: list[PlacedName]


def split(data: bytes, grammar: str | None) -> SplitFile:
    """Split a file: the chunks' texts, one after another, are the file. One of white space alone has none.

    `data` is UTF-8. NUL, which Postgres refuses, becomes a replacement character.
    """
    found = outline.read(data, grammar) if grammar and grammar not in prose.FORMATS else None
    if found is None:
        found = prose.read(data, grammar)
    resolver = _SymbolResolver(data, found.definitions)
    chunks = []
    line = 1
    for start, end in with_blanks(data, spans(data, found.cuts)):
        newlines = data.count(b"\n", start, end)
        last_line = line + newlines - (data[end - 1] == 0x0A)
        text = _text(data[start:end])
        chunks.append(SourceChunk(start, end, line, last_line, text=text, **resolver.describe(start, end)))
        line += newlines
    return SplitFile(chunks, resolver.places())


def with_blanks(data: bytes, consecutive: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Join spans of white space alone to the one before, at the start of a file to the first that has more.

    White space is nothing to embed or to find, but whoever reads the file wants its every byte: so these alone may
    exceed MAX_BYTES.
    """
    start, end, blank = 0, 0, True
    for begin, end in consecutive:
        is_white = data[begin:end].isspace()
        if not is_white and not blank:
            yield start, begin
            start = begin
        blank = blank and is_white
    if not blank:
        yield start, end


def spans(data: bytes, cuts: dict[int, int]) -> Iterator[tuple[int, int]]:
    """Divide a file at the best cuts: consecutive (start, end), none longer than MAX_BYTES.

    `cuts` maps byte offsets to the cost of a cut there.
    """
    offsets = sorted(cuts)
    start = 0
    while len(data) - start > MAX_BYTES:
        first = bisect_right(offsets, start + MIN_BYTES - 1)
        last = bisect_right(offsets, start + MAX_BYTES)
        end = _best(offsets[first:last], cuts) if first < last else _cut_lines(data, start)
        yield start, end
        start = end
    if start < len(data):
        yield start, len(data)


def _best(offsets: list[int], cuts: dict[int, int]) -> int:
    """Return the offset of the cheapest cut, of equal ones the last: chunks become as large as they may."""
    costs = [cuts[offset] for offset in reversed(offsets)]
    return offsets[-1 - costs.index(min(costs))]


def _cut_lines(data: bytes, start: int) -> int:
    """Return where to cut without syntax: after a line, inside one only if it is too long."""
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


class _SymbolResolver:
    """Resolves the symbols of chunks: what each is named after, and what it defines. Called in order."""

    def __init__(self, data: bytes, definitions: Sequence[Definition]) -> None:
        self._data = data
        self._definitions = definitions
        self._starts = [definition.start for definition in definitions]
        self._symbols: list[Symbol] = []
        self._parents: list[int] = []  # index of the enclosing definition of each; -1: none
        self._qualify()

    def _qualify(self) -> None:
        """Give each definition its qualified name, outermost first."""
        symbols, parents = self._symbols, self._parents
        enclosing: list[tuple[int, int]] = []  # where each ends, and its index
        for index, (start, end, _, name, kind, _, _, _) in enumerate(self._definitions):
            while enclosing and enclosing[-1][0] <= start:
                enclosing.pop()
            parent = enclosing[-1][1] if enclosing else -1
            qualified, plain = name, name if name.isidentifier() else _unqualified(name, kind)
            if parent >= 0:
                scope, _, scope_kind = symbols[parent]
                qualified = scope + separator(kind) + name
                if kind is _FUNCTION and scope_kind in _TYPES:
                    kind = _METHOD
            symbols.append(Symbol(qualified[:MAX_QUALIFIED], plain, kind))
            parents.append(parent)
            enclosing.append((end, index))

    def describe(self, start: int, end: int) -> "_Description":
        """Return a chunk's symbol, its kind and signature, and what it defines.

        A chunk that begins inside a function and ends in the next one is named after the first.
        """
        first, last = bisect_left(self._starts, start), bisect_left(self._starts, end)
        enclosing_index = self._enclosing(first, start)
        index = self._naming_definition(enclosing_index, first, last)
        symbol = self._symbols[index] if index >= 0 else None
        return {
            "symbol": symbol.name if symbol else None,
            "kind": symbol.kind if symbol else None,
            "signature": self._signature(index) if 0 <= index < first else None,
            "defines": tuple(dict.fromkeys(self._symbols[first : min(last, first + MAX_SYMBOLS)])),
        }

    def _enclosing(self, first: int, start: int) -> int:
        """Return the innermost definition that is open at the start of a chunk, -1 if there is none."""
        index = first - 1
        while index >= 0 and self._definitions[index].end <= start:
            index = self._parents[index]
        return index

    def _naming_definition(self, enclosing_index: int, first: int, last: int) -> int:
        """Return the definition that names a chunk: the enclosing one, or one inside it behind mere scopes."""
        index = enclosing_index
        for candidate in range(first, last):
            definition = self._definitions[candidate]
            if index >= 0 and definition.start >= self._definitions[index].end:
                break
            if self._parents[candidate] == index and definition.kind not in MINOR:
                index = candidate
                if not definition.scope:
                    break
        return index

    def _signature(self, index: int) -> str:
        """Return the first line of a definition."""
        head = self._definitions[index].head
        line_end = self._data.find(b"\n", head, head + MAX_SIGNATURE)
        return _line(self._data[head : line_end if line_end >= 0 else head + MAX_SIGNATURE])

    def places(self) -> list[PlacedName]:
        """Return all definitions with their lines."""
        if not self._definitions:
            return []
        data = self._data
        line_ends = np.flatnonzero(np.frombuffer(data, np.uint8) == _NEWLINE)
        names: list[str] = []
        offsets: list[int] = []
        heads: list[str] = []
        for _, _, head, name, kind, _, (begin, end), body in self._definitions:
            names.append(name)
            last = _last_byte(data, begin, end) if data[end - 1] in _WHITE else end - 1  # hardly ever a call
            offsets += (begin, head, last)
            heads.append("" if kind in _UNSIGNED else _head(data, begin, head, body, end))
        lines = (1 + np.searchsorted(line_ends, np.array(offsets, np.int64))).tolist()
        kinds = [kind for _, _, kind in self._symbols]
        columns = names, kinds, self._parents, heads, lines[0::3], lines[1::3], lines[2::3]
        return list(map(PlacedName._make, zip(*columns, strict=True)))


_NEWLINE = 0x0A
_WHITE = b" \t\r\n\f"


def _head(data: bytes, begin: int, head: int, body: int, end: int) -> str:
    """Return what stands before the body of a definition; without a body, its first line."""
    if not begin <= head <= begin + MAX_SIGNATURE:
        begin = head
    if not body and (body := data.find(b"\n", head, end)) < 0:
        body = end
    return _line(data[begin : min(body, begin + MAX_SIGNATURE)]).rstrip(" {")


def _line(raw: bytes) -> str:
    """Return a text on one line."""
    text = _text(raw)
    return " ".join(text.split()) if "\n" in text or "\r" in text or "  " in text else text.strip()


def _last_byte(data: bytes, begin: int, end: int) -> int:
    """Return the last byte of a definition that is no white space."""
    while end > begin + 1 and data[end - 1] in _WHITE:
        end -= 1
    return end - 1


def _unqualified(name: str, kind: Kind) -> str:
    """Return a name without its qualifiers: `put` of ``Store::put``."""
    return name if kind in _NOT_CODE else _QUALIFIER.split(name)[-1] or name
