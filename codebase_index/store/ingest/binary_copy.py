"""Rows in the binary format of Postgres' COPY. Pure.

The worker processes encode the chunks of each file; the main process, which all of them share, only puts in the
keys, known no sooner than the batch commits, and passes the bytes on. A row therefore begins with its keys.

Format: https://www.postgresql.org/docs/current/sql-copy.html#id-1.9.3.55.9.4; a vector is pgvector's halfvec_recv.
"""

import struct
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_SIGNATURE = b"PGCOPY\n\xff\r\n\0" + bytes(8)  # no flags, no header extension
_TRAILER = b"\xff\xff"
_NULL = struct.pack("!i", -1)
_LENGTH = struct.Struct("!i")
_TWO_INTEGERS = struct.Struct("!iiii")  # length, value, length, value
_BIGINT_BYTES = 8

_ARRAY = struct.Struct("!iiIii")  # dimensions, whether any is null, type, size, first index
_TEXT_OID = 25
_EMPTY_ARRAY = struct.pack("!iiI", 0, 0, _TEXT_OID)
_THREE_EMPTY = 3 * (struct.pack("!i", len(_EMPTY_ARRAY)) + _EMPTY_ARRAY)

CHUNK_COLUMNS = (
    "id", "index_id", "file_id", "start_line", "end_line", "symbol", "text", "kind", "defines", "names", "kinds",
)  # fmt: skip
_CHUNK_KEYS = np.dtype(
    [("fields", ">i2"), ("id_length", ">i4"), ("id", ">i8"), ("index_length", ">i4"), ("index", ">i8"),
     ("file_length", ">i4"), ("file", ">i8")]
)  # fmt: skip
_OPEN_KEYS = bytes(_CHUNK_KEYS.itemsize)

VECTOR_COLUMNS = ("chunk_id", "model", "embedding")


@dataclass(frozen=True)
class Rows:
    """The encoded chunks of a file, and their vectors.

    `chunks` are the rows with their keys left open, which begin at `starts` (int32, little-endian); `vectors` are
    float16, big-endian, of shape (chunks, dimension).
    """

    chunks: bytes
    starts: bytes
    vectors: bytes


def chunk_row(lines: tuple[int, int], texts: Iterable[str | None], lists: Iterable[Sequence[str]]) -> bytes:
    """Return a row of `chunks` with its keys left open: the values of the other columns, in their order."""
    start, end = lines
    parts = [_OPEN_KEYS, _TWO_INTEGERS.pack(4, start, 4, end)]
    for text in texts:
        parts += (_NULL,) if text is None else _sized(text.encode())
    for elements in lists:
        parts += _sized(_text_array(elements))
    return b"".join(parts)


def _sized(data: bytes) -> tuple[bytes, bytes]:
    return _LENGTH.pack(len(data)), data


def _text_array(texts: Sequence[str]) -> bytes:
    """Encode a list as array_recv reads it."""
    if not texts:
        return _EMPTY_ARRAY
    elements = (part for text in texts for part in _sized(text.encode()))
    return _ARRAY.pack(1, 0, _TEXT_OID, len(texts), 1) + b"".join(elements)


def encode(rows: Sequence[bytes], vectors: NDArray[np.float32]) -> Rows:
    """Join the rows of a file; `vectors` has shape (len(rows), dimension)."""
    ends = np.cumsum([0, *map(len, rows)], dtype="<i4")
    # In two steps: numpy converts to the processor's own byte order many times faster.
    halves = np.ascontiguousarray(vectors).astype("<f2").byteswap()
    return Rows(b"".join(rows), ends[:-1].tobytes(), halves.tobytes())


def check(rows: Rows, count: int, dimension: int, kinds: Collection[bytes]) -> None:
    """Check rows that an untrusted process encoded: `count` of them, a chunk each, with vectors of `dimension`.

    What Postgres would refuse would fail its job, and a row within a row would be written under keys of that
    process' choice. `kinds` are those that a symbol may have. Raises ValueError.
    """
    if len(rows.vectors) != 2 * dimension * count:
        raise ValueError(f"{len(rows.vectors)} bytes are not {count} vectors of {dimension} dimensions")
    if (np.frombuffer(rows.vectors, ">u2") & _INFINITE == _INFINITE).any():
        raise ValueError("a vector is not finite")
    if len(rows.starts) != 4 * count or (not count and rows.chunks):
        raise ValueError(f"{len(rows.starts)} bytes of starts for {count} rows")
    data = rows.chunks
    starts = np.frombuffer(rows.starts, "<i4").tolist()
    texts: list[bytes] = []
    for start, end in zip(starts, [*starts[1:], len(data)], strict=True):
        at = _check_texts(data, start + len(_OPEN_KEYS), texts, kinds)
        if _check_lists(data, at, texts, kinds) != end:
            raise ValueError(f"a row of {end - start} bytes has another length")
    if starts and starts[0]:
        raise ValueError("bytes before the first row")
    joined = b"\n".join(texts)
    if b"\0" in joined:
        raise ValueError("a text holds NUL, which Postgres refuses")
    joined.decode()  # UnicodeDecodeError is a ValueError


_INFINITE = 0x7C00
"""The exponent of a float16 that is infinite or no number."""


def _check_texts(data: bytes, at: int, texts: list[bytes], kinds: Collection[bytes]) -> int:
    """Check lines, symbol, text and kind of a row, note the texts, and return where they end."""
    try:
        four, first, again, last = _TWO_INTEGERS.unpack_from(data, at)
        if not (four == again == 4 and 1 <= first <= last):
            raise ValueError(f"a chunk of the lines {first} to {last}")
        at += _TWO_INTEGERS.size
        for column in ("symbol", "text", "kind"):
            (length,) = _LENGTH.unpack_from(data, at)
            at += _LENGTH.size
            if length < 0:
                if length < -1 or column == "text":
                    raise ValueError(f"a {column} of {length} bytes")
                continue
            value = data[at : at + length]
            at += length
            if column == "kind" and value not in kinds:
                raise ValueError("a kind that is none")
            texts.append(value)
    except struct.error as error:
        raise ValueError("a row that is cut off") from error
    return at


def _check_lists(data: bytes, at: int, texts: list[bytes], kinds: Collection[bytes]) -> int:
    """Check definitions, their names and their kinds, note the texts, and return where they end."""
    if data.startswith(_THREE_EMPTY, at):
        return at + len(_THREE_EMPTY)
    counts = set()
    length_at, note = _LENGTH.unpack_from, texts.append  # of a batch's checks most of the time goes by here
    try:
        for column in ("defines", "names", "kinds"):
            (length,) = length_at(data, at)
            at += 4
            end = at + length
            dimensions, nulls, oid, count, first = _ARRAY.unpack_from(data, at)
            if (dimensions, nulls, oid, first) != (1, 0, _TEXT_OID, 1) or count < 1:
                raise ValueError(f"{column} that are no list of texts")
            at += _ARRAY.size
            counts.add(count)
            begin = len(texts)
            for _ in range(count):
                (length,) = length_at(data, at)
                if length < 0:
                    raise ValueError(f"{column} of which one is none")
                at += 4
                note(data[at : (at := at + length)])
            if at != end:
                raise ValueError(f"{column} of another length")
        if not all(map(kinds.__contains__, texts[begin:])):
            raise ValueError("a definition of a kind that is none")
    except struct.error as error:
        raise ValueError("a row that is cut off") from error
    if len(counts) != 1:
        raise ValueError("definitions, names and kinds of different number")
    return at


def chunks(files: Sequence[tuple[int, Rows]], index_id: int, ids: NDArray[np.int64]) -> bytearray:
    """Return what COPY takes for the chunks of files, each given with its id; `ids` are the chunks' own."""
    data = bytearray(_SIGNATURE)
    starts, owners = [], []
    for file_id, rows in files:
        begin = np.frombuffer(rows.starts, "<i4")
        starts.append(begin.astype(np.int64) + len(data))
        owners.append(np.full(len(begin), file_id))
        data += rows.chunks
    keys = np.empty(len(ids), _CHUNK_KEYS)
    keys["fields"] = len(CHUNK_COLUMNS)
    keys["id_length"] = keys["index_length"] = keys["file_length"] = _BIGINT_BYTES
    keys["id"], keys["index"], keys["file"] = ids, index_id, np.concatenate(owners)
    places = np.concatenate(starts)[:, None] + np.arange(_CHUNK_KEYS.itemsize)
    np.frombuffer(data, np.uint8)[places] = keys.view(np.uint8).reshape(len(ids), -1)
    data += _TRAILER
    return data


def vectors(files: Iterable[Rows], model: str, ids: NDArray[np.int64]) -> bytearray:
    """Return what COPY takes for the vectors of files; `ids` are the chunks' own."""
    halves = np.frombuffer(b"".join(rows.vectors for rows in files), np.uint8).reshape(len(ids), -1)
    size, name = halves.shape[1], model.encode()
    row = np.dtype(
        [("fields", ">i2"), ("id_length", ">i4"), ("id", ">i8"),
         ("model_length", ">i4"), ("model", f"V{len(name)}"),
         ("length", ">i4"), ("dimension", ">i2"), ("unused", ">i2"), ("vector", "u1", (size,))]
    )  # fmt: skip
    table = np.empty(len(ids), row)
    table["fields"] = len(VECTOR_COLUMNS)
    table["id_length"], table["id"] = _BIGINT_BYTES, ids
    table["model_length"], table["model"] = len(name), np.void(name)
    table["length"], table["dimension"], table["unused"] = 4 + size, size // 2, 0
    table["vector"] = halves
    return bytearray().join(
        (_SIGNATURE, table.view(np.uint8).data, _TRAILER)
    )  # not bytes: asyncpg takes these for a path
