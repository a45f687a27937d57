"""Vector indexes on a real Postgres: built aside, used by searches, dropped when they are in the way."""

import asyncio

import numpy as np
import pytest
from pgvector import HalfVector

from codebase_index.store import vector_indexes as module
from codebase_index.store.chunks import Chunks
from codebase_index.store.database import Database
from codebase_index.store.errors import RowLocked
from codebase_index.store.jobs import Jobs
from codebase_index.store.nearest import statement
from codebase_index.store.removal import Removal
from codebase_index.store.search import Filters, Search
from codebase_index.store.vector_indexes import Graph, Plan, Sized, VectorIndexes, name_of, plan
from tests.store.test_segments import CHUNKS_OF_A_FILE, FILES, indexed

MODEL = "static/x"
NONE = Filters()
CHUNKS = FILES * CHUNKS_OF_A_FILE


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything is large."""
    monkeypatch.setattr(module, "EXACT_CHUNKS", 20)
    monkeypatch.setattr(module, "LEAST_CHUNKS", 10)
    monkeypatch.setattr("codebase_index.store.scope.FEW_CHUNKS", 20)


@pytest.fixture
async def index_id(database: Database, few: None) -> int:
    """A finished index."""
    writer = await indexed(database)
    await Chunks(database).complete(writer, "Complete")
    await Jobs(database).release_slot(writer.job_id)
    return writer.index_id


async def built(database: Database) -> list[str]:
    async with database.connection() as connection:
        return [row["name"] for row in await connection.fetch(module.SQL["built"]) if row["valid"]]


async def nearest(database: Database, index_id: int, limit: int, filters: Filters = NONE) -> list[float]:
    model = await model_of(database)
    vector = np.linspace(1, 2, 256).astype(np.float32)
    found = await Search(database).candidates(
        [index_id], model=model, vector=vector / np.linalg.norm(vector), terms=[], filters=filters, limit=limit
    )
    return sorted((round(c.vector_score, 4) for c in found), reverse=True)


async def model_of(database: Database) -> str:
    async with database.connection() as connection:
        return str(await connection.fetchval("SELECT model FROM indexes"))


async def test_one_is_built_and_finds_what_the_scan_finds(database: Database, index_id: int) -> None:
    graphs = VectorIndexes(database)
    exact = await nearest(database, index_id, 15)
    filtered = await nearest(database, index_id, 15, Filters(language="go"))
    assert await graphs.maintain() == 1
    assert await built(database) == [name_of(index_id)]
    assert await nearest(database, index_id, 15) == exact
    assert await nearest(database, index_id, 15, Filters(language="go")) == filtered
    assert await graphs.maintain() == 0


async def test_the_query_of_a_search_uses_it(database: Database, index_id: int) -> None:
    await VectorIndexes(database).maintain()
    query = HalfVector(np.ones(256, np.float32))
    async with database.transaction() as connection:
        await connection.execute("SET LOCAL enable_sort = off")  # a few rows are sorted more cheaply
        plan_lines = await connection.fetch(
            f"EXPLAIN {statement(query, 2)}", await model_of(database), query, 5, index_id, index_id + 1
        )
    assert any(name_of(index_id) in line[0] for line in plan_lines), plan_lines


async def test_none_is_built_while_a_job_writes(database: Database, few: None) -> None:
    await indexed(database)
    assert await VectorIndexes(database).maintain() == 0
    assert await built(database) == []


async def test_what_an_interrupted_build_left_is_replaced(database: Database, index_id: int) -> None:
    await VectorIndexes(database).maintain()
    async with database.connection() as connection:
        await connection.execute("UPDATE pg_index SET indisvalid = false WHERE indexrelid = $1::text::regclass",
                                 name_of(index_id))  # fmt: skip
    assert await built(database) == []
    assert len(await nearest(database, index_id, 15)) == 15
    assert await VectorIndexes(database).maintain() == 1
    assert await built(database) == [name_of(index_id)]


async def test_two_operators_build_one(dsn: str, database: Database, index_id: int) -> None:
    other = await Database.open(dsn, name="other")
    done = await asyncio.gather(VectorIndexes(database).maintain(), VectorIndexes(other).maintain())
    await other.close()
    assert sum(done) == 1
    assert await built(database) == [name_of(index_id)]


async def test_a_job_drops_it_and_a_removed_index_leaves_none(database: Database, index_id: int) -> None:
    graphs = VectorIndexes(database)
    await graphs.maintain()
    await graphs.drop(index_id)
    assert await built(database) == []
    await graphs.drop(index_id)
    await graphs.maintain()
    await Removal(database).take_out(index_id)
    await Removal(database).empty(index_id, lambda files, chunks: None)
    assert await built(database) == []


async def test_the_one_of_an_index_that_was_taken_out_is_dropped(database: Database, index_id: int) -> None:
    await VectorIndexes(database).maintain()
    await Removal(database).take_out(index_id)
    assert await VectorIndexes(database).maintain() == 0
    assert await built(database) == []


async def test_a_table_in_use_is_no_reason_to_wait(dsn: str, database: Database, index_id: int) -> None:
    await VectorIndexes(database).maintain()
    other = await Database.open(dsn, name="other")
    async with other.transaction() as connection:
        await connection.execute("LOCK TABLE embeddings IN SHARE UPDATE EXCLUSIVE MODE")
        with pytest.raises(RowLocked):
            await VectorIndexes(database).drop(index_id)
        await Chunks(database).analyze()
    await other.close()
    assert await built(database) == [name_of(index_id)]


async def until_building(database: Database) -> None:
    """Wait until a vector index is being built."""
    building = 0
    while not building:
        await asyncio.sleep(0.01)
        async with database.connection() as connection:  # in one transaction it would see the same again and again
            building = await connection.fetchval("SELECT count(index_relid) FROM pg_stat_progress_create_index")


async def test_a_job_that_writes_much_ends_the_build(dsn: str, database: Database, index_id: int) -> None:
    writing = await Database.open(dsn, name="writing")
    async with writing.transaction() as connection:
        await connection.execute("LOCK TABLE embeddings IN ROW EXCLUSIVE MODE")  # a build waits for such as these
        build = asyncio.create_task(VectorIndexes(database).maintain())
        async with asyncio.timeout(60):
            await until_building(writing)
        with pytest.raises(RowLocked):  # the drop itself waits for writers, too
            await VectorIndexes(database).drop(index_id)
        assert await build == 0
    await VectorIndexes(database).drop(index_id)
    async with writing.connection() as connection:
        assert await connection.fetch(module.SQL["built"]) == []
    await writing.close()


async def session(database: Database) -> tuple[str, str, int]:
    """What the one connection of a pool of one would pass on to its next user."""
    async with database.connection() as connection:
        return (
            await connection.fetchval("SHOW lock_timeout"),
            await connection.fetchval("SHOW maintenance_work_mem"),
            await connection.fetchval(
                "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()"
            ),
        )


async def test_it_leaves_nothing_behind_on_its_connection(dsn: str, index_id: int) -> None:
    """A lock timeout that stayed ended the administrator's VACUUM, and a lock every other operator's upkeep."""
    one = await Database.open(dsn, name="one", size=1)
    before = await session(one)
    assert await VectorIndexes(one).maintain() == 1
    assert await session(one) == before
    await VectorIndexes(one).drop(index_id)
    assert await session(one) == before
    await one.close()


async def test_only_the_own_graph_keeps_a_removal_waiting(dsn: str, database: Database, index_id: int) -> None:
    await VectorIndexes(database).maintain()
    other = await Database.open(dsn, name="other")
    async with other.transaction() as connection:
        await connection.execute("LOCK TABLE embeddings IN SHARE UPDATE EXCLUSIVE MODE")
        await VectorIndexes(database).drop(index_id + 1)
    await other.close()


async def test_a_job_may_add_a_little(database: Database, index_id: int) -> None:
    assert await VectorIndexes(database).bearable(index_id) == int(module.REWRITE_SHARE * CHUNKS)
    assert await VectorIndexes(database).bearable(index_id + 1) == 1


LARGE, MIDDLE, SMALL = Sized(1, "m", 400_000, False), Sized(2, "m", 12_000, False), Sized(3, "m", 7_000, False)


def graph(size: Sized, *, valid: bool = True, model: str | None = "m") -> Graph:
    return Graph(name_of(size.id), valid, model)


@pytest.mark.parametrize(
    ("sizes", "graphs", "expected"),
    [
        ([MIDDLE], [], Plan([], [])),
        ([LARGE, MIDDLE, SMALL], [], Plan([], [LARGE])),
        ([MIDDLE, Sized(4, "m", 11_000, False)], [], Plan([], [MIDDLE])),
        ([Sized(n, "m", 9_000, False) for n in range(100)], [], Plan([], [])),
        ([LARGE], [graph(LARGE)], Plan([], [])),
        ([LARGE], [graph(LARGE, valid=False)], Plan([name_of(1)], [LARGE])),
        ([LARGE], [graph(LARGE, model="other")], Plan([name_of(1)], [LARGE])),
        ([LARGE], [graph(LARGE, model=None)], Plan([name_of(1)], [LARGE])),
        ([Sized(1, "m", 400_000, True)], [graph(LARGE, valid=False)], Plan([name_of(1)], [])),
        ([MIDDLE], [graph(MIDDLE), graph(LARGE)], Plan([name_of(1)], [])),
        ([SMALL], [graph(SMALL)], Plan([name_of(3)], [])),
    ],
    ids=[
        "what is scanned quickly needs none", "the largest first, until the rest is scanned quickly",
        "many of middle size count together", "small ones never get one", "a complete one stays",
        "an incomplete one is built again", "another model's is built again", "one of no known model, too",
        "not while a job writes", "one that has shrunk keeps it, one that is gone does not",
        "one that has shrunk much loses it",
    ],
)  # fmt: skip
def test_what_is_built_and_dropped(sizes: list[Sized], graphs: list[Graph], expected: Plan) -> None:
    assert plan(sizes, graphs) == expected
