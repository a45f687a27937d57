"""The jobs and indexes of two namespaces on one database leave each other alone."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast
from uuid import UUID, uuid4

import numpy as np
import pytest

from codebase_index.api.job import ExitCode, JobState
from codebase_index.api.resource import IndexingJob
from codebase_index.embedding import CacheableEmbedder, EmbeddingResult, Traits
from codebase_index.store.catalog.indexes import Indexes
from codebase_index.store.catalog.removal import Removal
from codebase_index.store.database import Database
from codebase_index.store.errors import AnotherJobRuns, IndexInUse, JobNotFound, StoreUnavailable
from codebase_index.store.ingest.chunks import Chunks, Writer
from codebase_index.store.ingest.vector_cache import VectorCache
from codebase_index.store.jobs.jobs import Jobs, connection_name
from codebase_indexer.pipeline.remote_embedding import RemoteEmbedding
from tests.store.harness import WorkerHarness, make_tree, track
from tests.store.jobs.test_jobs import run_job, writer_for


def job_in(namespace: str, name: str = "shop-1", path: str = "/work/shop") -> IndexingJob:
    meta = {"name": name, "namespace": namespace, "uid": str(uuid4()), "creationTimestamp": "2026-11-29T08:00:00Z"}
    return IndexingJob.parse({"metadata": meta, "spec": {"source": {"path": path}}})


async def admitted(database: Database, namespace: str, **more: Any) -> UUID:
    """A job that runs; its pod has the same name in every namespace."""
    job = job_in(namespace, **more)
    job_id, jobs = UUID(job.metadata.uid), Jobs(database)
    await jobs.create(job)
    assert await jobs.admit(job_id, 1, 3)
    await jobs.claim(job_id, 1, "shop-1-a1")
    return job_id


async def test_one_source_is_indexed_in_two_namespaces_at_once(database: Database) -> None:
    writers = [await writer_for(database, await admitted(database, namespace), 1) for namespace in ("a", "b")]
    assert writers[0].index_id != writers[1].index_id
    with pytest.raises(AnotherJobRuns):
        second = job_in("a", "shop-2")
        await Jobs(database).create(second)
        await Jobs(database).fence(UUID(second.metadata.uid), 1, failed=False, message="Starting")
        await Jobs(database).claim(UUID(second.metadata.uid), 1, "shop-2-a1")
    for writer in writers:
        await Chunks(database).complete(writer, "Complete")
    for namespace, writer in zip("ab", writers, strict=True):
        (row,) = await Indexes(database, [namespace]).list()
        assert (row.id, row.namespace) == (writer.index_id, namespace)


async def test_a_program_of_one_namespace_neither_finds_nor_ends_the_jobs_of_another(database: Database) -> None:
    theirs = await admitted(database, "b")
    mine = Jobs(database, ["a"])
    for asked in (mine.get(theirs), mine.cancel(theirs)):
        with pytest.raises(JobNotFound):
            await asked
    assert await mine.get_many([theirs]) == {} and await mine.unfinished() == []
    assert (await Jobs(database, ["a", "b"]).get(theirs)).state is JobState.RUNNING


async def test_only_the_connections_of_the_job_itself_are_cut_off(database: Database, dsn: str) -> None:
    mine, theirs = await admitted(database, "a"), await admitted(database, "b")
    pod = await Database.open(dsn, name=connection_name("indexer", mine, "shop-1-a1"), size=1)
    neighbour = await Database.open(dsn, name=connection_name("indexer", theirs, "shop-1-a1"), size=1)
    async with neighbour.transaction() as beside:
        await beside.execute("SELECT 1 FROM jobs WHERE id = $1 FOR UPDATE", theirs)
        with pytest.raises(StoreUnavailable):
            async with pod.transaction() as connection:
                await connection.execute("SELECT 1 FROM jobs WHERE id = $1 FOR UPDATE", mine)
                async with asyncio.timeout(3):
                    await Jobs(database).cancel(mine)
                await connection.execute("SELECT 1")
        assert await beside.fetchval("SELECT 1") == 1
    await pod.close()
    await neighbour.close()


async def test_an_index_can_be_removed_while_another_namespace_indexes_the_same_source(database: Database) -> None:
    writer = await writer_for(database, await admitted(database, "a"), 1)
    await Chunks(database).complete(writer, "Complete")
    await Jobs(database).release_slot(writer.job_id)
    busy = await writer_for(database, await admitted(database, "b"), 1)
    (index,) = await Removal(database, ["a"]).overview()
    await Removal(database).detach(index.id)
    with pytest.raises(IndexInUse, match="namespace b"):
        await Removal(database).detach(busy.index_id)
    assert [row.id for row in await Indexes(database).list()] == [busy.index_id]


async def test_the_share_of_the_disk_is_that_of_all_namespaces(database: Database) -> None:
    for namespace in "ab":
        await run_job(database, job_in(namespace), ["one.py", "two.py"])
    both, (alone,) = await Removal(database).overview(), await Removal(database, ["b"]).overview()
    assert [row.namespace for row in both] == ["a", "b"]
    assert alone == both[1] and alone.bytes > 0


async def test_nothing_is_copied_from_another_namespace(harness: WorkerHarness) -> None:
    """Whether something was there already could be told from the time and the counters."""
    folder: Path = harness.root / "shop"
    make_tree(folder, 40)
    track(folder)
    assert (await harness.run(await harness.job("shop")))[0] == ExitCode.DONE
    theirs = IndexingJob.parse(
        {
            "metadata": {
                "name": "shop-1", "namespace": "other", "uid": str(uuid4()),
                "creationTimestamp": "2026-11-29T08:00:00Z",
            },
            "spec": {"source": {"path": "/repos/shop"}},
        }
    )  # fmt: skip
    await harness.jobs.create(theirs)
    code, row = await harness.run(theirs)
    assert (code, row.files_indexed, row.files_unchanged) == (ExitCode.DONE, 40, 0)


class Service:
    """An embedding service of a release: each has a model of this name, and not the same one."""

    name, dimension, concurrency = "ollama/code", 4, 1
    traits = Traits(batch_texts=8)

    def __init__(self, axis: int) -> None:
        self._axis = axis

    def embed(self, texts: Sequence[str]) -> EmbeddingResult:
        return EmbeddingResult(np.repeat(np.eye(4, dtype=np.float32)[[self._axis]], len(texts), axis=0), 0)


async def test_kept_vectors_are_those_of_the_namespaces_own_service(database: Database) -> None:
    for attempt in (1, 2):
        for axis, namespace in enumerate("ab"):
            writer = Writer(uuid4(), 1, 1, Service.name, "v1", namespace)
            remote = RemoteEmbedding(
                cast(CacheableEmbedder, Service(axis)), VectorCache(database), Jobs(database), writer,
                cast(Any, None), reports=False,
            )  # fmt: skip
            vectors, counts = await remote.vectors(["one text", "and another"])
            assert np.argmax(vectors, axis=1).tolist() == [axis, axis]
            assert (counts.made, counts.reused) == ((2, 0) if attempt == 1 else (0, 2))
