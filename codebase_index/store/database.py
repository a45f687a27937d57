"""The connection pool: types, timeouts and keepalives in one place."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg
from pgvector.asyncpg import register_vector

from codebase_index import tracing
from codebase_index.store import queries
from codebase_index.store.address import Address, address_from_env, fixed
from codebase_index.store.error_translation import NO_POOLER, translated
from codebase_index.store.errors import StoreMisconfigured, StoreReadOnly
from codebase_index.store.migrate import SQL, migrate, require_schema
from codebase_index.store.rights import JOB_SETTING, NO_DELETION, Rights, apply

# A dead peer must be noticed within the 10 s in which a job has to resume: 5 s idle, then 3 probes a second
# apart. The same limits on both ends: the server's settings free the locks of a vanished node.
_SERVER_SETTINGS = {
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "1",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "5000",
    "client_connection_check_interval": "2000",
    # A program that hangs, or whose node is gone, in the middle of a transaction keeps its locks for so long. It
    # counts as lost after 4 s without a heartbeat (operator/health.py): then its successor must not wait for them.
    "idle_in_transaction_session_timeout": "5000",
    "jit": "off",
}

_CONNECT_SECONDS = 4.0
"""For a connection. A Postgres that was moved leaves an address behind that does not even refuse: whoever is just
connecting to it has to give up and try again well within the 10 s in which a job has to go on."""


@dataclass
class Database:
    """A pool of connections to one Postgres. Opened lazily: a database that is away is no start-up error."""

    pool: asyncpg.Pool
    address: Address
    owner: Address
    rights: Rights

    @classmethod
    async def open(
        cls, dsn: str | Address | None = None, *, name: str, size: int = 4, timeout: float = 10.0,
        custom_plans: bool = True, job: UUID | None = None, owner: Address | None = None,
        rights: Rights = NO_DELETION,
    ) -> "Database":  # fmt: skip
        """Make a pool of at most `size` connections; none is opened before it is needed.

        `dsn` is an address, or how to find it for each new connection; it defaults to what the environment says.
        `timeout` bounds each statement, in seconds, and connecting, which has _CONNECT_SECONDS at most.
        `custom_plans`: a generic plan knows nothing of how large the asked-for index is: a search by one read the
        vectors of every index (0.9 s) where this one's would do (0.04 s). An indexer, which looks up keys all the
        time, does without and saves a tenth of what Postgres does for it.
        `job` is the one that an indexer works for: a role of its own sees no other. `owner` is the address of the
        role that migrates, if that is another one, and `rights` what the site decides about those of the programs.
        """
        address = fixed(dsn) if isinstance(dsn, str) else dsn or address_from_env()

        async def connect(_: None, **arguments: Any) -> asyncpg.Connection:
            return await asyncpg.connect(address(), **arguments)

        pool = asyncpg.create_pool(
            connect=connect,
            min_size=0,
            max_size=size,
            timeout=min(timeout, _CONNECT_SECONDS),
            command_timeout=timeout,
            max_inactive_connection_lifetime=60,
            server_settings={
                "application_name": name,
                "plan_cache_mode": "force_custom_plan" if custom_plans else "auto",
                **({JOB_SETTING: str(job)} if job else {}),
                **_SERVER_SETTINGS,
            },
            init=_prepare,
            reset=_keep,
        )
        await pool
        return cls(pool, address, owner or address, rights)

    @property
    def idle_connections(self) -> int:
        """How many open connections nobody uses."""
        return int(self.pool.get_idle_size())

    @property
    def used_connections(self) -> int:
        """How many connections are lent."""
        return int(self.pool.get_size() - self.pool.get_idle_size())

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[asyncpg.Connection]:
        """Lend a connection; driver errors leave as errors of the store."""
        with translated(connecting=True):
            connection = await self.pool.acquire()
        try:
            with translated():
                yield connection
        except StoreReadOnly:
            # A demoted primary keeps its connections: only a new one finds the primary of now.
            await self.pool.expire_connections()
            raise
        finally:
            with translated():
                await self.pool.release(connection)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[asyncpg.Connection]:
        """Lend a connection inside a transaction, committed when the block ends without an error."""
        async with self.connection() as connection, connection.transaction():
            yield connection

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[asyncpg.Connection]:
        """Lend a connection that reads the database as it is at its first query, whatever commits meanwhile."""
        async with (
            self.connection() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            yield connection

    async def migrate(self, namespace: str = "default") -> list[str]:
        """Bring the schema and the roles' rights up to date, as the owner. Return the names of the migrations
        applied. Raises SchemaMismatch.

        `namespace` gets the indexes that no job knows any more, where they had none.
        """
        # Not from the pool: its connections need the vector type, which the first migration makes.
        with translated(connecting=True):
            connection = await asyncpg.connect(self.owner(), **_migration_arguments(self.pool))
        with translated():
            try:
                await _require_own_session(connection)
                applied = await migrate(connection, namespace)
                await apply(connection, self.rights)
                return applied
            finally:
                await connection.close()

    async def close(self) -> None:
        """Close every connection, waiting a short while for those that are lent."""
        self.pool.terminate()


def _migration_arguments(pool: asyncpg.Pool) -> dict[str, object]:
    arguments = dict(pool._connect_kwargs)
    arguments["command_timeout"] = 600  # a migration may rewrite a large table
    return arguments


async def _keep(_: asyncpg.Connection) -> None:
    """Return a connection as it is; the pool itself ends a transaction that is still open.

    Nothing is set for a session and no lock is taken for longer than a transaction, so the four statements by
    which the pool makes sure of that would only be one more round trip after each use.
    """


def _trace(query: asyncpg.connection.LoggedQuery) -> None:
    name = queries.name_of(query.query)
    tracing.record(name, query.elapsed, query.exception is not None, **{"db.system.name": "postgresql"})


async def _require_own_session(connection: asyncpg.Connection) -> None:
    """Raise StoreMisconfigured where this connection's settings did not reach Postgres.

    A pooler that is told to (PgBouncer's ignore_startup_parameters) drops them without a word. Then no stuck
    transaction is ended, and the policies of an indexer's role hide its own job from it.
    """
    meant = _SERVER_SETTINGS["idle_in_transaction_session_timeout"]
    found = await connection.fetchval(SQL["idle_timeout"])
    if found != timedelta(milliseconds=int(meant)):
        raise StoreMisconfigured(
            f"the settings of this connection did not reach the database; {NO_POOLER}", retried=True
        )


async def _prepare(connection: asyncpg.Connection) -> None:
    if tracing.is_exporting():
        connection.add_query_logger(_trace)
    await _require_own_session(connection)
    await require_schema(connection)
    try:
        await register_vector(connection)
    except ValueError as error:
        schema = await connection.fetchval(SQL["vector_schema"])
        if schema is None:
            raise StoreMisconfigured(
                "the database's type vector is in no schema of this role's search path; run ALTER ROLE ... SET "
                "search_path = public, SCHEMA with the one that pgvector is in, or ALTER EXTENSION vector SET "
                "SCHEMA public",
                retried=True,
            ) from error
        await register_vector(connection, schema=schema)
