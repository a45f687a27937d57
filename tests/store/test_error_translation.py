"""Every state of a real Postgres leaves the store as one of its own errors, and passes when it is mended.

Each test has a role and a database of its own, and breaks only these.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import asyncpg
import pytest

from codebase_index.store.address import address_from_env
from codebase_index.store.database import Database
from codebase_index.store.errors import (
    InsufficientStorage,
    RowLocked,
    StatementRefused,
    StatementTimeout,
    StoreError,
    StoreMisconfigured,
    StoreReadOnly,
    StoreUnavailable,
    TransactionAborted,
)
from codebase_index.store.jobs.jobs import Jobs
from tests.conftest import with_database

PASSWORD = "hunter2"


@dataclass
class Site:
    """A database with a role of its own, and the administrator who breaks and mends it."""

    admin: asyncpg.Connection
    role: str
    name: str
    socket: str
    file: Path

    async def do(self, sql: str) -> None:
        """Run SQL as the administrator: on this database from outside, all else in it."""
        if "ALTER DATABASE" in sql:
            await self.admin.execute(sql.format(role=self.role, name=self.name))
            return
        inside = await asyncpg.connect(self.superuser)
        await inside.execute(sql.format(role=self.role, name=self.name))
        await inside.close()

    @property
    def superuser(self) -> str:
        return f"postgresql://postgres@/{self.name}?host={self.socket}"

    def write_address(self, password: str = PASSWORD, name: str | None = None) -> None:
        """Put an address into the file, as the kubelet does when a Secret was changed."""
        self.file.write_text(f"postgresql://{self.role}:{password}@/{name or self.name}?host={self.socket}\n")

    async def open(self) -> Database:
        return await Database.open(address_from_env({"CODEBASE_DATABASE_URL_FILE": str(self.file)}), name="test")


@pytest.fixture
async def site(postgres: str, dsn: str, tmp_path: Path) -> AsyncIterator[Site]:
    role = f"role_{uuid4().hex[:8]}"
    name = urlsplit(dsn).path.lstrip("/")
    admin = await asyncpg.connect(postgres)
    site = Site(admin, role, name, parse_qs(urlsplit(postgres).query)["host"][0], tmp_path / "url")
    await admin.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}'")
    hba = Path(await admin.fetchval("SHOW hba_file"))
    hba.write_text(f"local all {role} scram-sha-256\n{hba.read_text()}")
    await admin.execute("SELECT pg_reload_conf()")
    for kind in ("TABLES", "SEQUENCES", "FUNCTIONS"):
        await site.do(f"GRANT ALL ON ALL {kind} IN SCHEMA public TO {{role}}")
    site.write_address()
    yield site
    await site.do("DROP OWNED BY {role}")
    await admin.execute(f"DROP ROLE {role}")
    await admin.close()


async def use(database: Database) -> None:
    """Read as the operator does in each cycle: a state that refuses writes is found too."""
    await Jobs(database).list_active("ns", [])


async def write(database: Database) -> None:
    async with database.connection() as connection:
        await connection.execute("UPDATE jobs SET message = message")


Use = Callable[[Database], object]


@pytest.mark.parametrize(
    ("broken", "mended", "using", "kind", "says"),
    [
        pytest.param(
            "ALTER ROLE {role} PASSWORD 'rotated'", f"ALTER ROLE {{role}} PASSWORD '{PASSWORD}'",
            use, StoreMisconfigured, "password authentication failed .* correct the password", id="wrong password",
        ),
        pytest.param(
            "ALTER ROLE {role} NOLOGIN", "ALTER ROLE {role} LOGIN",
            use, StoreMisconfigured, "not permitted to log in .* let this role log in", id="role may not log in",
        ),
        pytest.param(
            "ALTER ROLE {role} SET default_transaction_read_only = on", "ALTER ROLE {role} RESET ALL",
            use, StoreReadOnly, "takes no writes.* name its primary", id="read-only, seen by a read",
        ),
        pytest.param(
            "ALTER ROLE {role} SET default_transaction_read_only = on", "ALTER ROLE {role} RESET ALL",
            write, StoreReadOnly, "cannot execute UPDATE in a read-only transaction", id="read-only",
        ),
        pytest.param(
            "REVOKE ALL ON jobs FROM {role}", "GRANT ALL ON jobs TO {role}",
            use, StoreMisconfigured, "permission denied for table jobs .* grant this right", id="right withdrawn",
        ),
        pytest.param(
            "ALTER DATABASE {name} RENAME TO {name}_away", "ALTER DATABASE {name}_away RENAME TO {name}",
            use, StoreMisconfigured, "does not exist .* create the database", id="database missing",
        ),
        pytest.param(
            "ALTER DATABASE {name} ALLOW_CONNECTIONS false", "ALTER DATABASE {name} ALLOW_CONNECTIONS true",
            use, StoreMisconfigured, "not currently accepting .* let the database accept", id="no connections",
        ),
        pytest.param(
            "ALTER TABLE jobs RENAME TO jobs_away", "ALTER TABLE jobs_away RENAME TO jobs",
            use, StoreMisconfigured, "its schema is missing .* operator's log", id="table missing",
        ),
        pytest.param(
            "ALTER TABLE jobs RENAME COLUMN message TO text", "ALTER TABLE jobs RENAME COLUMN text TO message",
            write, StoreMisconfigured, "another version's", id="column missing",
        ),
        pytest.param(
            "ALTER ROLE {role} CONNECTION LIMIT 0", "ALTER ROLE {role} CONNECTION LIMIT -1",
            use, StoreUnavailable, "too many connections", id="too many connections",
        ),
    ],
)  # fmt: skip
async def test_a_state_is_named_with_what_to_do_and_passes_when_it_is_mended(
    site: Site, broken: str, mended: str, using: Use, kind: type[StoreError], says: str
) -> None:
    database = await site.open()
    try:
        await site.do(broken)
        with pytest.raises(kind, match=says) as raised:
            await using(database)  # type: ignore[misc]
        assert type(raised.value) is kind and "it is tried again" in str(raised.value)
        assert PASSWORD not in str(raised.value)
        await site.do(mended)
        await database.pool.expire_connections()  # settings of a role are read when it connects
        await using(database)  # type: ignore[misc]
    finally:
        await database.close()


async def test_a_password_that_was_rotated_is_read_again_without_a_restart(site: Site) -> None:
    database = await site.open()
    try:
        await use(database)
        await site.do("ALTER ROLE {role} PASSWORD 'rotated'")
        await use(database)  # an open connection stays
        await site.admin.execute(
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{site.role}'"
        )
        await asyncio.sleep(0.1)
        with pytest.raises(StoreUnavailable):
            await use(database)
        with pytest.raises(StoreMisconfigured, match="password"):
            await use(database)
        site.write_address("rotated")
        await use(database)
    finally:
        await database.close()


async def test_an_address_that_is_missing_or_nonsense_is_waited_for(site: Site) -> None:
    site.file.unlink()
    database = await site.open()
    try:
        with pytest.raises(StoreMisconfigured, match="cannot be read"):
            await use(database)
        site.file.write_text("hunter2")
        with pytest.raises(StoreMisconfigured, match="holds no Postgres address") as raised:
            await use(database)
        assert "hunter2" not in str(raised.value)
        site.write_address()
        await use(database)
    finally:
        await database.close()


@pytest.mark.parametrize("character", list("/#?[@:%"))
async def test_an_address_that_the_driver_cannot_read_says_so_and_shows_none_of_it(
    site: Site, character: str
) -> None:
    """A password that was not escaped makes another address of it, at best one that nobody answers."""
    database = await site.open()
    try:
        for address in (
            f"postgresql://u:hunter{character}2@localhost:1/d",
            "postgresql://u:hunter2@localhost:x/d",
        ):
            site.file.write_text(address)
            for attempt in (use(database), database.migrate()):
                with pytest.raises(StoreUnavailable) as raised:
                    await attempt
                assert "hunter" not in f"{raised.value}{raised.value.__cause__}{raised.value.__suppress_context__}"
        site.write_address()
        await use(database)
    finally:
        await database.close()


async def test_a_demoted_primary_is_left_for_the_one_that_the_address_names_now(site: Site, postgres: str) -> None:
    """Its connections stay open: who keeps them never finds the new primary."""
    database = await site.open()
    try:
        await use(database)
        primary = f"{site.name}_primary"
        await site.admin.execute(f"CREATE DATABASE {primary} TEMPLATE migrated")
        try:
            there = await asyncpg.connect(with_database(postgres, primary))
            await there.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {site.role}")
            await there.close()
            # A connection that is open turns read-only, as those to a primary that is demoted by a switch-over.
            async with database.pool.acquire() as connection:
                await connection.execute("SET default_transaction_read_only = on")
            site.write_address(name=primary)
            with pytest.raises(StoreReadOnly):
                await use(database)
            await use(database)
            async with database.connection() as connection:
                assert await connection.fetchval("SELECT current_database()") == primary
        finally:
            await database.close()
            await site.admin.execute(f"DROP DATABASE {primary} WITH (FORCE)")
    finally:
        await database.close()


async def test_a_role_that_may_not_create_the_extension_is_told_what_to_run(site: Site, postgres: str) -> None:
    empty = f"{site.name}_empty"
    await site.admin.execute(f"CREATE DATABASE {empty}")
    try:
        inside = await asyncpg.connect(with_database(postgres, empty))
        site.write_address(name=empty)
        database = await site.open()
        try:
            with pytest.raises(StoreMisconfigured, match="has no schema yet"):
                await use(database)
            with pytest.raises(StoreMisconfigured, match="permission denied for schema public"):
                await database.migrate()
            await inside.execute(f"GRANT CREATE ON SCHEMA public TO {site.role}")
            with pytest.raises(StoreMisconfigured, match=r"run in this database: CREATE EXTENSION vector"):
                await database.migrate()
            await inside.execute("CREATE EXTENSION vector")
            assert await database.migrate()
            await use(database)
        finally:
            await database.close()
            await inside.close()
    finally:
        await site.admin.execute(f"DROP DATABASE {empty} WITH (FORCE)")


async def test_an_extension_that_the_server_lacks_is_asked_for(site: Site) -> None:
    database = await Database.open(site.superuser, name="test")
    try:
        with pytest.raises(StoreMisconfigured, match="install pgvector on its server"):
            async with database.connection() as connection:
                await connection.execute("CREATE EXTENSION vector_of_another_world")
    finally:
        await database.close()


async def test_a_database_that_is_dropped_under_a_pool_is_missing_afterwards(site: Site, postgres: str) -> None:
    doomed = f"{site.name}_doomed"
    await site.admin.execute(f"CREATE DATABASE {doomed} TEMPLATE migrated")
    database = await Database.open(with_database(postgres, doomed), name="test")
    try:
        await use(database)
        await site.admin.execute(f"DROP DATABASE {doomed} WITH (FORCE)")
        await asyncio.sleep(0.1)
        with pytest.raises(StoreUnavailable):
            await use(database)
        with pytest.raises(StoreMisconfigured, match="create the database"):
            await use(database)
    finally:
        await database.close()


async def test_a_statement_that_takes_too_long_is_no_outage(site: Site) -> None:
    """By the limit of the server, and by our own."""
    await site.do("ALTER ROLE {role} SET statement_timeout = '50ms'")
    for database in (await site.open(), await Database.open(site.superuser, name="test", timeout=0.2)):
        try:
            with pytest.raises(StatementTimeout, match="it is tried again"):
                async with database.connection() as connection:
                    await connection.execute("SELECT pg_sleep(20)")
            async with database.connection() as connection:
                assert await connection.fetchval("SELECT 1") == 1
        finally:
            await database.close()


async def test_a_row_that_others_lock_is_tried_again(site: Site, database: Database) -> None:
    await site.do("ALTER ROLE {role} SET lock_timeout = '50ms'")
    waiting = await site.open()
    try:
        async with database.transaction() as holder:
            await holder.execute("LOCK TABLE jobs")
            with pytest.raises(RowLocked, match="lock timeout"):
                await use(waiting)
        await use(waiting)
    finally:
        await waiting.close()


async def test_a_deadlock_is_tried_again(database: Database) -> None:
    async def lock(first: int, second: int, both: asyncio.Barrier) -> None:
        async with database.transaction() as connection:
            await connection.execute("SELECT pg_advisory_xact_lock($1)", first)
            await both.wait()
            await connection.execute("SELECT pg_advisory_xact_lock($1)", second)

    both = asyncio.Barrier(2)
    outcomes = await asyncio.gather(lock(1, 2, both), lock(2, 1, both), return_exceptions=True)
    (loser,) = [outcome for outcome in outcomes if outcome is not None]
    assert type(loser) is TransactionAborted and "deadlock" in str(loser)


async def test_a_serialization_failure_is_tried_again(database: Database) -> None:
    async with database.connection() as connection:
        await connection.execute("CREATE TABLE counted (n integer); INSERT INTO counted VALUES (0)")
    with pytest.raises(TransactionAborted, match="could not serialize"):
        async with database.snapshot() as reader:
            await reader.execute("SET TRANSACTION READ WRITE")
            await reader.fetchval("SELECT n FROM counted")
            async with database.connection() as other:
                await other.execute("UPDATE counted SET n = 1")
            await reader.execute("UPDATE counted SET n = 2")


async def test_a_plan_that_a_migration_made_stale_is_tried_again(database: Database) -> None:
    async with database.connection() as connection:
        await connection.execute("CREATE TABLE widened (n integer)")
    with pytest.raises(TransactionAborted, match="schema was changed"):
        async with database.transaction() as connection:
            await connection.fetch("SELECT * FROM widened")
            async with database.connection() as other:
                await other.execute("SET lock_timeout = '5s'")
            await connection.execute("ALTER TABLE widened ADD COLUMN m integer")
            await connection.fetch("SELECT * FROM widened")


async def test_a_full_disk_stops_and_says_how_to_make_room(database: Database) -> None:
    """Raised by Postgres as for a real one, which tests/e2e/test_full_disk.py fills on the cluster."""
    with pytest.raises(InsufficientStorage, match="enlarge the database's volume"):
        async with database.connection() as connection:
            await connection.execute("DO $$ BEGIN RAISE 'could not extend file' USING ERRCODE = '53100'; END $$")


@pytest.mark.parametrize(
    ("statement", "arguments"),
    [
        ("SELEC 1", []),
        ("INSERT INTO work (job_id, seq, path, size) VALUES (gen_random_uuid(), 1, 'a secret path', 1)", []),
        ("SELECT $1::text", ["a\0b"]),  # what a repository or a job may hold
        ("SELECT $1::text", [7]),  # what the driver itself refuses
        ("DO $$ BEGIN RAISE 'no' USING ERRCODE = 'XX000'; END $$", []),
    ],
    ids=["syntax", "constraint", "a NUL", "a wrong type", "internal"],
)
async def test_what_the_same_statement_would_meet_again_is_a_bug_and_not_retried(
    database: Database, statement: str, arguments: list[object]
) -> None:
    with pytest.raises(StatementRefused, match="this is a bug: please report it") as raised:
        async with database.connection() as connection:
            await connection.execute(statement, *arguments)
    assert not isinstance(raised.value, StoreUnavailable)
    assert "a secret path" not in str(raised.value)  # Postgres quotes values in its details
