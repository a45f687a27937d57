"""The repositories of the model: what a file holds is a function of its path, so that an index can be judged."""

import hashlib

import numpy as np
from numpy.typing import NDArray

from codebase_index.store.ingest.batch import (
    Chunk,
    FileResult,
    IndexedFile,
    PackedBatch,
    SkippedFile,
    StoredFile,
    UnchangedFile,
    WorkItem,
)
from codebase_index.store.ingest.work import ScanEntry
from tests.support.terms import encode, packed

MODEL = "model/4"
FINGERPRINT = "model:1"
DIMENSION = 4


def listing(repo: int, number: int) -> list[ScanEntry]:
    """What a scan for job `number` finds; repositories change between jobs, not between attempts."""
    files = 3 + (repo + number) % 4
    paths = [f"r{repo}/f{n}.py" for n in range(files)]
    # git vouches for every second file: the freeze takes those over that the index has.
    entries = [ScanEntry(path, 10 + n, None, None if n % 2 else _digest(path)) for n, path in enumerate(paths)]
    entries.insert(number % files, ScanEntry(f"r{repo}/big{number % 2}.bin", 10**9, "too large"))
    entries.append(ScanEntry(f"r{repo}/data{number % 3}.bin", 5))
    return entries


def skip_reason(path: str) -> str | None:
    """Why a file turns out not to be indexable when it is read."""
    return "binary" if path.endswith(".bin") else None


def same_kind(path: str, other: str) -> bool:
    """Chunks are a function of the path: no file becomes another one."""
    return path == other


def chunks_of(path: str) -> list[Chunk]:
    """0 to 3 chunks."""
    count = _digest(path)[0] % 4
    return [Chunk(10 * n + 1, 10 * n + 9, None, f"{path} part {n}") for n in range(count)]


def vectors_of(path: str) -> NDArray[np.float32]:
    """The vectors of a file's chunks."""
    return np.full((len(chunks_of(path)), DIMENSION), len(path), dtype=np.float32)


def process(items: list[WorkItem], known: dict[str, StoredFile]) -> PackedBatch:
    """What the indexer's pool makes of a batch."""
    results = [_result(item, known.get(item.path)) for item in items]
    return packed(results, encode(terms_of(results)))


def terms_of(results: list[FileResult]) -> list[dict[str, int]]:
    """The terms of the chunks of a batch."""
    chunks = [chunk for result in results if isinstance(result, IndexedFile) for chunk in result.chunks]
    return [{"part": 1, chunk.text.split()[-1]: 1} for chunk in chunks]


def _result(item: WorkItem, known: StoredFile | None) -> FileResult:
    if reason := skip_reason(item.path):
        return SkippedFile(item.seq, reason)
    blob = _digest(item.path)
    if known and known.blob == blob and known.fingerprint == FINGERPRINT:
        return UnchangedFile(item.seq, known.file_id, known.chunks)
    return IndexedFile(item.seq, item.path, "python", blob, chunks_of(item.path), vectors_of(item.path), item.size)


def _digest(path: str) -> bytes:
    return hashlib.sha1(path.encode()).digest()
