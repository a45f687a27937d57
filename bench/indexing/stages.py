"""Speed of the indexer's stages, each by itself, in this process alone."""

import contextlib
import random
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from codebase_index.blob import blob_id
from codebase_index.embedding.static import StaticEmbedder
from codebase_index.languages import detect
from codebase_index.lexical import postings
from codebase_index.lexical.term_table import TermTable
from codebase_index.store.ingest.batch import Chunk, IndexedFile, ProcessedBatch, pack
from codebase_index.vectors.centroid import SNIPPETS, centroid_of
from codebase_indexer.chunking import chunker, texts
from codebase_indexer.source.scan import scan

SAMPLE_BYTES = 10_000_000
BATCH_FILES = 16

_NO_VECTORS = np.empty((0, 0), np.float32)


def stages(folder: Path) -> dict[str, float]:
    """Return the speed of each stage in MB a second of CPU time, on a sample."""
    entries = [e for e in scan(folder, boundary=folder) if e.skip_reason is None]
    random.Random(1).shuffle(entries)
    times: dict[str, float] = {}
    embedder, total = StaticEmbedder.load(), 0
    centroid = centroid_of(embedder.embed_documents(SNIPPETS))
    vocabulary, terms = embedder.vocabulary, TermTable(embedder.vocabulary)

    @contextlib.contextmanager
    def timed(stage: str) -> Iterator[None]:
        start = time.process_time()
        yield
        times[stage] = times.get(stage, 0.0) + time.process_time() - start

    for start in range(0, len(entries), BATCH_FILES):
        files_of_batch: list[IndexedFile] = []
        for entry in entries[start : start + BATCH_FILES]:
            with timed("read and hash"):
                data = (folder / entry.path).read_bytes()
                blob = blob_id(data)
            with timed("parse and chunk"):
                pieces, definitions = chunker.split(data, detect(entry.path, data[:256]).grammar)
            chunks = [Chunk(p.start_line, p.end_line, p.symbol, p.text, signature=p.signature) for p in pieces]
            file = IndexedFile(0, entry.path, None, blob, chunks, _NO_VECTORS, definitions=definitions)
            files_of_batch.append(file)
            total += len(data)
        with timed("split into words"):
            terms.clear_if_full()
            tokenized = vocabulary.tokenize(texts.documents(files_of_batch))
        with timed("terms"):
            encoded = postings.encode(terms.occurrences(tokenized))
        with timed("embed"):
            batch = texts.with_vectors(
                ProcessedBatch(files_of_batch, [encoded]), embedder.embed_tokenized(tokenized)
            )
        with timed("encode"):
            pack(batch, centroid)
        if total > SAMPLE_BYTES:
            break
    return {stage: round(total / 1e6 / taken, 1) for stage, taken in times.items()}
