"""The text of a chunk that is embedded and searched. Pure."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from codebase_index.store.ingest.batch import FileResult, IndexedFile, ProcessedBatch

TERMS_VERSION = "terms-2"
"""Changed with the text that a chunk's terms come from, and with what is taken: part of a file's fingerprint."""


def documents(results: Sequence[FileResult]) -> list[str]:
    """Return what is to be embedded: a text for each chunk, in order."""
    return [
        document(result.path, chunk.symbol, chunk.text, chunk.signature)
        for result in results
        if isinstance(result, IndexedFile)
        for chunk in result.chunks
    ]


def with_vectors(batch: ProcessedBatch, vectors: NDArray[np.float32]) -> ProcessedBatch:
    """Return the batch with the vectors of its `documents`."""
    complete: list[FileResult] = []
    used = 0
    for result in batch.results:
        if isinstance(result, IndexedFile):
            count = len(result.chunks)
            result = replace(result, vectors=vectors[used : used + count])
            used += count
        complete.append(result)
    return ProcessedBatch(complete, batch.parts)


def document(path: str, symbol: str | None, text: str, signature: str | None = None) -> str:
    """Return what is embedded and searched for a chunk: where it is and what it defines, then its text.

    Path and symbol help the static model most; a later part of a definition is also found by its signature.
    """
    head = f"{path} {symbol}" if symbol else path
    return f"{head}\n{signature}\n{text}" if signature else f"{head}\n{text}"
