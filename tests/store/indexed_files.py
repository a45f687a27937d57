"""Indexes of given files, written as an indexer writes them, batch by batch."""

from collections.abc import Mapping, Sequence

import numpy as np

from codebase_index.store.database import Database
from codebase_index.store.ingest.batch import Chunk, IndexedFile
from codebase_index.store.ingest.chunks import Chunks, Writer
from codebase_index.store.ingest.work import ScanEntry, Work
from tests.store.jobs.test_jobs import custom_resource, started, writer_for
from tests.support.terms import packed


async def indexed(
    database: Database, files: Mapping[str, str], chunk_lines: int, *, name: str = "shop", batch: int = 64
) -> Writer:
    """Index files in chunks of so many lines, all of which stay in pending batches. The language is the suffix."""
    job_id = await started(database, custom_resource(f"/work/{name}", f"{name}-1"))
    await Work(database).freeze(job_id, 1, [ScanEntry(path, len(text)) for path, text in files.items()])
    await Work(database).claim(job_id, 1, "p1", len(files))
    writer = await writer_for(database, job_id, 1)
    numbered = [_file(number, path, files[path], chunk_lines) for number, path in enumerate(sorted(files))]
    for begin in range(0, len(numbered), batch):
        await Chunks(database).commit_batch(writer, packed(numbered[begin : begin + batch]))
    return writer


def _file(number: int, path: str, text: str, chunk_lines: int) -> IndexedFile:
    chunks = chunks_of(text, chunk_lines)
    vectors = np.tile(np.eye(1, 256, dtype=np.float32), (len(chunks), 1))
    return IndexedFile(number, path, path.rpartition(".")[2], bytes(20), chunks, vectors)


def chunks_of(text: str, chunk_lines: int) -> Sequence[Chunk]:
    """Cut a text after so many lines each; line ends stay with their line."""
    lines = text.split("\n")
    return [
        Chunk(first + 1, first + len(part), None, "\n".join(part))
        for first in range(0, len(lines), chunk_lines)
        for part in [lines[first : first + chunk_lines]]
    ]
