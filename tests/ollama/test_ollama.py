"""The embedders and a whole job against a real Ollama with the real all-MiniLM-L6-v2."""

import asyncio
import json
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import numpy as np
import pytest

from codebase_index.api.job import ExitCode, JobState
from codebase_index.api.resource import IndexingJob
from codebase_index.embedding import EmbeddingRefused, EmbeddingUnavailable, create
from codebase_index.embedding.remote.ollama import OllamaEmbedder
from codebase_index.embedding.remote.openai import OpenAIEmbedder
from codebase_index.store.database import Database
from codebase_index.store.jobs.jobs import Jobs
from codebase_index.store.jobs.rows import JobRow
from codebase_index.vectors.centroid import SNIPPETS
from tests.ollama.proxy import Proxy
from tests.ollama.server import FOLDER_NAME, MODEL, Ollama, models

pytestmark = pytest.mark.ollama

FILES = 12
"""Enough for a middle; a busy machine takes seconds for each."""

TEXTS = [
    "def read(path):\n    return open(path).read()",
    "SELECT * FROM jobs WHERE state = 'running'",
    "naïve café ☕",
    "x",
]


@pytest.fixture(scope="session")
def ollama() -> Iterator[Ollama]:
    server = Ollama(Path(tempfile.mkdtemp(prefix="codebase-ollama-")))
    try:
        server.start()
        server.load()
        yield server
    finally:
        server.remove()


@pytest.fixture
def proxy(ollama: Ollama) -> Iterator[Proxy]:
    proxy = Proxy(ollama.url)
    yield proxy
    proxy.close()


def test_both_apis_and_the_own_encoder_give_the_same_vectors(ollama: Ollama) -> None:
    own = create("sentence-transformers", FOLDER_NAME, {"CODEBASE_MODELS": str(models())})
    expected = own.embed_documents(TEXTS)
    assert expected.shape == (len(TEXTS), 384)
    assert np.allclose(np.linalg.norm(expected, axis=1), 1, atol=1e-5)
    with (
        closing(OllamaEmbedder(MODEL, ollama.url)) as native,
        closing(OpenAIEmbedder(MODEL, f"{ollama.url}/v1")) as compatible,
    ):
        for embedder in (native, compatible):
            embedder.check()
            assert embedder.dimension == 384
            # Ollama computes in half precision and approximates the activation.
            assert (np.sum(embedder.embed_documents(TEXTS) * expected, axis=1) > 0.999).all()
            assert embedder.embed_query(TEXTS[0]) @ own.embed_query(TEXTS[0]) > 0.999


def test_a_model_that_is_not_there_is_refused_with_what_to_do(ollama: Ollama) -> None:
    native, compatible = OllamaEmbedder("no-such", ollama.url), OpenAIEmbedder("no-such", f"{ollama.url}/v1")
    with closing(native), pytest.raises(EmbeddingRefused, match="ollama pull no-such"):
        native.check()
    with closing(compatible), pytest.raises(EmbeddingRefused, match="has the model no-such"):
        compatible.check()


def test_a_server_that_is_away_is_unavailable() -> None:
    with closing(OllamaEmbedder(MODEL, "http://127.0.0.1:1")) as embedder, pytest.raises(EmbeddingUnavailable):
        embedder.check()


def test_batches_too_large_for_what_is_in_front_of_it_are_divided(proxy: Proxy) -> None:
    proxy.most_texts = 5
    texts = [f"number {n}" for n in range(40)]
    with closing(OllamaEmbedder(MODEL, proxy.url)) as embedder:
        vectors = embedder.embed_documents(texts)
        assert all(proxy.embedded[text] == 1 for text in texts)
        assert np.argmax(vectors @ embedder.embed_query("number 17")) == 17


def test_texts_longer_than_the_model_reads_are_counted_and_the_others_whole(ollama: Ollama) -> None:
    long = [f"value_{n} = compute_{n}(a, b, c)\n" * 200 for n in range(3)]
    with closing(OllamaEmbedder(MODEL, ollama.url)) as embedder:
        embedded = embedder.embed([TEXTS[0], *long, TEXTS[1]])
        assert embedded.truncated == 3
        alone = embedder.embed_documents([TEXTS[0], TEXTS[1]])
    assert (np.sum(embedded.vectors[[0, 4]] * alone, axis=1) > 0.999).all()


class Bench:
    """Runs the indexer's own worker, as a pod would, on a Postgres of this test's own."""

    def __init__(self, database: Database, dsn: str) -> None:
        self.database, self.dsn, self.jobs = database, dsn, Jobs(database)

    async def start(self, folder: Path, url: str, model: str = MODEL) -> tuple[UUID, asyncio.subprocess.Process]:
        job = IndexingJob.parse(
            {
                "metadata": {
                    "name": folder.name, "namespace": "n", "uid": str(uuid4()),
                    "creationTimestamp": datetime.now(UTC).isoformat(),
                },
                "spec": {"source": {"path": str(folder)}, "embedding": {"provider": "ollama", "model": model}},
            }
        )  # fmt: skip
        job_id = UUID(job.metadata.uid)
        await self.jobs.create(job)
        await self.jobs.fence(job_id, 1, failed=False, message="Starting")
        environment = {
            **os.environ,
            "CODEBASE_DATABASE_URL": self.dsn, "CODEBASE_JOB_ID": str(job_id), "CODEBASE_ATTEMPT": "1",
            "CODEBASE_POD": "pod", "CODEBASE_PROCESSES": "1", "CODEBASE_LOG_LEVEL": "WARNING",
            "CODEBASE_JOB_SPEC": job.spec.model_dump_json(by_alias=True, exclude_none=True),
            "CODEBASE_ROOTS": json.dumps([{"path": str(folder)}]), "OLLAMA_URL": url,
        }  # fmt: skip
        return job_id, await asyncio.create_subprocess_exec(
            sys.executable, "-m", "codebase_indexer", env=environment
        )

    async def run(self, folder: Path, url: str, model: str = MODEL) -> tuple[int, JobRow]:
        job_id, process = await self.start(folder, url, model)
        code = await asyncio.wait_for(process.wait(), 300)
        return code, await self.jobs.get(job_id)

    async def until(self, job_id: UUID, state: JobState) -> JobRow:
        async with asyncio.timeout(240):
            while True:
                row = await self.jobs.get(job_id)
                if row.state is state:
                    return row
                await asyncio.sleep(0.05)

    async def index_of(self, folder: Path) -> dict[tuple[Any, ...], Any]:
        async with self.database.connection() as connection:
            rows = await connection.fetch(
                "SELECT f.path, c.start_line, c.end_line, c.text, e.model, e.embedding FROM indexes i"
                " JOIN files f ON f.index_id = i.id JOIN chunks c ON c.file_id = f.id"
                " JOIN embeddings e ON e.chunk_id = c.id WHERE i.source = $1",
                str(folder),
            )
        return {tuple(row.values())[:-1]: row["embedding"].to_numpy() for row in rows}


@pytest.fixture
async def bench(database: Database, dsn: str) -> AsyncIterator[Bench]:
    yield Bench(database, dsn)


def make_tree(folder: Path, files: int) -> None:
    folder.mkdir(parents=True)
    for n in range(files):
        body = "".join(f"def task_{n}_{i}(value):\n    return value + {n * i}\n\n\n" for i in range(20))
        (folder / f"module_{n}.py").write_text(body)


async def test_a_killed_server_blocks_the_job_and_nothing_is_lost_or_embedded_twice(
    bench: Bench, ollama: Ollama, proxy: Proxy, tmp_path: Path
) -> None:
    disturbed = tmp_path / "a" / "tree"
    make_tree(disturbed, FILES)
    killed: list[int] = []

    def kill_in_the_middle(answered: int) -> None:
        if answered > len(SNIPPETS) + 6 and not killed:  # the snippets come before all documents
            killed.append(answered)
            ollama.kill()

    proxy.after = kill_in_the_middle
    job_id, process = await bench.start(disturbed, proxy.url)
    blocked = await bench.until(job_id, JobState.BLOCKED)
    assert blocked.message.startswith("Waiting for the embedding service since")
    assert "Ollama at" in blocked.message and blocked.blocked_since is not None
    assert 0 < blocked.files_indexed < FILES
    await asyncio.to_thread(ollama.start)
    assert await asyncio.wait_for(process.wait(), 300) == ExitCode.DONE
    row = await bench.jobs.get(job_id)
    assert (row.state, row.files_indexed, row.blocked_since) == (JobState.COMPLETED, FILES, None)
    index = await bench.index_of(disturbed)
    assert row.vectors_made == len(index) == row.chunks_created
    # Counted at the proxy: each document was answered once, whatever happened in between.
    documents = {text: count for text, count in proxy.embedded.items() if text.startswith("module_")}
    assert len(documents) == len(index)
    assert set(documents.values()) == {1}

    # The same tree elsewhere, undisturbed: an equal index, and not a single call for it.
    proxy.embedded.clear()
    clean = tmp_path / "b" / "tree"
    make_tree(clean, FILES)
    code, row = await bench.run(clean, proxy.url)
    assert (code, row.state) == (ExitCode.DONE, JobState.COMPLETED)
    assert (row.vectors_made, row.vectors_reused) == (0, len(index))
    assert "vectors reused (100%)" in row.message
    assert not [text for text in proxy.embedded if text.startswith("module_")]
    assert (await bench.index_of(clean)).keys() == index.keys()

    # And without the vectors that were kept: what the service gives anew is the same index.
    async with bench.database.connection() as connection:
        await connection.execute("TRUNCATE embedding_cache")
    anew = tmp_path / "c" / "tree"
    make_tree(anew, FILES)
    await bench.run(anew, ollama.url)
    other = await bench.index_of(anew)
    assert other.keys() == index.keys()
    assert all(np.allclose(other[key], index[key], atol=2e-3) for key in index)


async def test_chunks_that_the_model_reads_in_part_are_told(bench: Bench, ollama: Ollama, tmp_path: Path) -> None:
    folder = tmp_path / "tree"
    folder.mkdir()
    (folder / "a.py").write_text("numbers = [" + "1,2,3,4,5,6,7,8,9," * 70 + "]\n")
    _, row = await bench.run(folder, ollama.url)
    assert row.texts_cut == 1
    assert "1 chunks truncated at the model's limit" in row.message


async def test_a_model_that_is_not_there_fails_the_job(bench: Bench, ollama: Ollama, tmp_path: Path) -> None:
    make_tree(tmp_path / "tree", 1)
    code, row = await bench.run(tmp_path / "tree", ollama.url, model="no-such")
    assert (code, row.state, row.error_type) == (ExitCode.FAILED, JobState.FAILED, "EmbeddingRefused")
    assert "ollama pull no-such" in (row.error_message or "")
