"""Migrations are numbered, checked and forward only; a database of the last release is upgraded with its data."""

import asyncio
import hashlib
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from importlib.resources import files

import asyncpg
import pytest
from pgvector import Vector

from codebase_index.api.job import JobState
from codebase_index.embedding.static import StaticEmbedder
from codebase_index.lexical.words import terms
from codebase_index.store import migrate as module
from codebase_index.store.catalog.indexes import Indexes
from codebase_index.store.catalog.removal import Removal
from codebase_index.store.database import Database
from codebase_index.store.errors import SchemaMismatch, StatementRefused, StoreMisconfigured, StoreUnavailable
from codebase_index.store.ingest.work import Work
from codebase_index.store.jobs.jobs import Jobs
from codebase_index.store.jobs.rows import JobRow
from codebase_index.store.migrate import Migration, migrations
from codebase_index.store.query.hybrid_search import Search
from tests.store.release import catalog, make_schema, restore

RELEASED = {
    "0001_schema.sql": "d2997415c0c2b9df3a62f459c7fa8eda1e322d01be583e327ed746638802f77e",
    "0002_namespaces.sql": "292fbcbf06242172a67a22122afac3571ff9aba16f0c89a9a747694b1b56c1fd",
    "0003_relist.sql": "037abdf3542ea4ca62b95cdd54c306da3cdfed24b69d5b036b687c8406e060d7",
    "0004_content.sql": "7b0af34c1c52ec9d3ba89b4abf9b89a5c04ca77f3c6403d1a08f850740ce518a",
    "0005_lists_of_jobs.sql": "5015ec3ef2b8047ca3e02a0dc5981ead772773a338250e975828265a70039568",
    "0006_callers.sql": "17f337e9032cde7879dd668043280814fa180427274ab3f4dc21dd7c0be611b6",
    "0007_starts.sql": "275272209f84cba29bf348286d26a539c8f3cd74b28987fa9ed4c0d16ecaa280",
    "0008_one_target_a_repository.sql": "f04bb00de58124284e4e0c4e955dd236cfb70f8b4a6b29f7f998e0023b619ded",
    "0009_source_mark.sql": "fb3ba590a1eb2c5ec92049414be86bc0333e52310572a8a954ff154ab639fe12",
}
"""What a release has applied somewhere, and its digest: such a file is never edited, a new one goes on."""


@pytest.fixture
async def connection(empty_database: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(empty_database)
    yield connection
    await connection.close()


def known(monkeypatch: pytest.MonkeyPatch, *more: tuple[int, str]) -> list[Migration]:
    """Let the program know further migrations; return all."""
    extra = [
        Migration(number, f"{number:04}_more.sql", hashlib.sha256(sql.encode()).hexdigest(), sql)
        for number, sql in more
    ]
    everything = [*migrations(), *extra]
    monkeypatch.setattr(module, "migrations", lambda: everything)
    return everything


def test_no_migration_that_was_released_is_edited() -> None:
    folder = files("codebase_index.store") / "schema"
    assert {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in RELEASED} == RELEASED


def test_every_number_is_given_once() -> None:
    numbers = [migration.number for migration in migrations()]
    assert numbers == sorted(set(numbers))


async def test_a_database_of_the_last_release_keeps_all_its_data(
    connection: asyncpg.Connection, program: Database
) -> None:
    await restore(connection)
    tables = ("jobs", "work", "helpers", "files", "chunks", "embeddings", "pending_batches", "segments",
              "postings", "embedding_cache", "indexes")  # fmt: skip
    before = {table: await connection.fetchval(f"SELECT count(*) FROM {table}") for table in tables}
    jobs = {row["id"]: row for row in await connection.fetch("SELECT * FROM jobs")}
    assert all(before.values())

    await program.migrate()

    after = {table: await connection.fetchval(f"SELECT count(*) FROM {table}") for table in (*tables, "workers")}
    assert after == {**before, "workers": before["helpers"]}
    for job_id, row in (await Jobs(program).get_many(list(jobs))).items():
        if row.files_total is None and row.state is JobState.BLOCKED:
            continue  # it has opened no index yet: see below
        assert {name: getattr(row, name) for name in JobRow.model_fields if name in jobs[job_id]} == {
            name: value for name, value in jobs[job_id].items() if name in JobRow.model_fields
        }
    states = Counter(row["state"] for row in jobs.values())
    assert set(states) == {"pending", "running", "blocked", "completed", "failed", "cancelled"}
    (running,) = (job_id for job_id, row in jobs.items() if row["cr_name"] == "running-1")
    assert await Work(program).todo(running) > 0


async def test_what_the_last_release_indexed_is_found_after_the_upgrade(
    connection: asyncpg.Connection, program: Database
) -> None:
    await restore(connection)
    await program.migrate()
    indexes = {(row.source, row.ref): row for row in await Indexes(program).list()}
    embedder = StaticEmbedder.load()
    for source, ref, word in [
        ("/repos/shop", None, "shop_7"),
        ("/repos/shop", "stable", "shop_7"),
        ("/repos/notes", None, "notes_7"),
        ("/repos/forgotten", None, "forgotten_7"),
    ]:
        found = await Search(program).candidates(
            [indexes[source, ref].id],
            vectors={embedder.name: embedder.embed_query(word)},
            terms=terms(word),
            limit=5,
        )
        best = max(found.candidates, key=lambda candidate: candidate.lexical_score)
        assert best.path == f"package_2/{word}.py"
        assert best.vector_score is not None and best.vector_score > 0
    assert ("/repos/leaving", None) not in indexes
    assert {(row.source, row.removal_started) for row in await Removal(program).overview()} >= {
        ("/repos/leaving", True)
    }


async def test_each_index_goes_to_the_namespace_of_its_jobs(
    connection: asyncpg.Connection, program: Database
) -> None:
    await restore(connection)
    await program.migrate("migrating")
    rows = await connection.fetch("SELECT source, ref, namespace FROM indexes")
    assert {(row["source"], row["ref"]): row["namespace"] for row in rows} == {
        ("/repos/shop", None): "code",
        ("/repos/shop", "stable"): "code",
        ("/repos/large", None): "code",  # a job under way
        ("/repos/paused", None): "code",  # a suspended one, whose list counts on what is there
        ("/repos/notes", None): "other",  # of two namespaces, the one that indexed it last
        ("/repos/forgotten", None): "migrating",  # no job is left
        ("/repos/leaving", None): "migrating",
    }


async def test_of_two_namespaces_the_one_whose_job_is_under_way_keeps_the_index(
    connection: asyncpg.Connection, program: Database
) -> None:
    await restore(connection)
    await connection.execute("UPDATE jobs SET namespace = 'busy' WHERE cr_name = 'running-1'")
    await connection.execute(
        "INSERT INTO jobs (id, namespace, cr_name, target, source, state, completed_at)"
        " SELECT gen_random_uuid(), 'later', 'later-1', target, source, 'completed', now() FROM jobs"
        " WHERE cr_name = 'running-1'"
    )
    await program.migrate()
    assert await connection.fetchval("SELECT namespace FROM indexes WHERE source = '/repos/large'") == "busy"


async def test_an_upgraded_database_and_a_new_one_have_the_same_schema(
    connection: asyncpg.Connection, program: Database, dsn: str
) -> None:
    await restore(connection)
    await program.migrate()
    new = await asyncpg.connect(dsn)
    try:
        assert await catalog(connection) == await catalog(new)
    finally:
        await new.close()


async def test_a_database_of_a_build_before_the_release_is_refused_with_what_it_lacks(
    connection: asyncpg.Connection, program: Database
) -> None:
    await make_schema(connection)
    await connection.execute("INSERT INTO schema_migrations (number, name) VALUES (1, '0001_schema.sql')")
    await connection.execute("ALTER TABLE jobs DROP COLUMN arrival CASCADE")
    with pytest.raises(SchemaMismatch, match=r"lacks column jobs\.arrival .*a new database"):
        await program.migrate()
    assert "digest" not in await _columns(connection, "schema_migrations")


async def test_a_column_that_the_release_did_not_have_is_refused_too(
    connection: asyncpg.Connection, program: Database
) -> None:
    await make_schema(connection)
    await connection.execute("INSERT INTO schema_migrations (number, name) VALUES (1, '0001_schema.sql')")
    await connection.execute("ALTER TABLE chunks ADD COLUMN signals bytea NOT NULL")
    with pytest.raises(SchemaMismatch, match=r"has column chunks\.signals"):
        await program.migrate()


async def test_an_index_that_an_administrator_added_is_no_fault(
    connection: asyncpg.Connection, program: Database
) -> None:
    await make_schema(connection)
    await connection.execute("INSERT INTO schema_migrations (number, name) VALUES (1, '0001_schema.sql')")
    await connection.execute("CREATE INDEX of_our_own ON jobs (state)")
    await program.migrate()


async def test_a_newer_database_says_that_the_program_is_to_be_upgraded(
    program: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as newer:
        known(newer, (9998, "CREATE TABLE later ()"))
        await program.migrate()
    with pytest.raises(SchemaMismatch, match=r"older than the database: that has 9998_more\.sql.*upgrade"):
        await program.migrate()
    # Its pods that run while the newer one is rolled out go on.
    assert await Jobs(program).unfinished() == []


async def test_an_edited_migration_is_named(program: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    await program.migrate()
    first, *rest = migrations()
    monkeypatch.setattr(module, "migrations", lambda: [replace(first, digest="0" * 64), *rest])
    with pytest.raises(SchemaMismatch, match=r"another build: its 0001_schema\.sql .*000000000000"):
        await program.migrate()


async def test_a_migration_that_came_in_between_is_named(
    program: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as other:
        known(other, (9998, "CREATE TABLE later ()"))
        await program.migrate()
    known(monkeypatch, (9997, "CREATE TABLE ours ()"), (9998, "CREATE TABLE later ()"))
    with pytest.raises(SchemaMismatch, match=r"its 9998_more\.sql .* is not this program's 9997_more\.sql"):
        await program.migrate()


async def test_a_database_of_another_program_is_left_alone(
    connection: asyncpg.Connection, program: Database
) -> None:
    await connection.execute("CREATE TABLE schema_migrations (version text PRIMARY KEY)")
    with pytest.raises(SchemaMismatch, match="of another program"):
        await program.migrate()
    await connection.execute("DROP TABLE schema_migrations; CREATE TABLE jobs (id integer)")
    with pytest.raises(SchemaMismatch, match=r'"jobs" already exists.*one of its own'):
        await program.migrate()
    assert await _columns(connection, "jobs") == {"id"}


async def test_a_program_newer_than_the_database_waits_for_the_operator(
    program: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await program.migrate()
    known(monkeypatch, (9999, "SELECT"))
    with pytest.raises(StoreUnavailable, match=r"schema \d+, and this program needs 9999; .*operator"):
        await Jobs(program).unfinished()


async def test_several_programs_that_start_at_once_apply_each_migration_once(empty_database: str) -> None:
    programs = [await Database.open(empty_database, name=f"program-{n}") for n in range(6)]
    try:
        applied = await asyncio.gather(*(program.migrate() for program in programs))
    finally:
        for program in programs:
            await program.close()
    assert sorted(name for names in applied for name in names) == [migration.name for migration in migrations()]


async def test_one_that_fails_leaves_those_before_it_and_nothing_of_its_own(
    connection: asyncpg.Connection, program: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    known(monkeypatch, (9998, "CREATE TABLE good ()"), (9999, "CREATE TABLE half (); SELECT 1 / 0"))
    with pytest.raises(StatementRefused, match="division by zero"):
        await program.migrate()
    assert await connection.fetchval("SELECT max(number) FROM schema_migrations") == 9998
    assert await connection.fetchval("SELECT to_regclass('half')") is None


async def test_a_migration_waits_for_no_transaction_of_an_old_pod_for_long(
    connection: asyncpg.Connection, program: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await program.migrate()
    known(monkeypatch, (9999, "ALTER TABLE jobs ADD COLUMN later text"))
    monkeypatch.setattr(module, "LOCK_TIMEOUT", "100ms")
    async with connection.transaction():
        await connection.fetch("SELECT * FROM jobs")
        with pytest.raises(StoreUnavailable, match=r"holds a table.*tried again"):
            await program.migrate()
    assert await program.migrate() == ["9999_more.sql"]


async def test_a_migration_behind_one_that_is_stuck_says_who_holds_it(
    connection: asyncpg.Connection, program: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await program.migrate()
    monkeypatch.setattr(module, "WAIT_TIMEOUT", "100ms")
    await connection.execute("SET application_name = 'the stuck one'")
    pid = await connection.fetchval("SELECT pg_backend_pid()")
    async with connection.transaction():
        await connection.execute(module.SQL["lock"], module.LOCK_KEY)
        with pytest.raises(
            StoreUnavailable, match=rf"by another program: the stuck one at .* \(pid {pid}\), which"
        ):
            await program.migrate()
    assert await program.migrate() == []


async def _columns(connection: asyncpg.Connection, table: str) -> set[str]:
    rows = await connection.fetch(
        "SELECT attname FROM pg_attribute WHERE attrelid = $1::text::regclass AND attnum > 0 AND NOT attisdropped",
        table,
    )
    return {row["attname"] for row in rows}


async def test_pgvector_may_have_a_schema_of_its_own(empty_database: str, connection: asyncpg.Connection) -> None:
    """As managed services have it: the search path finds it, and without that the answer says what to do."""
    await connection.execute("CREATE SCHEMA extensions; CREATE EXTENSION vector SCHEMA extensions")
    name = await connection.fetchval("SELECT current_database()")
    await connection.execute(f"ALTER DATABASE {name} SET search_path = public, extensions")
    program = await Database.open(empty_database, name="program")
    await program.migrate()
    async with program.connection() as prepared:
        assert await prepared.fetchval("SELECT '[1,2]'::vector") == Vector([1, 2])
    await program.close()
    await connection.execute(f"ALTER DATABASE {name} RESET search_path")
    lost = await Database.open(empty_database, name="lost")
    with pytest.raises(StoreMisconfigured, match=r"ALTER ROLE \.\.\. SET search_path = public, SCHEMA"):
        async with lost.connection():
            pass
    await lost.close()
