"""A PgBouncer in transaction mode between a program and its database is refused at once, with what to do."""

from collections.abc import Iterator

import pytest

from codebase_index.store.database import Database
from codebase_index.store.errors import StoreMisconfigured
from tests.support.pgbouncer import pooled

IGNORED = (
    "extra_float_digits, plan_cache_mode, tcp_keepalives_idle, tcp_keepalives_interval, tcp_keepalives_count, "
    "tcp_user_timeout, client_connection_check_interval, idle_in_transaction_session_timeout, jit, codebase.job"
)


@pytest.fixture(params=[{}, {"ignore_startup_parameters": IGNORED}], ids=["as it is", "dropping settings"])
def address(dsn: str, request: pytest.FixtureRequest) -> Iterator[str]:
    with pooled(dsn, **request.param) as address:
        yield address


async def test_a_pooler_is_refused_when_a_program_connects(address: str) -> None:
    database = await Database.open(address, name="test")
    with pytest.raises(StoreMisconfigured, match=r"such as PgBouncer.*use the database's own address"):
        async with database.connection():
            pass
    await database.close()


async def test_a_pooler_is_refused_before_the_schema_is_made(address: str) -> None:
    database = await Database.open(address, name="test")
    with pytest.raises(StoreMisconfigured, match=r"such as PgBouncer.*use the database's own address"):
        await database.migrate()
    await database.close()
