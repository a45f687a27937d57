"""A batch of files on its way: claimed, processed, ready to be written. Pure, and light to import: the indexer's
worker processes know these values, and no database.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise

import numpy as np
from numpy.typing import NDArray

from codebase_index import codes
from codebase_index.postings import Encoded
from codebase_index.store import copying
from codebase_index.symbols import Kind, Symbol


@dataclass(frozen=True)
class Item:
    """A claimed file. `seq` is its place in the frozen list."""

    seq: int
    path: str
    size: int


@dataclass(frozen=True)
class Chunk:
    """A part of a file. Lines count from 1, both ends included.

    `kind` is that of `symbol`; `defines` are the definitions that begin in the chunk, in order. `signature` is the
    first line of `symbol` if that began in an earlier chunk; it is searched and embedded, not stored.
    """

    start_line: int
    end_line: int
    symbol: str | None
    text: str
    kind: Kind | None = None
    defines: Sequence[Symbol] = ()
    signature: str | None = None


@dataclass(frozen=True)
class Indexed:
    """A file to write: its chunks, and their vectors as float32 of shape (len(chunks), dimension).

    `size` is in bytes; without it the next job reads the file again, whatever git knows of it.
    """

    seq: int
    path: str
    language: str | None
    blob: bytes
    chunks: Sequence[Chunk]
    vectors: NDArray[np.float32]
    size: int | None = None

    @property
    def count(self) -> int:
        """How many chunks it has."""
        return len(self.chunks)


@dataclass(frozen=True)
class Packed:
    """An Indexed file in the form in which it is sent and written: its `count` chunks are encoded already."""

    seq: int
    path: str
    language: str | None
    blob: bytes
    count: int
    rows: copying.Rows
    size: int | None


@dataclass(frozen=True)
class Unchanged:
    """A file that the index already holds with equal content and fingerprint, and its number of chunks."""

    seq: int
    file_id: int
    chunks: int


@dataclass(frozen=True)
class Skipped:
    """A file that turned out not to be indexable."""

    seq: int
    reason: str


FileResult = Indexed | Packed | Unchanged | Skipped


@dataclass(frozen=True)
class Processed:
    """What became of the files of a batch, and what their chunks are searched by.

    `terms` covers the chunks of all Indexed results in order, in one part or several. `codes` has the codes of the
    vectors of each part, as `codebase_index.codes` writes them; none before the batch is packed.
    """

    results: Sequence[FileResult]
    terms: Sequence[Encoded] = ()
    codes: Sequence[bytes] = ()


@dataclass(frozen=True)
class KnownFile:
    """A file as the index holds it."""

    file_id: int
    blob: bytes
    fingerprint: str
    chunks: int


def pack(batch: Processed, centre: NDArray[np.float32] | None = None) -> Processed:
    """Return a batch as it is written: encoding is the larger part of what its commit asks of a processor.

    `centre` is the middle of the model's vectors, shape (dimension,); None: 0.
    """
    vectors = [r.vectors for r in batch.results if isinstance(r, Indexed) and r.count]
    encoded: Sequence[bytes] = ()
    if vectors:
        known = codes.encode(np.concatenate(vectors), centre)
        ends = accumulate((part.chunks for part in batch.terms), initial=0)
        encoded = [codes.to_bytes(known.of(slice(begin, end))) for begin, end in pairwise(ends)]
    results = [_packed(r) if isinstance(r, Indexed) else r for r in batch.results]
    return replace(batch, results=results, codes=encoded)


def _packed(file: Indexed) -> Packed:
    rows = [
        copying.chunk_row(
            (c.start_line, c.end_line),
            (c.symbol, c.text, c.kind),
            ([s.name for s in c.defines], [s.plain.lower() for s in c.defines], [s.kind for s in c.defines]),
        )
        for c in file.chunks
    ]
    encoded = copying.encode(rows, file.vectors)
    return Packed(file.seq, file.path, file.language, file.blob, len(rows), encoded, file.size)
