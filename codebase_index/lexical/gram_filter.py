"""Gram filters: which chunks may hold a text, found without reading them. Pure.

A *gram* is three or four neighbouring bytes of a text in folded form: in UTF-8, in folded case, without white
space. A filter is a matrix of bits, a column for each chunk and a row for each hash value of a gram; a bit is set
where the chunk has a gram of that hash. A text can only be in the chunks that have a bit in the rows of all its
grams. Rows are stored one after another, so that a search reads only those that it asks for.

Such filters are known as bit-sliced signatures (Faloutsos and Christodoulakis, ACM TOIS 2(4), 1984; Goodwin et
al., BitFunnel, SIGIR 2017). Nothing is missed: what folds to the same bytes is taken for the same, and whoever
reads the chunks decides. All bits are little-endian: chunk 0 is the lowest bit of a row's first byte.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Final

import numpy as np
from numpy.typing import NDArray

_BITS: Final = 11

ROWS: Final = 2 << _BITS
"""Rows of a filter, half of them for grams of three bytes: 512 bytes a chunk, nearly a fifth of the bits set.

Of a million chunks, an identifier that few hold leaves 3,300 to read (at the 95th percentile), a text of eight
characters 5,600, one of five 12,000. Exact postings of trigrams, which take as much space, leave 3,900, 11,700 and
38,000, since the trigrams of a text are seldom apart; four bytes tell more. Rows for trigrams alone leave 6,500,
20,000 and 69,000."""

MAX_ROWS_OF_TEXT: Final = 12
"""Rows that are looked at for one text, spread over it: further ones leave out next to nothing."""

MAX_ROWS: Final = 64
"""Rows that are looked at for several texts; what further ones tell is left to who reads the chunks."""

MAX_ALTERNATIVES: Final = 16
"""Texts of which one is required, and that are looked for: with more of them, most chunks hold one."""

MIN_LENGTH: Final = 3
"""Bytes of the shortest gram."""

_COLUMNS_AT_ONCE: Final = 64
"""Chunks whose bits are set together. What that takes fits into the processor's second cache, and into memory that
the process has already: with 256 of them most of the time went into new pages."""

_ROWS_AT_ONCE: Final = 256

_FACTORS: Final = (40_503, 30_011, 50_291, 23_981, 61_357)
"""Odd, and no simple multiples of each other."""

_END: Final = 0xFF  # in no UTF-8
_LAST_DROPPED: Final = 0x20  # the space; ASCII has the other white space and control characters before it

Bytes = NDArray[np.uint8]


def rows_of(text: str) -> list[int]:
    """Return rows that are all set for each chunk that holds a text, in any case; none where it is too short."""
    of_three, of_four = (np.unique(rows) for rows in _rows(_dense(_folded(text))))
    few = _spread(of_four, MAX_ROWS_OF_TEXT * 3 // 4)  # they tell more
    rows: list[int] = [*few.tolist(), *_spread(of_three, MAX_ROWS_OF_TEXT - len(few)).tolist()]
    return rows


def row_bytes(chunks: int) -> int:
    """Return the size in bytes of a row of a filter of so many chunks."""
    return (chunks + 7) // 8


def check(stored: bytes, chunks: int) -> None:
    """Check that this is a filter of so many chunks. Raises ValueError."""
    if len(stored) != ROWS * row_bytes(chunks):
        raise ValueError(f"{len(stored)} bytes are no filter of {chunks} chunks")


def encode(texts: Sequence[str]) -> bytes:
    """Return the filter of chunks with these texts."""
    parts = [texts[begin : begin + _COLUMNS_AT_ONCE] for begin in range(0, len(texts), _COLUMNS_AT_ONCE)]
    return join([(_encode(part), len(part)) for part in parts])


def join(filters: Sequence[tuple[bytes, int]]) -> bytes:
    """Return the filter of the chunks of several, each given with its number of chunks."""
    if len(filters) == 1:
        return filters[0][0]
    joined = np.zeros((ROWS, row_bytes(sum(chunks for _, chunks in filters)) + 1), np.uint8)
    begin = 0
    for stored, chunks in filters:
        part = _matrix(stored, chunks)
        byte, shift = divmod(begin, 8)
        joined[:, byte : byte + part.shape[1]] |= part << shift
        if shift:
            joined[:, byte + 1 : byte + 1 + part.shape[1]] |= part >> (8 - shift)
        begin += chunks
    return joined[:, :-1].tobytes()


def select(stored: bytes, chunks: int, mask: NDArray[np.bool_]) -> bytes:
    """Return the filter of some of the chunks, in order; `mask` has shape (chunks,)."""
    matrix = _matrix(stored, chunks)
    parts = []
    for begin in range(0, ROWS, _ROWS_AT_ONCE):  # a byte for each bit: not for all at once
        bits = np.unpackbits(matrix[begin : begin + _ROWS_AT_ONCE], axis=1, count=chunks, bitorder="little")
        parts.append(np.packbits(bits[:, mask], axis=1, bitorder="little").tobytes())
    return b"".join(parts)


@dataclass(frozen=True)
class Condition:
    """What a filter tells about required texts.

    `rows` are the rows to read, `clauses` which of them must be set: of every clause one alternative, with all of
    its rows, given as places in `rows`.
    """

    rows: Sequence[int]
    clauses: Sequence[Sequence[Sequence[int]]]

    @classmethod
    def of(cls, required: Sequence[Sequence[str]]) -> "Condition | None":
        """Return the condition for chunks that hold one text of each clause, in any case.

        None if none of the clauses tells anything: with a text shorter than a gram, it is always fulfilled.
        """
        place: dict[int, int] = {}
        clauses = []
        for clause in sorted(required, key=len):
            alternatives = [rows_of(text) for text in clause[: MAX_ALTERNATIVES + 1]]
            if all(alternatives) and len(alternatives) <= MAX_ALTERNATIVES and len(place) < MAX_ROWS:
                clauses.append([[place.setdefault(row, len(place)) for row in rows] for rows in alternatives])
        return cls(list(place), clauses) if clauses else None

    def documents(self, bits: bytes, chunks: int) -> NDArray[np.intp]:
        """Return which of the chunks fulfil it, ascending; `bits` are the rows of their filter, in order."""
        matrix = np.frombuffer(bits, np.uint8).reshape(len(self.rows), row_bytes(chunks))
        possible = np.full(matrix.shape[1], 0xFF, np.uint8)
        for clause in self.clauses:
            possible &= reduce(np.bitwise_or, (np.bitwise_and.reduce(matrix[rows]) for rows in clause))
        return np.flatnonzero(np.unpackbits(possible, count=chunks, bitorder="little"))


def _folded(text: str) -> bytes:
    """Return the bytes that are compared of a text, white space still among them.

    A part of a text folds to a part of what the text folds to, and texts that differ in case alone fold to the
    same.
    """
    if not text.isascii():
        text = text.replace("\u0130", "i").replace("\u0131", "i").casefold()  # Turkish has an i of its own
    return text.encode(errors="replace").lower()


def _dense(data: bytes) -> Bytes:
    """Return some bytes without white space."""
    every = np.frombuffer(data, np.uint8)
    return np.compress(every > _LAST_DROPPED, every)


def _rows(data: Bytes) -> Iterator[NDArray[np.uint16]]:
    """Yield the row of each gram of three bytes, then of each gram of four, in their order."""
    hashed = np.zeros(max(len(data) - 2, 0), np.uint16)  # calculated modulo 65,536
    for place, factor in enumerate(_FACTORS[:3]):
        hashed += data[place : place + len(hashed)] * np.uint16(factor)
    yield hashed >> np.uint16(16 - _BITS)
    longer = hashed[:-1] * np.uint16(_FACTORS[3]) + data[3:] * np.uint16(_FACTORS[4])
    yield (longer >> np.uint16(16 - _BITS)) + np.uint16(1 << _BITS)


def _encode(texts: Sequence[str]) -> bytes:
    end = bytes([_END])
    data = _dense(end.join(map(_folded, texts)) + end)
    ends = np.flatnonzero(data == _END)
    columns = np.repeat(np.arange(len(texts)), np.diff(ends, prepend=-1))
    nowhere = ROWS * len(texts)
    bits = np.zeros(nowhere + 1, np.bool_)
    for length, rows in enumerate(_rows(data), start=MIN_LENGTH):
        places = rows.astype(np.intp)
        places *= len(texts)
        places += columns[: len(rows)]
        across = (ends[:, None] - np.arange(length)).ravel()
        places[across[(across >= 0) & (across < len(rows))]] = nowhere
        bits[places] = True
    return np.packbits(bits[:-1].reshape(ROWS, -1), axis=1, bitorder="little").tobytes()


def _spread(rows: NDArray[np.uint16], most: int) -> NDArray[np.uint16]:
    """Return at most so many, evenly spread."""
    if len(rows) <= most:
        return rows
    return rows[np.linspace(0, len(rows) - 1, most).round().astype(np.intp)]


def _matrix(stored: bytes, chunks: int) -> Bytes:
    return np.frombuffer(stored, np.uint8).reshape(ROWS, row_bytes(chunks))
