"""The definitions of a file: what each is called, where it begins and ends, and what encloses it. Pure.

They are packed into one value a file: a row for each would cost several times the bytes, and a B-tree insert each.
"""

import struct
import zlib
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from operator import add, le, sub
from typing import NamedTuple

from codebase_index.symbols import KINDS, Kind

MAX_DEFINITIONS = 65_536
"""Definitions kept of one file. A file of the largest size has more only where it is data."""

MAX_QUALIFIED = 500
"""Characters of a qualified name; a longer one is cut off. Definitions that enclose each other without end would
else have names of megabytes in a file of 40 kB, and a search for one would take minutes."""

_MAX_UNPACKED = 2**24
"""Bytes of a file's definitions: several times what any file of the largest size has."""

_NO_LINE = 2**31
"""Numbers of lines are less: Postgres' integer."""

_FORMAT = b"\x01"
_COUNT = struct.Struct("<I")
_NUMBERS = 4  # columns of numbers
_COMPRESSION = (1, zlib.DEFLATED, 13, 6)
"""zlib's level, method, window and memory: to set up its usual ones takes longer than to compress most files'."""


_HEADING = Kind.HEADING  # an enum's members are slow to reach before Python 3.12


class Definition(NamedTuple):
    """A definition of a file. Lines count from 1, both ends included.

    `name` is qualified by what encloses it, outermost first (``Store.put``); `scope` is that part alone, empty
    at the top level; both have at most MAX_QUALIFIED characters. `first_line` is where its decorators, annotations
    or `export` begin, not the comments above; `line` is where its name is declared. `signature` is what stands
    before its body, on one line.
    """

    name: str
    kind: Kind
    scope: str
    signature: str
    first_line: int
    line: int
    last_line: int


class PlacedName(NamedTuple):
    """A definition as it is packed: `name` as it is written, `parent` the number of the one that encloses it, -1
    at the top level. The rest is that of Definition.
    """

    name: str
    kind: Kind
    parent: int
    signature: str
    first_line: int
    line: int
    last_line: int


def separator(kind: Kind) -> str:
    """Return what stands between the name of a definition and that of what encloses it."""
    return " > " if kind is _HEADING else "."


def pack(places: Sequence[PlacedName]) -> bytes:
    """Encode the definitions of a file, in the order of their first lines, without those past MAX_DEFINITIONS.

    No name and no signature may hold a line end.
    """
    places = places[:MAX_DEFINITIONS]
    names, kinds, parents, signatures, firsts, lines, lasts = zip(*places, strict=True) if places else [()] * 7
    numbers = [
        *firsts,
        *map(sub, lines, firsts),
        *map(sub, lasts, firsts),
        *(number - parent if parent >= 0 else 0 for number, parent in enumerate(parents)),
    ]
    texts = [*kinds, *names, *signatures]
    body = struct.pack(f"<{1 + len(numbers)}I", len(places), *numbers) + "\n".join(texts).encode()
    compressor = zlib.compressobj(*_COMPRESSION)
    return _FORMAT + compressor.compress(body) + compressor.flush()


def check(packed: bytes) -> None:
    """Check what an untrusted process packed: every program that reads it unpacks all of it. Raises ValueError."""
    if not packed.startswith(_FORMAT):
        raise ValueError("definitions in an unknown format")
    unpacker = zlib.decompressobj()
    try:
        body = unpacker.decompress(packed[len(_FORMAT) :], _MAX_UNPACKED)
        if not unpacker.eof or unpacker.unused_data:
            raise ValueError("definitions that are cut off, or larger than any file's")
        (count,) = _COUNT.unpack_from(body)
        if count > MAX_DEFINITIONS:
            raise ValueError(f"{count:,} definitions of one file")
        columns = struct.unpack_from(f"<{_NUMBERS * count}I", body, _COUNT.size)
    except (zlib.error, struct.error) as error:
        raise ValueError("definitions that cannot be unpacked") from error
    texts = body[_COUNT.size * (1 + _NUMBERS * count) :].decode().split("\n")
    if len(texts) != max(1, 3 * count) or not KINDS.issuperset(texts[:count] if count else ()):
        raise ValueError("definitions of a kind that is none, or of another number")
    firsts, to_line, to_last, parents = (columns[i * count : (i + 1) * count] for i in range(_NUMBERS))
    ends = map(add, firsts, map(max, to_line, to_last))
    if count and (firsts[0] < 1 or max(ends) >= _NO_LINE):
        raise ValueError("definitions on lines that no file has")
    if not all(map(le, firsts, firsts[1:])) or not all(map(le, parents, range(count))):
        raise ValueError("definitions out of order")


def is_readable(packed: bytes) -> bool:
    """Whether this version can decode what was packed."""
    return packed.startswith(_FORMAT)


class Definitions(Sequence[Definition]):
    """The definitions of a file in the order in which they begin, the enclosing one first."""

    def __init__(self, packed: bytes) -> None:
        """Decode what `pack` returned. Raises ValueError for another format: that of a later version."""
        if not is_readable(packed):
            raise ValueError(f"definitions are packed in format {packed[:1].hex()}, unknown to this version")
        body = zlib.decompress(packed[len(_FORMAT) :])
        (count,) = _COUNT.unpack_from(body)
        columns = struct.unpack_from(f"<{_NUMBERS * count}I", body, _COUNT.size)
        texts = body[_COUNT.size * (1 + _NUMBERS * count) :].decode().split("\n")
        self._first, self._to_line, self._to_last, self._to_parent = (
            columns[i * count : (i + 1) * count] for i in range(_NUMBERS)
        )
        self._kinds, self._names, self._signatures = (texts[i * count : (i + 1) * count] for i in range(3))
        self._known: dict[int, str] = {-1: ""}  # qualified names that were asked for

    def __len__(self) -> int:
        return len(self._first)

    def __getitem__(self, number: int) -> Definition:  # type: ignore[override]  # by number alone, never a slice
        if not 0 <= number < len(self):
            raise IndexError(number)
        first, scope = self._first[number], self._qualified(self.parent(number))
        return Definition(
            self._qualified(number), self._kind(number), scope, self._signatures[number],
            first, first + self._to_line[number], first + self._to_last[number],
        )  # fmt: skip

    def __iter__(self) -> Iterator[Definition]:
        return (self[number] for number in range(len(self)))

    def parent(self, number: int) -> int:
        """Return the number of the definition that encloses another; -1 at the top level."""
        gap = self._to_parent[number]
        return number - gap if gap else -1

    def innermost(self, line: int) -> Definition | None:
        """Return the innermost definition that a line lies in; None outside of all."""
        number = bisect_right(self._first, line) - 1
        while number >= 0 and self._first[number] + self._to_last[number] < line:
            number = self.parent(number)
        return self[number] if number >= 0 else None

    def named(self, name: str, first_line: int, last_line: int) -> Iterator[Definition]:
        """Yield those of a qualified name whose declaration begins within some lines."""
        first = bisect_right(self._first, first_line - 1)
        last = bisect_right(self._first, last_line)
        return (self[number] for number in range(first, last) if self._qualified(number) == name)

    def _qualified(self, number: int) -> str:
        """Return the qualified name of a definition: each is made once, of that of what encloses it."""
        missing = []
        while number not in self._known:
            missing.append(number)
            number = self.parent(number)
        name = self._known[number]
        for inner in reversed(missing):
            own = self._names[inner]
            name = (name + separator(self._kind(inner)) + own if name else own)[:MAX_QUALIFIED]
            self._known[inner] = name
        return name

    def _kind(self, number: int) -> Kind:
        return Kind(self._kinds[number])
