"""How long is waited for the database: for an outage as long as it takes, for a statement a few times."""

import asyncpg
import pytest

from codebase_index.store.database import Database
from codebase_index.store.errors import StatementTimeout, StoreUnavailable
from codebase_index.store.ingest.work import Work
from codebase_indexer import database_retry
from codebase_indexer.database_retry import MAX_TIMEOUTS, DatabaseTimeout, retry_while_unavailable
from tests.store.jobs.test_jobs import started


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """No waiting between two tries."""
    monkeypatch.setattr(database_retry, "INITIAL_DELAY", 0.0)
    monkeypatch.setattr(database_retry, "MAX_DELAY", 0.0)


class Operation:
    """Fails in these ways, one after another, and then succeeds."""

    def __init__(self, *failures: Exception) -> None:
        self._failures = list(failures)
        self.tries = 0

    async def __call__(self) -> str:
        self.tries += 1
        if self._failures:
            raise self._failures.pop(0)
        return "done"


async def test_an_outage_is_waited_for_as_long_as_it_takes() -> None:
    operation = Operation(*[StoreUnavailable("away")] * 200)
    assert await retry_while_unavailable("write", operation) == "done"


async def test_a_statement_that_times_out_again_and_again_is_no_outage() -> None:
    operation = Operation(*[StatementTimeout("too long")] * 200)
    with pytest.raises(
        DatabaseTimeout, match=r"'write' ran into its time limit 5 times in a row; what is committed is kept"
    ):
        await retry_while_unavailable("write", operation)
    assert operation.tries == MAX_TIMEOUTS


async def test_timeouts_around_an_outage_belong_to_it() -> None:
    slow, away = [StatementTimeout("too long")] * (MAX_TIMEOUTS - 1), StoreUnavailable("away")
    assert await retry_while_unavailable("write", Operation(*slow, away, *slow, away, *slow)) == "done"


async def test_a_lock_that_nobody_gives_up_is_told_and_does_not_hold_a_job_for_ever(
    database: Database, dsn: str
) -> None:
    job_id = await started(database)
    other = await asyncpg.connect(dsn)
    impatient = await Database.open(dsn, name="impatient", timeout=0.3)
    try:
        async with other.transaction():
            await other.execute("LOCK TABLE work")
            with pytest.raises(DatabaseTimeout, match="'count what is left' ran into its time limit"):
                await retry_while_unavailable("count what is left", lambda: Work(impatient).todo(job_id))
        assert await retry_while_unavailable("count what is left", lambda: Work(impatient).todo(job_id)) == 0
    finally:
        await impatient.close()
        await other.close()
