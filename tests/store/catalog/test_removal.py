"""Removing an index while jobs, searches and other administrators go on."""

import asyncio
import sys
from collections.abc import Awaitable, Callable

import numpy as np
import pytest

from codebase_cli import admin
from codebase_index.api.resource import IndexingJob
from codebase_index.store.catalog import removal as removal_module
from codebase_index.store.catalog.indexes import Indexes
from codebase_index.store.catalog.removal import IndexOverview, Removal
from codebase_index.store.database import Database
from codebase_index.store.errors import FenceLost, IndexInUse
from codebase_index.store.ingest.batch import Chunk, IndexedFile
from codebase_index.store.ingest.chunks import Chunks, Writer
from codebase_index.store.ingest.work import ScanEntry, Work
from codebase_index.store.jobs.jobs import Jobs
from codebase_index.store.query.hybrid_search import Search
from tests.store.jobs.test_jobs import count, custom_resource, started
from tests.support.terms import encode, packed

MODEL = "static/test"
FILES = 12
CHUNKS_OF_A_FILE = 3


async def written(database: Database, job: IndexingJob, files: int = FILES) -> Writer:
    """A running job of which some files are committed."""
    job_id = await started(database, job)
    await Work(database).freeze(job_id, 1, [ScanEntry(f"f{n:03}.py", 3) for n in range(files)])
    items = await Work(database).claim(job_id, 1, "p1", files)
    row = await Jobs(database).get(job_id)
    writer = Writer(job_id, 1, await Indexes(database).ensure(row, MODEL), MODEL, "v1")
    vectors = np.eye(CHUNKS_OF_A_FILE, 256, dtype=np.float32)
    chunks = [Chunk(n, n, None, f"text {n}") for n in range(1, CHUNKS_OF_A_FILE + 1)]
    results = [IndexedFile(i.seq, i.path, "python", bytes(20), chunks, vectors) for i in items]
    terms = encode([{"needle": 1}] * CHUNKS_OF_A_FILE * files)
    await Chunks(database).commit_batch(writer, packed(results, terms))
    return writer


async def indexed(database: Database, job: IndexingJob | None = None, files: int = FILES) -> int:
    """The index of a job that is over, with none of its pods left."""
    writer = await written(database, job or custom_resource(), files)
    await Chunks(database).complete(writer, "Complete")
    await Jobs(database).release_slot(writer.job_id)
    return writer.index_id


def nothing(files: int, chunks: int) -> None:
    """Listen to no progress."""


async def found(database: Database) -> list[str]:
    """The paths of every chunk that search finds."""
    ids = [index.id for index in await Indexes(database).list()]
    vector = np.eye(1, 256, dtype=np.float32)[0]
    found = await Search(database).candidates(ids, vectors={MODEL: vector}, terms=["needle"], limit=999)
    return sorted(c.path for c in found.candidates)


async def test_nothing_of_a_removed_index_is_left_and_others_stay(database: Database) -> None:
    other = await indexed(database, custom_resource("/work/other", "other-1"))
    index = await indexed(database)
    removal = Removal(database)
    await removal.detach(index)
    told: list[tuple[int, int]] = []
    await removal.delete_contents(index, lambda files, chunks: told.append((files, chunks)))
    assert [i.id for i in await removal.overview()] == [other]
    assert await count(database, "files") == FILES
    assert await count(database, "chunks") == await count(database, "embeddings") == FILES * CHUNKS_OF_A_FILE
    assert told == [(FILES, FILES * CHUNKS_OF_A_FILE)]


@pytest.mark.parametrize(
    ("statement", "files", "chunks"),
    [
        ("DELETE FROM indexes WHERE id = $1", 0, 0),
        ("DELETE FROM files WHERE index_id = $1 AND path < 'f005'", 7, 21),
        ("DELETE FROM chunks WHERE index_id = $1 AND start_line = 1", 12, 24),
        ("DELETE FROM files WHERE index_id = $1 AND false", 12, 36),
    ],
)
async def test_whoever_deletes_deletes_what_belongs_to_it(
    database: Database, statement: str, files: int, chunks: int
) -> None:
    await indexed(database, custom_resource("/work/other", "other-1"), files=1)
    index = await indexed(database)
    async with database.connection() as connection:
        await connection.execute(statement, index)
    assert await count(database, "files") == files + 1
    assert await count(database, "chunks") == await count(database, "embeddings") == chunks + CHUNKS_OF_A_FILE


async def test_search_finds_nothing_of_it_from_the_first_moment_on(database: Database) -> None:
    index = await indexed(database)
    assert len(await found(database)) == FILES * CHUNKS_OF_A_FILE
    await Removal(database).detach(index)
    assert await found(database) == []
    assert await count(database, "files") == FILES


async def test_a_search_that_began_before_sees_whole_files_only(
    database: Database, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It holds the index's id already; what it reads are files before or after their transaction."""
    monkeypatch.setattr(removal_module, "BATCH_CHUNKS", 8)
    index = await indexed(database)
    await Removal(database).detach(index)
    vector = np.eye(1, 256, dtype=np.float32)[0]
    reader = await Database.open(dsn, name="reader")
    seen: list[int] = []
    began = asyncio.Event()

    async def look() -> None:
        while True:
            found = await Search(reader).candidates([index], vectors={MODEL: vector}, terms=["needle"], limit=999)
            paths = [c.path for c in found.candidates]
            assert {paths.count(path) for path in paths} <= {CHUNKS_OF_A_FILE}
            seen.append(len(paths))
            began.set()

    looking = asyncio.create_task(look())
    await began.wait()
    await Removal(database).delete_contents(index, nothing)
    assert not looking.done(), looking
    looking.cancel()
    await reader.close()
    assert seen[0] == FILES * CHUNKS_OF_A_FILE


@pytest.mark.parametrize("batch", [1, 4, 8, 9, 1000])
async def test_batches_are_whole_files_and_bounded(
    database: Database, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    monkeypatch.setattr(removal_module, "BATCH_CHUNKS", batch)
    index = await indexed(database)
    await Removal(database).detach(index)
    told: list[tuple[int, int]] = []
    await Removal(database).delete_contents(index, lambda files, chunks: told.append((files, chunks)))
    assert sum(files for files, _ in told) == FILES
    assert all(chunks == files * CHUNKS_OF_A_FILE for files, chunks in told)
    assert all(chunks <= batch or files == 1 for files, chunks in told[:-1]) or batch >= CHUNKS_OF_A_FILE
    assert max(chunks for _, chunks in told) < batch + CHUNKS_OF_A_FILE


async def test_an_interrupted_removal_goes_on_when_it_is_asked_for_again(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(removal_module, "BATCH_CHUNKS", 4)
    index, removal = await indexed(database), Removal(database)
    await removal.detach(index)

    def interrupted(files: int, chunks: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await removal.delete_contents(index, interrupted)
    (left,) = await removal.overview()
    assert left.removal_started and 0 < left.files < FILES
    await removal.detach(index)
    await removal.delete_contents(index, nothing)
    assert await removal.overview() == []
    assert await count(database, "chunks") == 0


async def test_two_administrators_at_once_remove_it_once(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(removal_module, "BATCH_CHUNKS", 4)
    index, removal = await indexed(database), Removal(database)
    told: list[int] = []
    await asyncio.gather(removal.detach(index), removal.detach(index))

    def tell(files: int, _: int) -> None:
        told.append(files)

    await asyncio.gather(removal.delete_contents(index, tell), removal.delete_contents(index, tell))
    assert sum(told) == FILES
    assert await removal.overview() == []


async def test_an_index_that_was_not_taken_out_is_never_emptied(database: Database) -> None:
    index = await indexed(database)
    await Removal(database).delete_contents(index, nothing)
    assert await count(database, "files") == FILES


async def test_an_index_that_a_job_fills_is_refused_with_the_way_out(database: Database) -> None:
    writer = await written(database, custom_resource())
    with pytest.raises(IndexInUse, match=r"job shop-1 in namespace code is running.*patch ij shop-1") as caught:
        await Removal(database).detach(writer.index_id)
    assert "nothing was removed" in str(caught.value)
    assert len(await found(database)) == FILES * CHUNKS_OF_A_FILE


async def test_an_index_whose_next_job_waits_is_refused(database: Database) -> None:
    index = await indexed(database)
    await Jobs(database).create(custom_resource(name="shop-2"))
    with pytest.raises(IndexInUse, match="shop-2 in namespace code is pending"):
        await Removal(database).detach(index)


async def test_an_index_is_refused_until_the_pod_of_its_cancelled_job_is_gone(database: Database) -> None:
    writer = await written(database, custom_resource())
    await Jobs(database).cancel(writer.job_id)
    async with database.connection() as connection:
        await connection.execute("UPDATE jobs SET slot = true WHERE id = $1", writer.job_id)
    with pytest.raises(IndexInUse, match="its pod is not gone yet"):
        await Removal(database).detach(writer.index_id)
    assert await Jobs(database).release_slot(writer.job_id)
    await Removal(database).detach(writer.index_id)


async def test_a_job_that_starts_meanwhile_fills_an_index_of_its_own(database: Database) -> None:
    old, removal = await indexed(database), Removal(database)
    await removal.detach(old)
    new = await indexed(database, custom_resource(name="shop-2"), files=2)
    assert new != old
    await removal.delete_contents(old, nothing)
    assert [(i.id, i.files, i.removal_started) for i in await removal.overview()] == [(new, 2, False)]
    assert len(await found(database)) == 2 * CHUNKS_OF_A_FILE


async def test_a_job_that_opens_the_index_in_the_same_moment_gets_a_new_one(dsn: str) -> None:
    """The job waits for the row that is held, and finds the target free when it is let go."""
    database = await Database.open(dsn, name="test", size=4)
    old = await indexed(database)
    job_id = await started(database, custom_resource(name="shop-2"))
    row = await Jobs(database).get(job_id)
    async with database.transaction() as connection:
        await connection.fetchval(removal_module.SQL["lock_index"], old)
        opening = asyncio.create_task(Indexes(database).ensure(row, MODEL))
        while not await waits_for_a_lock(database):
            assert not opening.done()
            await asyncio.sleep(0.01)
        await connection.execute(removal_module.SQL["detach"], old)
    assert await opening != old
    await database.close()


async def waits_for_a_lock(database: Database) -> bool:
    async with database.connection() as connection:
        waiting = "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)"
        return bool(await connection.fetchval(waiting))


async def test_a_replaced_worker_can_write_nothing_into_an_index_that_is_removed(database: Database) -> None:
    writer = await written(database, custom_resource())
    await Jobs(database).cancel(writer.job_id)
    await Jobs(database).release_slot(writer.job_id)
    await Removal(database).detach(writer.index_id)
    vectors = np.eye(1, 256, dtype=np.float32)
    late = IndexedFile(0, "late.py", None, bytes(20), [Chunk(1, 1, None, "x")], vectors)
    with pytest.raises(FenceLost):
        await Chunks(database).commit_batch(writer, packed([late]))
    await Removal(database).delete_contents(writer.index_id, nothing)
    assert await count(database, "files") == await count(database, "chunks") == 0


async def test_the_overview_tells_what_each_index_holds(database: Database) -> None:
    await indexed(database, custom_resource("/work/a", "a-1"), files=9)
    await written(database, custom_resource("/work/b", "b-1"), files=3)
    a, b = await Removal(database).overview()
    assert (a.source, a.files, a.chunks, a.job, a.job_state) == ("/work/a", 9, 27, "a-1", "completed")
    assert (b.source, b.files, b.chunks, b.job, b.job_state) == ("/work/b", 3, 9, "b-1", "running")
    assert a.indexed_at is not None and b.indexed_at is None
    assert a.bytes == pytest.approx(3 * b.bytes, abs=3) and b.bytes > 0


# --- the command -----------------------------------------------------------------------------------


Run = Callable[..., Awaitable[tuple[int | None, str]]]


@pytest.fixture
def run(dsn: str, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The command as the operator's image runs it: in a process of its own."""
    monkeypatch.setenv("CODEBASE_DATABASE_URL", dsn)
    monkeypatch.setenv("CODEBASE_NAMESPACE", "code")

    async def run(*arguments: str) -> tuple[int | None, str]:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "codebase_cli", "admin", *arguments,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        output, _ = await process.communicate()
        return process.returncode, output.decode()

    return run


async def test_the_command_lists_and_removes(database: Database, run: Run) -> None:
    assert await run("list") == (0, "no index\n")
    await indexed(database)
    code, output = await run("list")
    heading, line = output.splitlines()
    assert " ".join(heading.split()) == "ID NAMESPACE SOURCE REF NAME FILES CHUNKS SIZE INDEXED AT NEWEST JOB"
    assert line.split()[1:7] == ["code", "/work/shop", "-", "-", str(FILES), str(FILES * CHUNKS_OF_A_FILE)]
    assert line.endswith("shop-1 completed")
    code, output = await run("delete", "/work/shop/")
    assert (code, output.splitlines()[-1]) == (0, "done")
    assert await count(database, "chunks") == 0
    assert await run("list") == (0, "no index\n")


async def test_the_command_refuses_what_is_in_use_or_not_there(database: Database, run: Run) -> None:
    await written(database, custom_resource())
    code, output = await run("delete", "/work/shop")
    assert code == 1 and "job shop-1 in namespace code is running" in output
    code, output = await run("delete", "/work/elsewhere")
    assert code == 1 and "no index of /work/elsewhere; `codebase-mcp admin list` shows all" in output
    assert await count(database, "files") == FILES


async def test_the_command_empties_the_index_but_for_what_is_in_use(database: Database, run: Run) -> None:
    await indexed(database)
    code, output = await run("empty")
    assert (code, output.splitlines()[0], output.splitlines()[-1]) == (0, "/work/shop: removed", "done")
    assert await Indexes(database).list() == [] and await count(database, "chunks") == 0
    await written(database, custom_resource("/work/other", "other-1"))
    code, output = await run("empty")
    assert code == 1 and "/work/other stays: the index is in use" in output and "1 of them are in use" in output
    assert await count(database, "files") == FILES


async def test_the_command_says_when_the_database_is_away(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CODEBASE_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    code, output = await run("list")
    assert code == 1 and "the database does not answer" in output and "Traceback" not in output


def entry(source: str = "/work/shop", **fields: object) -> IndexOverview:
    values: dict[str, object] = {
        "id": 1, "namespace": "code", "include": (), "exclude": (), "ref": None, "name": None,
        "indexed_at": None, "removal_started": False, "files": 1, "chunks": 2,
        "bytes": 3, "job": None, "job_state": None, **fields,
    }  # fmt: skip
    return IndexOverview(source=source, **values)  # type: ignore[arg-type]


PLAIN, TAGGED = entry(id=1), entry(id=2, ref="v1", name="shop")
LEFT = entry(id=3, removal_started=True)


@pytest.mark.parametrize(
    ("there", "asked", "ref", "meant"),
    [
        ([PLAIN], "/work/shop", None, PLAIN),
        ([PLAIN, TAGGED], "/work/shop", "v1", TAGGED),
        ([PLAIN, TAGGED], "/work/shop", "", PLAIN),
        ([PLAIN, TAGGED], "shop", None, TAGGED),
        ([PLAIN, LEFT], "/work/shop", None, LEFT),
    ],
    ids=["by source", "by ref", "by no ref", "by name", "what an interrupted removal left comes first"],
)
def test_which_index_is_meant(
    there: list[IndexOverview], asked: str, ref: str | None, meant: IndexOverview
) -> None:
    assert admin.chosen(there, asked, ref) is meant


@pytest.mark.parametrize(
    ("there", "asked", "ref", "why"),
    [
        ([PLAIN, TAGGED], "/work/shop", None, "several indexes: /work/shop without a ref .ID 1., /work/shop@v1"),
        ([PLAIN], "shop", None, "no index of shop"),
        ([TAGGED], "/work/shop", "v2", "no index of /work/shop@v2; there is /work/shop@v1"),
        ([LEFT, TAGGED], "/work/shop", None, "several indexes"),
    ],
    ids=["several refs", "a part of a path is not enough", "another ref", "a rest does not hide an ambiguity"],
)
def test_an_index_that_is_not_clearly_meant_is_refused(
    there: list[IndexOverview], asked: str, ref: str | None, why: str
) -> None:
    with pytest.raises(admin.RequestRefused, match=why):
        admin.chosen(there, asked, ref)


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (41e6, "41 MB"), (2.5e12, "2500 GB")]
)
def test_sizes_are_readable(number: float, text: str) -> None:
    assert admin.size(int(number)) == text
