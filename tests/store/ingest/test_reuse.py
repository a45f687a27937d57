"""What a frozen list takes over from the index: exactly what is equal, in rows and in counters."""

import hashlib
from dataclasses import dataclass
from typing import Any

import asyncpg
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codebase_index.api.job import JobState
from codebase_index.languages import same_kind
from codebase_index.store.catalog.indexes import Indexes
from codebase_index.store.database import Database
from codebase_index.store.errors import FenceLost, StoreUnavailable
from codebase_index.store.ingest.batch import Chunk, IndexedFile
from codebase_index.store.ingest.chunks import Chunks, Writer
from codebase_index.store.ingest.reuse import RenameCandidate, Reuse, match_renames
from codebase_index.store.ingest.sweep import Sweep
from codebase_index.store.ingest.work import ScanEntry, Work
from codebase_index.store.jobs.jobs import Jobs
from codebase_index.store.jobs.rows import JobRow
from tests.store.jobs.test_jobs import custom_resource, started
from tests.support.terms import packed

TREE = {"a.py": "a", "b.py": "b", "sub/c.py": "c"}


def blob(content: str) -> bytes:
    return hashlib.sha1(content.encode(), usedforsecurity=False).digest()


def entries(tree: dict[str, str]) -> list[ScanEntry]:
    return [ScanEntry(path, len(content), None, blob(content)) for path, content in tree.items()]


@dataclass
class Indexer:
    """Runs jobs on one repository whose files have as many chunks as their content has characters."""

    database: Database

    async def freeze(
        self, listed: list[ScanEntry], *, fingerprint: str = "v1", force: bool = False
    ) -> tuple[Writer, list[str], JobRow]:
        """Start a job and freeze its list; return its writer, what is left to do, and its row."""
        job_id = await started(self.database)
        row = await Jobs(self.database).get(job_id)
        index_id = await Indexes(self.database).ensure(row, "m")
        work = Work(self.database)
        reuse = None if force else Reuse(index_id, fingerprint, same_kind)
        assert await work.freeze(job_id, 1, listed, reuse)
        items = await work.claim(job_id, 1, "p1", 1000)
        return (
            Writer(job_id, 1, index_id, "m", fingerprint),
            [item.path for item in items],
            await Jobs(self.database).get(job_id),
        )

    async def run(
        self, listed: list[ScanEntry], *, fingerprint: str = "v1", force: bool = False
    ) -> tuple[list[str], JobRow]:
        """Run a job to its end; return what it had to index, and its row."""
        writer, todo, _ = await self.freeze(listed, fingerprint=fingerprint, force=force)
        await self.commit(writer, todo, listed)
        sweep = Sweep(self.database)
        await sweep.remove(writer, await sweep.unseen(writer))
        await Chunks(self.database).complete(writer, "Complete")
        return todo, await Jobs(self.database).get(writer.job_id)

    async def commit(self, writer: Writer, todo: list[str], listed: list[ScanEntry]) -> None:
        """Index files of the list."""
        await Work(self.database).claim(writer.job_id, 1, "p1", 1000)
        sizes = {e.path: (e.size, e.blob) for e in listed}
        query = f"SELECT path, seq FROM work WHERE job_id = '{writer.job_id}'"
        seqs = {r["path"]: r["seq"] for r in await self.rows(query)}
        results = []
        for path in todo:
            size, content = sizes[path]
            pieces = [Chunk(n + 1, n + 1, None, f"{path} {n}") for n in range(size)]
            vectors = np.ones((size, 4), dtype=np.float32)
            results.append(IndexedFile(seqs[path], path, "python", content or b"", pieces, vectors, size))
        await Chunks(self.database).commit_batch(writer, packed(results))

    async def rows(self, query: str) -> list[Any]:
        async with self.database.connection() as connection:
            return list(await connection.fetch(query))

    async def files(self) -> dict[str, int]:
        return {r["path"]: r["id"] for r in await self.rows("SELECT path, id FROM files")}

    async def counted(self) -> tuple[int, int]:
        (row,) = await self.rows("SELECT (SELECT count(*) FROM files) f, (SELECT count(*) FROM chunks) c")
        return row["f"], row["c"]


@pytest.fixture
def indexer(database: Database) -> Indexer:
    return Indexer(database)


async def test_nothing_is_left_of_an_unchanged_repository(indexer: Indexer) -> None:
    assert (await indexer.run(entries(TREE)))[0] == list(TREE)
    before = await indexer.files()
    todo, row = await indexer.run(entries(TREE))
    assert todo == []
    assert (row.state, row.files_total, row.files_indexed, row.files_unchanged) == (JobState.COMPLETED, 3, 3, 3)
    assert row.chunks_created == 3
    assert await indexer.files() == before
    assert await indexer.counted() == (3, 3)


async def test_only_what_changed_is_left(indexer: Indexer) -> None:
    await indexer.run(entries(TREE))
    now = {"a.py": "a", "b.py": "bbb", "new.py": "n"}
    todo, row = await indexer.run(entries(now))
    assert todo == ["b.py", "new.py"]
    assert (row.files_indexed, row.files_unchanged, row.chunks_created) == (3, 1, 5)
    assert set(await indexer.files()) == set(now)
    assert await indexer.counted() == (3, 5)


async def test_a_skipped_file_leaves_the_index_though_its_content_stays(indexer: Indexer) -> None:
    await indexer.run(entries(TREE))
    listed = [*entries({"a.py": "a", "b.py": "b"}), ScanEntry("sub/c.py", 1, "too large")]
    _, row = await indexer.run(listed)
    assert (row.files_total, row.files_indexed, row.files_skipped) == (3, 2, 1)
    assert set(await indexer.files()) == {"a.py", "b.py"}


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"fingerprint": "v2"}, id="another chunker or model"),
        pytest.param({"force": True}, id="forced"),
    ],
)
async def test_everything_is_left(change: dict[str, Any], indexer: Indexer) -> None:
    await indexer.run(entries(TREE))
    todo, row = await indexer.run(entries(TREE), **change)
    assert todo == list(TREE)
    assert (row.files_indexed, row.files_unchanged, row.chunks_created) == (3, 0, 3)


async def test_of_an_index_half_done_by_another_version_that_half_is_left(indexer: Indexer) -> None:
    await indexer.run(entries(TREE))
    async with indexer.database.connection() as connection:
        await connection.execute("UPDATE files SET fingerprint = 'v2' WHERE path = 'b.py'")
    todo, _ = await indexer.run(entries(TREE), fingerprint="v2")
    assert todo == ["a.py", "sub/c.py"]


async def test_a_file_that_git_does_not_vouch_for_is_left(indexer: Indexer) -> None:
    await indexer.run(entries(TREE))
    listed = [ScanEntry("a.py", 1), *entries({"b.py": "b", "sub/c.py": "c"})]
    assert (await indexer.run(listed))[0] == ["a.py"]


async def test_a_file_of_another_size_is_left_though_its_blob_is_equal(indexer: Indexer) -> None:
    """The work tree has other line ends than when it was read, which git does not count as a change."""
    await indexer.run(entries(TREE))
    listed = [ScanEntry("a.py", 2, None, blob("a")), *entries({"b.py": "b", "sub/c.py": "c"})]
    assert (await indexer.run(listed))[0] == ["a.py"]


async def test_a_moved_file_costs_one_row(indexer: Indexer) -> None:
    await indexer.run(entries(TREE))
    before = await indexer.files()
    todo, row = await indexer.run(entries({"a.py": "a", "moved/b.py": "b", "sub/c.py": "c"}))
    assert todo == []
    assert (row.files_indexed, row.files_unchanged, row.chunks_created) == (3, 3, 3)
    assert await indexer.files() == {
        "a.py": before["a.py"],
        "moved/b.py": before["b.py"],
        "sub/c.py": before["sub/c.py"],
    }
    assert await indexer.counted() == (3, 3)


async def test_a_file_moved_to_another_language_is_left(indexer: Indexer) -> None:
    await indexer.run(entries(TREE))
    todo, _ = await indexer.run(entries({"a.py": "a", "b.js": "b", "sub/c.py": "c"}))
    assert todo == ["b.js"]
    assert set(await indexer.files()) == {"a.py", "b.js", "sub/c.py"}


async def test_a_copy_is_no_move(indexer: Indexer) -> None:
    await indexer.run(entries(TREE))
    todo, _ = await indexer.run(entries({**TREE, "copy.py": "a"}))
    assert todo == ["copy.py"]
    assert await indexer.counted() == (4, 4)


async def test_files_that_changed_places_are_done_again(indexer: Indexer) -> None:
    await indexer.run(entries(TREE))
    todo, _ = await indexer.run(entries({"a.py": "b", "b.py": "a", "sub/c.py": "c"}))
    assert todo == ["a.py", "b.py"]
    assert await indexer.counted() == (3, 3)


async def test_a_freeze_that_fails_takes_nothing(indexer: Indexer) -> None:
    await indexer.run(entries(TREE))
    before = await indexer.rows("SELECT id, path, job_id FROM files ORDER BY id")
    async with indexer.database.connection() as connection:
        await connection.execute(
            "CREATE FUNCTION fault() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            " RAISE EXCEPTION 'the connection is cut' USING ERRCODE = '57P01'; END $$;"
            "CREATE TRIGGER fault BEFORE INSERT ON work FOR EACH ROW EXECUTE FUNCTION fault()"
        )
    with pytest.raises((StoreUnavailable, asyncpg.PostgresError)):
        await indexer.freeze(entries({"a.py": "a", "moved.py": "b", "new.py": "n"}))
    assert await indexer.rows("SELECT id, path, job_id FROM files ORDER BY id") == before
    (job,) = await indexer.rows("SELECT * FROM jobs WHERE state = 'running'")
    assert (job["files_total"], job["files_indexed"], job["files_unchanged"]) == (None, 0, 0)


async def test_a_later_attempt_finds_the_rest_and_counts_nothing_twice(indexer: Indexer) -> None:
    await indexer.run(entries(TREE))
    listed = entries({**TREE, "b.py": "bb"})
    writer, todo, row = await indexer.freeze(listed)
    assert (todo, row.files_indexed, row.chunks_created) == (["b.py"], 2, 2)
    job_id = writer.job_id
    await Jobs(indexer.database).fence(job_id, 2, failed=True, message="Again")
    await Jobs(indexer.database).claim(job_id, 2, "p2")
    work = Work(indexer.database)
    assert not await work.freeze(job_id, 2, listed, Reuse(writer.index_id, "v1", same_kind))
    assert [item.path for item in await work.claim(job_id, 2, "p2", 10)] == ["b.py"]
    row = await Jobs(indexer.database).get(job_id)
    assert (row.files_indexed, row.files_unchanged, row.chunks_created, row.files_repeated) == (2, 2, 2, 1)


async def test_who_lost_the_fence_takes_nothing(indexer: Indexer) -> None:
    await indexer.run(entries(TREE))
    job_id = await started(indexer.database)
    await Jobs(indexer.database).fence(job_id, 2, failed=False, message="Again")
    (index,) = await indexer.rows("SELECT id FROM indexes")
    with pytest.raises(FenceLost):
        await Work(indexer.database).freeze(job_id, 1, entries(TREE), Reuse(index["id"], "v1", same_kind))
    seen = {r["job_id"] for r in await indexer.rows("SELECT job_id FROM files")}
    assert job_id not in seen


async def test_the_index_of_another_repository_is_not_touched(indexer: Indexer) -> None:
    await indexer.run(entries(TREE))
    other = await started(indexer.database, custom_resource("/work/other", "other-1"))
    index_id = await Indexes(indexer.database).ensure(await Jobs(indexer.database).get(other), "m")
    await Work(indexer.database).freeze(other, 1, entries(TREE), Reuse(index_id, "v1", same_kind))
    assert (await Jobs(indexer.database).get(other)).files_indexed == 0


NAMES = st.lists(st.sampled_from("abcdef"), unique=True, max_size=6)


@given(former=NAMES, new=NAMES, contents=st.lists(st.sampled_from([b"x", b"y"]), min_size=12, max_size=12))
def test_each_file_is_paired_once_with_its_equal(former: list[str], new: list[str], contents: list[bytes]) -> None:
    old = [RenameCandidate(n, f"old/{name}", contents[n], 1) for n, name in enumerate(former)]
    now = [RenameCandidate(n, f"new/{name}", contents[6 + n], 1) for n, name in enumerate(new)]
    pairs = match_renames(old, now, lambda a, b: True)
    assert all(a.blob == b.blob for a, b in pairs)
    assert len({a.id for a, _ in pairs}) == len({b.id for _, b in pairs}) == len(pairs)
    for content in (b"x", b"y"):
        fewer = min(sum(f.blob == content for f in old), sum(f.blob == content for f in now))
        assert sum(a.blob == content for a, _ in pairs) == fewer
