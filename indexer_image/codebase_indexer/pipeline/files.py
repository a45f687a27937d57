"""Turns a file into rows: read, hash, chunk, terms, vectors. Runs in the parser processes."""

import errno
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from codebase_index.beneath import NotRegular, PathTraversal, Tree
from codebase_index.blob import blob_id
from codebase_index.embedding.static import StaticEmbedder
from codebase_index.lexical.postings import MAX_DOCUMENTS, EncodedTerms, encode
from codebase_index.lexical.term_table import TermTable
from codebase_index.lexical.vocabulary import TokenizedTexts, Vocabulary
from codebase_index.store.ingest.batch import (
    Chunk,
    FileResult,
    IndexedFile,
    ProcessedBatch,
    SkippedFile,
    StoredFile,
    UnchangedFile,
    WorkItem,
)
from codebase_indexer.chunking import notebook
from codebase_indexer.chunking.chunker import SourceChunk, SplitFile, split
from codebase_indexer.chunking.texts import documents, with_vectors
from codebase_indexer.content import extraction
from codebase_indexer.content.secret_files import DEFAULT_POLICY, SecretPolicy
from codebase_indexer.content.skipping import MAX_FILE_BYTES, Skip

log = logging.getLogger(__name__)

_NO_VECTORS = np.empty((0, 0), dtype=np.float32)


class FileProcessor:
    """Turns files into rows. Caches the vocabulary from batch to batch."""

    def __init__(
        self, fingerprint: str, embedder: StaticEmbedder | None, secrets: SecretPolicy = DEFAULT_POLICY
    ) -> None:
        """Without an embedder the results have no vectors; texts.py has the texts to embed."""
        self._fingerprint = fingerprint
        self._secrets = secrets
        self._embedder = embedder
        self._vocabulary = embedder.vocabulary if embedder else Vocabulary()
        self._terms = TermTable(self._vocabulary)

    def process(
        self,
        folder: Path,
        items: Sequence[WorkItem],
        known: Mapping[str, StoredFile],
        boundary: Path | None = None,
    ) -> ProcessedBatch:
        """Return what to write for each file, in order. One that equals its entry in `known` is only read and
        hashed.

        Only files beneath the folder are opened, by paths without links below `boundary` (by default the folder
        itself). No file raises.
        """
        self._terms.clear_if_full()
        results: list[FileResult]
        try:
            with Tree(folder, boundary) as tree:
                results = [self._process_one(tree, item, known.get(item.path)) for item in items]
        except OSError as error:
            results = [SkippedFile(item.seq, _reason(error)) for item in items]
        tokenized = self._vocabulary.tokenize(documents(results))
        batch = ProcessedBatch(results, self._encoded(tokenized))
        if self._embedder and tokenized.texts:
            batch = with_vectors(batch, self._embedder.embed_tokenized(tokenized))
        return batch

    def _process_one(self, tree: Tree, item: WorkItem, known: StoredFile | None) -> FileResult:
        try:
            data = _read(tree, os.fsencode(item.path))
            if isinstance(data, Skip):
                return SkippedFile(item.seq, data)
            if known and known.fingerprint == self._fingerprint and known.blob == blob_id(data):
                return UnchangedFile(item.seq, known.file_id, known.chunks)
            found = extraction.extract(item.path, data, self._secrets)
            if isinstance(found, Skip):
                return SkippedFile(item.seq, found)
            split_file = _split(found.text, found.language.grammar)
            chunks = [_row(chunk) for chunk in split_file.chunks]
            if not chunks:  # a notebook without source
                return SkippedFile(item.seq, Skip.EMPTY)
            return IndexedFile(
                item.seq, item.path, found.language.name or None, blob_id(data), chunks, _NO_VECTORS, len(data),
                found.encoding, found.redacted, split_file.definitions,
            )  # fmt: skip
        except Exception:
            # One bad file must never take the job down; the log has what a bug report needs.
            log.exception("file skipped after an error", extra={"path": item.path})
            return SkippedFile(item.seq, Skip.CRASHED)

    def _encoded(self, tokenized: TokenizedTexts) -> list[EncodedTerms]:
        """Return the search terms of all chunks, ready to be stored."""
        chunks = len(tokenized.texts)
        parts = [(begin, min(begin + MAX_DOCUMENTS, chunks)) for begin in range(0, chunks, MAX_DOCUMENTS)]
        return [encode(self._terms.occurrences(tokenized.part(begin, end))) for begin, end in parts]


def _split(data: bytes, grammar: str | None) -> SplitFile:
    if grammar == notebook.FORMAT:
        return notebook.read(data) or split(data, "json")
    return split(data, grammar)


def _row(chunk: SourceChunk) -> Chunk:
    return Chunk(
        chunk.start_line, chunk.end_line, chunk.symbol, chunk.text,
        kind=chunk.kind, defines=chunk.defines, signature=chunk.signature,
    )  # fmt: skip


def _read(tree: Tree, path: bytes) -> bytes | Skip:
    """Read a file, which may be anything by now."""
    try:
        return tree.read(path, MAX_FILE_BYTES + 1)
    except OSError as error:
        return _reason(error)


def _reason(error: OSError) -> Skip:
    """Return the skip reason for a file that could not be opened."""
    if isinstance(error, PathTraversal):
        return Skip.PATH_TRAVERSAL
    if isinstance(error, NotRegular):
        return Skip.NOT_REGULAR
    if error.errno == errno.ELOOP:
        return Skip.SYMLINK
    return Skip.VANISHED if error.errno in (errno.ENOENT, errno.ENOTDIR) else Skip.UNREADABLE
