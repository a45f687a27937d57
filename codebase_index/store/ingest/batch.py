"""The values of a batch of files: claimed, processed, packed. Pure, and light to import: the indexer's worker
processes use them without a database.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from codebase_index.definitions import PlacedName
from codebase_index.definitions import pack as pack_definitions
from codebase_index.lexical import gram_filter
from codebase_index.lexical.postings import EncodedTerms
from codebase_index.store.ingest import binary_copy
from codebase_index.symbols import Kind, Symbol
from codebase_index.vectors import quantization


@dataclass(frozen=True)
class WorkItem:
    """A claimed file. `seq` is its number in the frozen list."""

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
class IndexedFile:
    """A file to write: its chunks, and their vectors as float32 of shape (len(chunks), dimension).

    `blob` and `size`, in bytes, are those of the file on disk; without `size` the next job reads it again in any
    case. `encoding` is the one it was decoded from, None for UTF-8; `redacted` counts the redacted secrets.
    `definitions` are all of the file, in order.
    """

    seq: int
    path: str
    language: str | None
    blob: bytes
    chunks: Sequence[Chunk]
    vectors: NDArray[np.float32]
    size: int | None = None
    encoding: str | None = None
    redacted: int = 0
    definitions: Sequence[PlacedName] = ()

    @property
    def count(self) -> int:
        """Number of chunks."""
        return len(self.chunks)


@dataclass(frozen=True)
class PackedFile:
    """An IndexedFile as it is sent and written: its `count` chunks are encoded, and its definitions packed."""

    seq: int
    path: str
    language: str | None
    blob: bytes
    count: int
    rows: binary_copy.Rows
    size: int | None
    encoding: str | None = None
    redacted: int = 0
    definitions: bytes = b""


@dataclass(frozen=True)
class UnchangedFile:
    """A file that the index already has with equal content and fingerprint, and its number of chunks."""

    seq: int
    file_id: int
    chunks: int


@dataclass(frozen=True)
class SkippedFile:
    """A file that turned out not to be indexable."""

    seq: int
    reason: str


FileResult = IndexedFile | UnchangedFile | SkippedFile
"""The result of processing a file of a batch."""


class _Part(Protocol):
    """The search data of some of a batch's chunks."""

    @property
    def chunks(self) -> int:
        """How many chunks it covers."""


FileT = TypeVar("FileT", IndexedFile, PackedFile)
PartT = TypeVar("PartT", bound=_Part)
BatchT = TypeVar("BatchT", bound="_Batch")  # type: ignore[type-arg]


@dataclass(frozen=True)
class _Batch(Generic[FileT, PartT]):
    """The results of a batch's files. `parts` cover the chunks of all files in order.

    Raises ValueError when they do not: search data would belong to the wrong chunks, or to none.
    """

    results: Sequence[FileT | UnchangedFile | SkippedFile]
    parts: Sequence[PartT] = ()

    def __post_init__(self) -> None:
        chunks = sum(r.count for r in self.results if isinstance(r, IndexedFile | PackedFile))
        covered = sum(part.chunks for part in self.parts)
        if chunks != covered:
            raise ValueError(f"a batch of {chunks} chunks has search data for {covered}")

    @classmethod
    def join(cls: type[BatchT], batches: Sequence[BatchT]) -> BatchT:
        """Join several batches."""
        return cls([r for batch in batches for r in batch.results], [p for batch in batches for p in batch.parts])


class ProcessedBatch(_Batch[IndexedFile, EncodedTerms]):
    """A batch after processing; each part has the search terms of some chunks."""


@dataclass(frozen=True)
class SearchData:
    """The search data of consecutive chunks of a batch: their terms, their vectors as
    `codebase_index.vectors.quantization.to_bytes` writes them, and their gram filter.
    """

    terms: EncodedTerms
    quantized: bytes
    grams: bytes

    @property
    def chunks(self) -> int:
        """How many chunks it covers."""
        return self.terms.chunks


class PackedBatch(_Batch[PackedFile, SearchData]):
    """A batch as it is sent to the main process and written."""


@dataclass(frozen=True)
class StoredFile:
    """A file of the index."""

    file_id: int
    blob: bytes
    fingerprint: str
    chunks: int


def pack(batch: ProcessedBatch, centroid: NDArray[np.float32] | None = None) -> PackedBatch:
    """Encode a batch for its commit; most of the CPU time of a commit is spent here.

    `centroid` is that of the model's vectors, shape (dimension,); None: 0. Raises ValueError if a chunk has no
    vector.
    """
    files = [r for r in batch.results if isinstance(r, IndexedFile) and r.count]
    results = [_packed(r) if isinstance(r, IndexedFile) else r for r in batch.results]
    if not files:
        return PackedBatch(results)
    quantized = quantization.encode(np.concatenate([f.vectors for f in files]), centroid)
    chunk_texts = [chunk.text for file in files for chunk in file.chunks]
    ends = accumulate((part.chunks for part in batch.parts), initial=0)
    parts = [
        SearchData(
            terms,
            quantization.to_bytes(quantized.select(slice(begin, end))),
            gram_filter.encode(chunk_texts[begin:end]),
        )
        for terms, (begin, end) in zip(batch.parts, pairwise(ends), strict=True)
    ]
    return PackedBatch(results, parts)


def _packed(file: IndexedFile) -> PackedFile:
    if len(file.vectors) != file.count:
        raise ValueError(f"{file.path} has {file.count} chunks and {len(file.vectors)} vectors")
    rows = [
        binary_copy.chunk_row(
            (c.start_line, c.end_line),
            (c.symbol, c.text, c.kind),
            ([s.name for s in c.defines], [s.plain.lower() for s in c.defines], [s.kind for s in c.defines]),
        )
        for c in file.chunks
    ]
    encoded = binary_copy.encode(rows, file.vectors)
    return PackedFile(
        file.seq, file.path, file.language, file.blob, len(rows), encoded, file.size, file.encoding, file.redacted,
        pack_definitions(file.definitions),
    )  # fmt: skip
