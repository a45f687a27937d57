"""Each program with a role of its own: it does its work, and nothing else that it was not given."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from uuid import UUID, uuid4

import asyncpg
import pytest

from codebase_index.api.job import JobState
from codebase_index.store.catalog.indexes import Indexes
from codebase_index.store.catalog.removal import Removal
from codebase_index.store.catalog.statistics import read_statistics
from codebase_index.store.database import Database
from codebase_index.store.errors import StoreMisconfigured
from codebase_index.store.jobs.jobs import Jobs, connection_name
from codebase_index.store.rights import INDEXER, JOB_SETTING, OPERATOR, OWN_ROWS, ROLES, SERVER, Rights
from tests.store.harness import WorkerHarness, make_tree

REFUSED = asyncpg.InsufficientPrivilegeError


@pytest.fixture
async def roles(postgres: str, database: Database) -> AsyncIterator[None]:
    """The roles, on this run's server, with their rights in this test's database."""
    admin = await asyncpg.connect(postgres)
    for role in ROLES:
        await admin.execute(f"CREATE ROLE {role} LOGIN")
    await database.migrate()
    yield
    own = await asyncpg.connect(database.address())
    for role in ROLES:
        await own.execute(f"DROP OWNED BY {role}")
        await own.execute(f"DROP ROLE {role}")
    await own.close()
    await admin.close()


@pytest.fixture
def as_role(dsn: str, roles: None) -> Callable[[str], str]:
    return lambda role: dsn.replace("//postgres", f"//{role}", 1)


@asynccontextmanager
async def connected(address: str, job: UUID | str = "") -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(address, server_settings={JOB_SETTING: str(job)})
    try:
        yield connection
    finally:
        connection.terminate()


async def test_all_programs_do_their_work(
    harness: WorkerHarness, as_role: Callable[[str], str], database: Database
) -> None:
    """The operator makes and starts a job, an indexer runs it twice, the server finds and cancels."""
    make_tree(harness.root / "shop", 40)
    operator = await Database.open(as_role(OPERATOR), name="operator")
    server = await Database.open(as_role(SERVER), name="server")
    program = WorkerHarness(operator, as_role(INDEXER), harness.root)
    try:
        for _ in range(2):
            job = await program.job("shop")
            code, row = await program.run(job)
            assert (code, row.state) == (0, JobState.COMPLETED), row
        assert (await read_statistics(operator, "code")).indexes == 1
        (index,) = await Indexes(server, ["code"]).list()
        assert index.indexed_at
        async with server.connection() as connection:
            assert await connection.fetchval("SELECT count(*) FROM chunks JOIN embeddings ON chunk_id = id") > 40
        started = await WorkerHarness(server, "", harness.root).job("shop")
        assert (await Jobs(server).cancel(UUID(started.metadata.uid))).state is JobState.CANCELLED
        await Jobs(server).check()
        with pytest.raises(StoreMisconfigured):
            await Removal(server, ["code"]).detach(index.id)
    finally:
        await operator.close()
        await server.close()


FORBIDDEN = {
    SERVER: [
        "INSERT INTO chunks (id, index_id, file_id, start_line, end_line, text) VALUES (1, 1, 1, 1, 1, 'x')",
        "UPDATE chunks SET text = 'x'", "DELETE FROM chunks", "DELETE FROM files", "DELETE FROM indexes",
        "UPDATE jobs SET slot = true", "UPDATE jobs SET files_indexed = 1", "DELETE FROM jobs", "DELETE FROM work",
        "SELECT * FROM embedding_cache", "SELECT * FROM resources", "DROP TABLE chunks", "TRUNCATE chunks",
        "CREATE TABLE mine (a int)", "INSERT INTO schema_migrations VALUES (99, 'x', now(), 'x')",
        "ALTER TABLE jobs DISABLE ROW LEVEL SECURITY", "SELECT analyze_table('chunks')",
    ],
    OPERATOR: [
        "SELECT text FROM chunks", "SELECT * FROM embeddings", "DELETE FROM files",
        "UPDATE indexes SET target = NULL", "UPDATE work SET state = 'done'", "SELECT * FROM embedding_cache",
        "DROP TABLE jobs", "CREATE TABLE mine (a int)",
    ],
    INDEXER: [
        "INSERT INTO jobs (id, namespace, cr_name, target, source) VALUES (gen_random_uuid(), 'a', 'b', 'c', 'd')",
        "DELETE FROM jobs", "UPDATE jobs SET slot = true", "UPDATE jobs SET namespace = 'theirs'",
        "UPDATE jobs SET attempt = attempt + 1", "DELETE FROM indexes", "UPDATE indexes SET target = NULL",
        "UPDATE indexes SET namespace = 'theirs'", "UPDATE chunks SET text = 'x'", "SELECT * FROM resources",
        "DROP TABLE files", "TRUNCATE chunks", "CREATE TABLE mine (a int)", "SELECT analyze_table('jobs')",
        "ALTER TABLE jobs DISABLE ROW LEVEL SECURITY", "SET ROLE codebase_operator",
    ],
}  # fmt: skip


@pytest.mark.parametrize("role", ROLES)
async def test_what_a_role_was_not_given_is_refused(role: str, as_role: Callable[[str], str]) -> None:
    async with connected(as_role(role)) as connection:
        for statement in FORBIDDEN[role]:
            expected = asyncpg.RaiseError if "analyze_table('jobs')" in statement else REFUSED
            with pytest.raises(expected):
                await connection.execute(statement)


async def test_an_indexer_sees_and_writes_its_own_job_and_the_indexes_of_its_namespace(
    as_role: Callable[[str], str], database: Database
) -> None:
    mine, theirs = uuid4(), uuid4()
    async with connected(database.address()) as owner:
        for number, (job, namespace) in enumerate([(mine, "mine"), (theirs, "theirs")], 1):
            await owner.execute(
                "INSERT INTO jobs (id, namespace, cr_name, target, source, state, attempt) "
                "VALUES ($1, $2, 'a', 'b', 'c', 'running', 1)", job, namespace,
            )  # fmt: skip
            await owner.execute("INSERT INTO work (job_id, seq, path, size) VALUES ($1, 1, 'a', 1)", job)
            await owner.execute("INSERT INTO workers VALUES ($1, 'p', 1, now())", job)
            index = await owner.fetchval(
                "INSERT INTO indexes (namespace, target, source) VALUES ($1, 'b', 'c') RETURNING id", namespace
            )
            await owner.execute(
                "INSERT INTO files (index_id, path, blob, fingerprint, first_chunk, chunks, job_id) "
                "VALUES ($1, 'a', '', '', $2, 0, $3)", index, number, job,
            )  # fmt: skip
            await owner.execute(
                "INSERT INTO segments (index_id, chunks, total_length, first_ids, run_lengths, model, codes) "
                "VALUES ($1, 0, 0, '{}', '{}', '', '')", index,
            )  # fmt: skip
            await owner.execute(
                "INSERT INTO pending_batches (index_id, chunks, total_length, first_ids, run_lengths, vocabulary, "
                "payload, model, codes) VALUES ($1, 0, 0, '{}', '{}', '', '', '', '')", index,
            )  # fmt: skip
    async with connected(as_role(INDEXER), mine) as connection:
        for table in OWN_ROWS:
            assert await connection.fetchval(f"SELECT count(*) FROM {table}") == 1, table
        assert await connection.execute("UPDATE jobs SET message = 'mine'") == "UPDATE 1"
        assert await connection.execute("UPDATE work SET state = 'done'") == "UPDATE 1"
        assert await connection.execute("DELETE FROM files") == "DELETE 1"
        with pytest.raises(REFUSED, match="row-level security"):
            await connection.execute("INSERT INTO work (job_id, seq, path, size) VALUES ($1, 2, 'b', 1)", theirs)
        with pytest.raises(REFUSED, match="row-level security"):
            await connection.execute("INSERT INTO indexes (namespace, target, source) VALUES ('theirs', 'd', 'e')")
    async with connected(as_role(INDEXER)) as connection:  # which says of no job that it is its own
        for table in OWN_ROWS:
            assert await connection.fetchval(f"SELECT count(*) FROM {table}") == 0, table
    async with connected(as_role(SERVER)) as connection:
        assert await connection.fetchval("SELECT count(*) FROM jobs") == 2


@pytest.mark.parametrize("role", [OPERATOR, SERVER])
async def test_a_stuck_pod_that_holds_its_jobs_row_is_ended_by_who_cancels(
    role: str, as_role: Callable[[str], str], database: Database
) -> None:
    job = uuid4()
    async with connected(database.address()) as owner:
        await owner.execute(
            "INSERT INTO jobs (id, namespace, cr_name, target, source, state, attempt, pod) "
            "VALUES ($1, 'code', 'a', 'b', 'c', 'running', 1, 'a-a1')", job,
        )  # fmt: skip
    program = await Database.open(as_role(role), name=role)
    try:
        async with connected(as_role(INDEXER), job) as pod, connected(as_role(INDEXER), job) as of_another_job:
            await of_another_job.execute("SET application_name = 'indexer/another/a-a1'")
            await pod.execute(f"SET application_name = '{connection_name('indexer', job, 'a-a1')}'")
            await pod.execute("BEGIN; UPDATE jobs SET message = 'stuck'")
            assert (await Jobs(program).cancel(job)).state is JobState.CANCELLED
            with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError)):
                await pod.execute("COMMIT")
            await of_another_job.execute("SELECT 1")
            with pytest.raises(REFUSED):
                await of_another_job.execute("SELECT end_connections_of_job($1)", job)
    finally:
        await program.close()


async def test_the_server_removes_indexes_where_the_site_says_so_and_no_longer_when_it_does_not(
    as_role: Callable[[str], str], database: Database
) -> None:
    async with connected(as_role(SERVER)) as server:
        database.rights = Rights(server_deletes=True)
        await database.migrate()
        assert await server.execute("DELETE FROM files") == "DELETE 0"
        database.rights = Rights()
        await database.migrate()
        with pytest.raises(REFUSED):
            await server.execute("DELETE FROM files")


async def test_a_second_look_changes_no_policy(roles: None, database: Database) -> None:
    """To set one locks the table: not under running jobs, unless something has changed."""
    look = "SELECT string_agg(oid::text, ',' ORDER BY oid) FROM pg_policy"
    async with connected(database.address()) as owner:
        before = await owner.fetchval(look)
        await database.migrate()
        assert before and await owner.fetchval(look) == before


async def test_every_table_is_for_some_role_or_said_to_be_for_none(roles: None, database: Database) -> None:
    for_none = {"resources", "helpers"}  # of the embedded runtime; of pods of the release before
    async with connected(database.address()) as owner:
        without = await owner.fetch(
            "SELECT relname FROM pg_class c WHERE relnamespace = current_schema()::regnamespace "
            "AND relkind IN ('r', 'v') AND NOT EXISTS (SELECT FROM unnest($1::text[]) AS role "
            "WHERE has_any_column_privilege(role, c.oid, 'SELECT'))", list(ROLES),
        )  # fmt: skip
    assert {row["relname"] for row in without} == for_none


async def test_the_owner_of_a_database_without_roles_does_all_as_before(database: Database) -> None:
    async with connected(database.address()) as owner:
        assert await owner.fetchval("SELECT count(*) FROM pg_policies") == 0
        await owner.execute("SELECT analyze_table('chunks')")
