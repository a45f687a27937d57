"""Refs and forks take over what another index holds: the same rows and answers as from indexing alone."""

import asyncio
import shutil
import subprocess
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest

from codebase_index.api.job import ExitCode
from codebase_index.api.resource import IndexingJob
from codebase_index.embedding.static import StaticEmbedder
from codebase_index.lexical.words import terms
from codebase_index.store.catalog.indexes import Indexes
from codebase_index.store.errors import FenceLost
from codebase_index.store.ingest import cross_index_copy as module
from codebase_index.store.ingest import segments
from codebase_index.store.ingest.batch import Chunk, IndexedFile
from codebase_index.store.ingest.chunks import Chunks, Writer
from codebase_index.store.ingest.cross_index_copy import CrossIndexCopy
from codebase_index.store.ingest.work import ScanEntry, Work
from codebase_index.store.query.hybrid_search import Search
from tests.store.harness import WorkerHarness, make_tree, track
from tests.support.terms import encode, packed

FILES = 120
Rows = set[tuple[Any, ...]]

QUERIES = ["function_7_1", "value return", "function_119_2 value", "only_here"]


@pytest.fixture
def repository(harness: WorkerHarness) -> Path:
    folder = harness.root / "shop"
    make_tree(folder, FILES)
    track(folder)
    return folder


def fork(repository: Path) -> Path:
    """A copy with a file changed, one added, one gone and one moved."""
    folder = repository.with_name("fork")
    shutil.copytree(repository, folder)
    (folder / "package_3" / "module_3.py").write_text("def only_here(value):\n    return value\n")
    (folder / "new.py").write_text("def new_here():\n    pass\n")
    (folder / "package_4" / "module_4.py").unlink()
    (folder / "package_5" / "module_5.py").rename(folder / "moved.py")
    subprocess.run(["git", "-C", folder, "add", "--all"], check=True)
    track(folder)
    return folder


def branch(repository: Path) -> None:
    """Make two branches that differ in a file."""
    git = ["git", "-C", str(repository), "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run([*git, "commit", "--quiet", "-m", "first"], check=True)
    subprocess.run([*git, "branch", "--quiet", "stable"], check=True)
    (repository / "package_3" / "module_3.py").write_text("def only_here(value):\n    return value\n")
    subprocess.run([*git, "commit", "--quiet", "-a", "-m", "second"], check=True)
    subprocess.run([*git, "branch", "--quiet", "next"], check=True)


async def indexed(harness: WorkerHarness, folder: str, **spec: Any) -> tuple[IndexingJob, list[str]]:
    """Run a job; return it and what its worker had to do itself."""
    job = await harness.job(folder, **spec)
    process = await harness.start(job)
    await harness.until(job, lambda row: row.files_total is not None)
    listed = await harness.fetch("SELECT path FROM work WHERE job_id = $1", UUID(job.metadata.uid))
    assert await process.wait() == ExitCode.DONE
    return job, sorted(row["path"] for row in listed)


async def answers(harness: WorkerHarness, job: IndexingJob) -> list[set[tuple[Any, ...]]]:
    """What both arms find in a job's index."""
    embedder = StaticEmbedder.load()
    row = (await harness.fetch("SELECT id FROM indexes WHERE target = $1", job.spec.target))[0]
    found = []
    for query in QUERIES:
        one = await Search(harness.database).candidates(
            [row["id"]], vectors={embedder.name: embedder.embed_query(query)}, terms=terms(query), limit=2000
        )
        found.append({(c.path, c.start_line, c.lexical_score, c.vector_score) for c in one.candidates})
    return found


def places(found: set[tuple[Any, ...]]) -> dict[tuple[str, int], bool]:
    """Which chunks are found, and whether by words. Scores depend a little on when terms were packed."""
    return {(path, line): lexical > 0 for path, line, lexical, _ in found}


async def alone(
    harness: WorkerHarness, folder: Path
) -> tuple[IndexingJob, set[tuple[Any, ...]], list[set[tuple[Any, ...]]]]:
    """Index a folder where there is no other index; forget it again."""
    job, _ = await indexed(harness, folder.name)
    result = await harness.index_of(job), await answers(harness, job)
    await harness.fetch("DELETE FROM indexes")
    return job, *result


async def test_a_fork_is_indexed_by_its_differences(harness: WorkerHarness, repository: Path) -> None:
    copy = fork(repository)
    _, rows, found = await alone(harness, copy)
    await indexed(harness, repository.name)
    job, todo = await indexed(harness, copy.name)
    assert todo == ["moved.py", "new.py", "package_3/module_3.py"]
    assert await harness.index_of(job) == rows
    for mine, expected in zip(await answers(harness, job), found, strict=True):
        assert places(mine) == places(expected)
    row = await harness.row(job)
    assert (row.files_total, row.files_indexed, row.files_unchanged) == (FILES, FILES, FILES - 3)


async def test_the_donor_may_go_and_change(harness: WorkerHarness, repository: Path) -> None:
    copy = fork(repository)
    donor, _ = await indexed(harness, repository.name)
    before = await harness.index_of(donor)
    job, _ = await indexed(harness, copy.name)
    assert await harness.index_of(donor) == before
    rows, found = await harness.index_of(job), await answers(harness, job)
    await harness.fetch("DELETE FROM indexes WHERE target = $1", donor.spec.target)
    assert await harness.index_of(job) == rows
    assert await answers(harness, job) == found


async def test_another_ref_is_indexed_by_its_differences(harness: WorkerHarness, repository: Path) -> None:
    branch(repository)
    _, todo = await indexed(harness, "shop", ref="stable")
    assert len(todo) == FILES
    job, todo = await indexed(harness, "shop", ref="next")
    assert "package_3/module_3.py" in todo
    assert len(todo) < FILES // 4, "what git wrote in the instant in which it wrote its index is read"
    found = await answers(harness, job)
    assert "package_3/module_3.py" in {path for (path, _), worded in places(found[3]).items() if worded}


async def test_a_replaced_attempt_copies_nothing(harness: WorkerHarness, repository: Path) -> None:
    await indexed(harness, repository.name)
    blobs = {row["path"]: (row["blob"], row["size"]) for row in await harness.fetch("SELECT * FROM files")}
    entries = [ScanEntry(path, size, blob=blob) for path, (blob, size) in blobs.items()]
    job = await harness.job("other")
    row = await harness.row(job)
    index_id = await Indexes(harness.database).ensure(row, "static/minilm-256")
    fingerprint = (await harness.fetch("SELECT fingerprint FROM files LIMIT 1"))[0]["fingerprint"]
    with pytest.raises(FenceLost):
        writer = Writer(row.id, 7, index_id, "static/minilm-256", fingerprint)
        await CrossIndexCopy(harness.database).copy_from_others(
            writer, entries, lambda done, total: None, lambda named: named
        )
    for table in ("files", "chunks", "segments"):
        assert await harness.fetch(f"SELECT FROM {table} WHERE index_id = $1", index_id) == []


async def test_a_donor_need_not_be_complete(harness: WorkerHarness, repository: Path) -> None:
    """What it has committed so far is copied; its terms are in pending batches then, in no segment."""
    same = repository.with_name("same")
    shutil.copytree(repository, same)
    track(same)
    _, rows, found = await alone(harness, same)
    donor = await harness.job(repository.name)
    process = await harness.start(donor)
    await harness.until(donor, lambda row: row.files_indexed >= FILES // 3)
    process.kill()
    await process.wait()
    held = {row["path"] for row in await harness.fetch("SELECT path FROM files")}
    assert len(held) < FILES
    job, todo = await indexed(harness, same.name)
    assert not held & set(todo)
    assert await harness.index_of(job) == rows
    for mine, expected in zip(await answers(harness, job), found, strict=True):
        assert places(mine) == places(expected)


async def test_few_equal_files_are_not_looked_for(harness: WorkerHarness, repository: Path) -> None:
    small = harness.root / "small"
    shutil.copytree(repository / "package_1", small / "package_1")
    track(small)
    await indexed(harness, repository.name)
    _, todo = await indexed(harness, "small")
    assert 0 < len(todo) < module.MIN_FILES


async def test_what_git_does_not_vouch_for_is_read(harness: WorkerHarness, repository: Path) -> None:
    copy = repository.with_name("plain")
    shutil.copytree(repository, copy, ignore=shutil.ignore_patterns(".git"))
    await indexed(harness, repository.name)
    _, todo = await indexed(harness, "plain")
    assert len(todo) == FILES


@dataclass
class Beside:
    """Lets something happen in the middle of a copy, when the files are copied and their terms are not yet."""

    act: Callable[[], Awaitable[None]]
    happened: bool = False

    async def copy(self, *arguments: Any) -> None:
        async with asyncio.timeout(5):  # a statement of an indexer has 10 s
            await self.act()
        self.happened = True
        await segments.copy(*arguments)


async def test_a_job_of_the_donor_goes_on_while_its_rows_are_copied(
    harness: WorkerHarness, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await indexed(harness, repository.name)
    donor = (await harness.fetch("SELECT DISTINCT index_id, fingerprint FROM files"))[0]
    held = await harness.fetch("SELECT path, blob, size FROM files ORDER BY path")
    model = "static/minilm-256"

    async def writer_of(folder: str, paths: list[str]) -> Writer:
        row = await harness.row(await harness.job(folder))
        assert await harness.jobs.fence(row.id, 1, failed=False, message="Starting")
        await harness.jobs.claim(row.id, 1, f"{folder}-a1")
        await Work(harness.database).freeze(row.id, 1, [ScanEntry(path, 9) for path in paths])
        return Writer(row.id, 1, await Indexes(harness.database).ensure(row, model), model, donor["fingerprint"])

    changed = [row["path"] for row in held[:5]]
    busy = await writer_of(repository.name, changed)
    assert busy.index_id == donor["index_id"]

    async def commit_and_end() -> None:
        """All that a job does with its index: files written anew and touched, segments replaced, its end."""
        await Work(harness.database).claim(busy.job_id, 1, "p", 9)
        vector = np.eye(1, 256, dtype=np.float32)
        results = [
            IndexedFile(seq, path, "python", bytes(20), [Chunk(1, 1, None, "fresh")], vector)
            for seq, path in enumerate(changed)
        ]
        terms = encode([{"fresh": 1} for _ in changed])
        await Chunks(harness.database).commit_batch(busy, packed(results, terms))
        await harness.fetch("UPDATE files SET job_id = $1 WHERE index_id = $2", busy.job_id, busy.index_id)
        while await segments.Segments(harness.database).build(busy):
            pass
        await Chunks(harness.database).complete(busy, "Complete")

    beside = Beside(commit_and_end)
    monkeypatch.setattr(module, "segments", beside)
    mine = await writer_of("other", [])
    entries = [ScanEntry(row["path"], row["size"], blob=row["blob"]) for row in held]
    copied = await CrossIndexCopy(harness.database).copy_from_others(
        mine, entries, lambda done, total: None, lambda named: named
    )

    assert beside.happened and [one.files for one in copied] == [FILES]
    former = await harness.fetch("SELECT path, blob FROM files WHERE index_id = $1 ORDER BY path", mine.index_id)
    assert [(row["path"], row["blob"]) for row in former] == [(row["path"], row["blob"]) for row in held]
    (chunks,) = await harness.fetch(
        "SELECT (SELECT sum(chunks) FROM files WHERE index_id = $1) AS of_files,"
        " (SELECT count(*) FROM chunks WHERE index_id = $1) AS written,"
        " (SELECT sum(chunks) FROM segments WHERE index_id = $1) AS searched", mine.index_id,
    )  # fmt: skip
    assert chunks["of_files"] == chunks["written"] == chunks["searched"]


async def test_what_the_donor_wrote_anew_between_the_look_and_the_copy_is_left_out(
    harness: WorkerHarness, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await indexed(harness, repository.name)
    held = await harness.fetch("SELECT path, blob, size, fingerprint, index_id FROM files ORDER BY path")
    look = module.unchanged

    async def then_written(snapshot: Any, listed: Any) -> Any:
        rows = await look(snapshot, listed)
        await harness.fetch(
            "UPDATE files SET first_chunk = first_chunk + 1000000 WHERE path = $1", held[0]["path"]
        )
        return rows

    monkeypatch.setattr(module, "unchanged", then_written)
    row = await harness.row(await harness.job("other"))
    assert await harness.jobs.fence(row.id, 1, failed=False, message="Starting")
    await harness.jobs.claim(row.id, 1, "other-a1")
    index_id = await Indexes(harness.database).ensure(row, "static/minilm-256")
    mine = Writer(row.id, 1, index_id, "static/minilm-256", held[0]["fingerprint"])
    entries = [ScanEntry(one["path"], one["size"], blob=one["blob"]) for one in held]
    copied = await CrossIndexCopy(harness.database).copy_from_others(
        mine, entries, lambda done, total: None, lambda named: named
    )
    assert [one.files for one in copied] == [FILES - 1]
    paths = await harness.fetch("SELECT path FROM files WHERE index_id = $1", index_id)
    assert held[0]["path"] not in {one["path"] for one in paths}
