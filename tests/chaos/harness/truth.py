"""What an index has to hold: computed on this machine by the indexer's own pure part, without any database."""

import hashlib
from pathlib import Path
from uuid import UUID

from pgvector import HalfVector

from codebase_index.embedding.static import StaticEmbedder
from codebase_index.store.ingest.batch import IndexedFile, WorkItem
from codebase_indexer.pipeline.files import FileProcessor
from tests.chaos.harness.facts import Facts

_AT_ONCE = 200
"""Files whose chunks and vectors are in memory: some 10 MB."""

Digests = dict[str, str]
"""Path relative to the repository, to a digest over its chunks: lines, symbol, text and vector."""

# The same digest as `digest_of`, over what is stored; a file of which a chunk has no vector gets another one.
_STORED = """
SELECT path, md5(COALESCE(string_agg(digest, '' ORDER BY start_line, end_line, digest COLLATE "C"), '')) AS digest,
       count(chunk_id) AS found, chunks AS told
FROM (
    SELECT f.path, f.chunks, c.id AS chunk_id, c.start_line, c.end_line,
           md5(convert_to(concat_ws('|', c.start_line, c.end_line, COALESCE(c.symbol, ''), c.text), 'UTF8')
               || COALESCE(halfvec_send(e.embedding), '')) AS digest
    FROM files f
    JOIN indexes i ON i.id = f.index_id
    LEFT JOIN chunks c ON c.file_id = f.id
    LEFT JOIN embeddings e ON e.chunk_id = c.id AND e.model = i.model
    WHERE i.target = (SELECT target FROM jobs WHERE id = $1)) AS one
GROUP BY path, chunks
"""


def compute(folder: Path) -> Digests:
    """Return the digests of a repository all of whose files are indexable, as generated ones are."""
    processor = FileProcessor("", StaticEmbedder.load())
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and ".git" not in path.parts)
    items = [
        WorkItem(seq, path.relative_to(folder).as_posix(), path.stat().st_size) for seq, path in enumerate(paths)
    ]
    digests: Digests = {}
    for begin in range(0, len(items), _AT_ONCE):
        results = processor.process(folder, items[begin : begin + _AT_ONCE], {}).results
        digests |= {file.path: digest_of(file) for file in results if isinstance(file, IndexedFile)}
    return digests


async def stored(facts: Facts, job_id: UUID) -> Digests:
    """Return the digests of what the index of a job's repository holds now."""
    rows = await facts.fetch(_STORED, job_id)
    return {
        row["path"]: row["digest"] if row["found"] == row["told"] else f"{row['found']} chunks of {row['told']}"
        for row in rows
    }


def differences(expected: Digests, found: Digests) -> list[str]:
    """Say in a few words how an index differs from what it has to hold."""
    missing, extra = expected.keys() - found.keys(), found.keys() - expected.keys()
    other = {path for path in expected.keys() & found.keys() if expected[path] != found[path]}
    named = (("missing", missing), ("not of the repository", extra), ("with other chunks or vectors", other))
    return [f"{len(paths)} files {how}, such as {min(paths)}" for how, paths in named if paths]


def digest_of(file: IndexedFile) -> str:
    pieces = []
    for chunk, vector in zip(file.chunks, file.vectors, strict=True):
        told = f"{chunk.start_line}|{chunk.end_line}|{chunk.symbol or ''}|{chunk.text}".encode()
        digest = hashlib.md5(told + HalfVector(vector).to_binary()).hexdigest()
        pieces.append((chunk.start_line, chunk.end_line, digest))
    return hashlib.md5("".join(piece[2] for piece in sorted(pieces)).encode()).hexdigest()
