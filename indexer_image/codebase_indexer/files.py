"""A file becomes rows: read, hash, chunk, terms, vectors. Runs in the worker processes."""

import errno
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from codebase_index.embedding.static import StaticEmbedder
from codebase_index.postings import MAX_DOCUMENTS, Encoded, encode
from codebase_index.store.batch import Chunk, FileResult, Indexed, Item, KnownFile, Processed, Skipped, Unchanged
from codebase_index.term_table import TermTable
from codebase_index.vocabulary import Numbered, Vocabulary
from codebase_indexer import notebook
from codebase_indexer.beneath import LeadsOut, NotRegular, Tree
from codebase_indexer.chunker import Piece, chunk
from codebase_indexer.languages import Language, detect, is_large_data
from codebase_indexer.skipping import MAX_FILE_BYTES, Skip, by_content
from codebase_indexer.texts import documents, with_vectors
from codebase_indexer.vouching import blob_id

log = logging.getLogger(__name__)

_NO_VECTORS = np.empty((0, 0), dtype=np.float32)


class Processor:
    """Turns files into rows. Keeps what it learned of words from batch to batch."""

    def __init__(self, fingerprint: str, embedder: StaticEmbedder | None) -> None:
        """Without an embedder the results have no vectors: texts.py has what they are made of."""
        self._fingerprint = fingerprint
        self._embedder = embedder
        self._vocabulary = embedder.vocabulary if embedder else Vocabulary()
        self._terms = TermTable(self._vocabulary)

    def process(
        self, folder: Path, items: Sequence[Item], known: Mapping[str, KnownFile], boundary: Path | None = None
    ) -> Processed:
        """Return what to write for each file, in order. One equal to that in `known` is only read and hashed.

        Nothing is opened that does not lie beneath the folder, by a path without links from `boundary` on, by
        default the folder itself. No file raises.
        """
        self._vocabulary.make_room()
        results: list[FileResult]
        try:
            with Tree(folder, boundary) as tree:
                results = [_process_one(tree, item, known.get(item.path), self._fingerprint) for item in items]
        except OSError as error:
            results = [Skipped(item.seq, _reason(error)) for item in items]
        numbered = self._vocabulary.number(documents(results))
        batch = Processed(results, self._encoded(numbered))
        if self._embedder and numbered.texts:
            batch = with_vectors(batch, self._embedder.embed_numbered(numbered))
        return batch

    def _encoded(self, numbered: Numbered) -> list[Encoded]:
        """Return the search terms of all chunks, ready to be stored."""
        chunks = len(numbered.texts)
        parts = [(begin, min(begin + MAX_DOCUMENTS, chunks)) for begin in range(0, chunks, MAX_DOCUMENTS)]
        return [encode(self._terms.occurrences(numbered.part(begin, end))) for begin, end in parts]


def _process_one(tree: Tree, item: Item, known: KnownFile | None, fingerprint: str) -> FileResult:
    try:
        data = _read(tree, os.fsencode(item.path))
        if isinstance(data, Skip):
            return Skipped(item.seq, data)
        language = detect(item.path, data[:256])
        if reason := _unfit(data, language):
            return Skipped(item.seq, reason)
        blob = blob_id(data)
        if known and known.blob == blob and known.fingerprint == fingerprint:
            return Unchanged(item.seq, known.file_id, known.chunks)
        chunks = [_row(piece) for piece in _pieces(data, language.grammar)]
        if not chunks:  # a notebook without source
            return Skipped(item.seq, Skip.EMPTY)
        return Indexed(item.seq, item.path, language.name or None, blob, chunks, _NO_VECTORS, len(data))
    except Exception:
        # One bad file must never take the job down; the log has what a bug report needs.
        log.exception("file skipped after an error", extra={"path": item.path})
        return Skipped(item.seq, Skip.CRASHED)


def _unfit(data: bytes, language: Language) -> Skip | None:
    reason = by_content(data)
    if reason is Skip.MINIFIED and language.grammar == notebook.FORMAT:
        return None  # its long lines are images, which are left out
    return reason or (Skip.LARGE_DATA if is_large_data(language, len(data)) else None)


def _pieces(data: bytes, grammar: str | None) -> list[Piece]:
    if grammar == notebook.FORMAT:
        pieces = notebook.read(data)
        return pieces if pieces is not None else chunk(data, "json")
    return chunk(data, grammar)


def _row(piece: Piece) -> Chunk:
    return Chunk(
        piece.start_line, piece.end_line, piece.symbol, piece.text,
        kind=piece.kind, defines=piece.defines, signature=piece.signature,
    )  # fmt: skip


def _read(tree: Tree, path: bytes) -> bytes | Skip:
    """Read a file that may have changed since the scan, into anything."""
    try:
        return tree.read(path, MAX_FILE_BYTES + 1)
    except OSError as error:
        return _reason(error)


def _reason(error: OSError) -> Skip:
    """Say why a file could not be opened."""
    if isinstance(error, LeadsOut):
        return Skip.LEADS_OUT
    if isinstance(error, NotRegular):
        return Skip.NOT_REGULAR
    if error.errno == errno.ELOOP:
        return Skip.SYMLINK
    return Skip.VANISHED if error.errno in (errno.ENOENT, errno.ENOTDIR) else Skip.UNREADABLE
