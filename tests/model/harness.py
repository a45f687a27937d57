"""The bench of the model: an event loop, a database with the model's clock in it, and the oracle's connection."""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, Self, TypeVar

import asyncpg

from codebase_index.store.database import Database
from tests.conftest import with_database
from tests.model.faults import FaultInjector

T = TypeVar("T")
START = datetime(2026, 5, 1, 12, tzinfo=UTC)

# The product's now() becomes the model's clock, so that minutes pass without waiting. The triggers write down what
# the product does, for the oracle: nothing is sampled.
_SETUP = """
CREATE TABLE model_clock (now timestamptz NOT NULL);
CREATE FUNCTION public.now() RETURNS timestamptz LANGUAGE sql STABLE AS 'SELECT now FROM public.model_clock';
CREATE TABLE model_changes (
    number bigint GENERATED ALWAYS AS IDENTITY, job_id uuid, from_state job_state, to_state job_state,
    raised boolean, fell text[], slots bigint);
CREATE FUNCTION model_note_job() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO model_changes (job_id, from_state, to_state, raised, fell, slots) VALUES (
        OLD.id, OLD.state, NEW.state, NEW.attempt > OLD.attempt,
        ARRAY(SELECT name FROM (VALUES
            ('attempt', OLD.attempt > NEW.attempt), ('files_indexed', OLD.files_indexed > NEW.files_indexed),
            ('files_skipped', OLD.files_skipped > NEW.files_skipped), ('percent', OLD.percent > NEW.percent),
            ('chunks_created', OLD.chunks_created > NEW.chunks_created),
            ('files_repeated', OLD.files_repeated > NEW.files_repeated),
            ('failures', OLD.failures > NEW.failures)) AS v (name, less) WHERE less),
        (SELECT count(*) FROM jobs WHERE slot));
    RETURN NULL;
END $$;
CREATE TRIGGER model_note_job AFTER UPDATE ON jobs FOR EACH ROW EXECUTE FUNCTION model_note_job();
CREATE TABLE model_starts (job_id uuid, seq integer);
CREATE FUNCTION model_note_start() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO model_starts VALUES (NEW.job_id, NEW.seq);
    RETURN NULL;
END $$;
CREATE TRIGGER model_note_start AFTER UPDATE ON work FOR EACH ROW
    WHEN (NEW.state = 'todo' AND NEW.claimed_by IS NOT NULL
          AND (OLD.claimed_by, OLD.attempt) IS DISTINCT FROM (NEW.claimed_by, NEW.attempt))
    EXECUTE FUNCTION model_note_start();
"""

_WIPE = """
DELETE FROM jobs; DELETE FROM indexes; DELETE FROM files; DELETE FROM chunks; DELETE FROM model_changes;
DELETE FROM model_starts; DELETE FROM model_clock; INSERT INTO model_clock VALUES ('2026-05-01 12:00:00+00');
"""


class Bench:
    """What outlives the examples."""

    def __init__(self, uri: str) -> None:
        self.loop = asyncio.new_event_loop()
        self.now = START
        self._uri = uri
        self._halted: list[tuple[asyncio.Task[Any], FaultInjector]] = []
        self.loop.run_until_complete(self._open())

    async def _open(self) -> None:
        admin = await asyncpg.connect(self._uri)
        await admin.execute("CREATE DATABASE model TEMPLATE migrated")
        # pg_catalog behind public: the product's now() is found here first.
        await admin.execute("ALTER DATABASE model SET search_path = public, pg_catalog")
        await admin.execute("ALTER DATABASE model SET synchronous_commit = off")
        await admin.execute("ALTER DATABASE model SET deadlock_timeout = '100ms'")
        await admin.close()
        dsn = with_database(self._uri, "model")
        self.oracle, self._watcher = await asyncpg.connect(dsn), await asyncpg.connect(dsn)
        await self.oracle.execute(_SETUP)
        self.database = await Database.open(dsn, name="model", size=12)

    async def close(self) -> None:
        """Close the connections; the server goes with the fixture."""
        await self.database.close()
        await self.oracle.close()
        await self._watcher.close()

    def shut(self) -> None:
        """End."""
        self.loop.run_until_complete(self.close())
        self.loop.close()

    # --- running -----------------------------------------------------------------------------------

    def run(self, work: Coroutine[Any, Any, T], injector: FaultInjector | None = None) -> T | None:
        """Carry out one step of one process. None: it is halted by its injector, until `wake`."""
        self.advance(0.001)  # no two things happen at one instant
        return self.loop.run_until_complete(self._run(work, injector))

    async def _run(self, work: Coroutine[Any, Any, T], injector: FaultInjector | None) -> T | None:
        task = asyncio.ensure_future(work)
        halt = asyncio.ensure_future(injector.halted.wait()) if injector else None
        try:
            while not task.done():
                waited = {task, halt} if halt else {task}
                patience = 0.05 if self._halted else None
                await asyncio.wait(waited, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
                if injector and injector.halted.is_set() and not task.done():
                    self._halted.append((task, injector))
                    return None
                if not task.done() and await self._lock_awaited():
                    await self._wake()  # it waits for a transaction that stands still
            return task.result()
        finally:
            if halt:
                halt.cancel()

    async def _lock_awaited(self) -> bool:
        waiting: bool = await self._watcher.fetchval(
            "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() "
            "AND wait_event_type = 'Lock')"
        )
        return waiting

    @property
    def halted(self) -> bool:
        """Whether somebody stands still in the middle of a step."""
        return bool(self._halted)

    def wake(self) -> None:
        """Let everything that stands still go on to its end."""
        self.loop.run_until_complete(self._wake())

    async def _wake(self) -> None:
        halted, self._halted = self._halted, []
        for task, injector in halted:
            injector.gate.set()
            await task

    # --- the clock and the examples ----------------------------------------------------------------

    def clock(self) -> type[datetime]:
        """Return a `datetime` whose now() is the model's."""
        bench = self

        class Clock(datetime):
            @classmethod
            def now(cls, tz: tzinfo | None = None) -> Self:
                return cls.combine(bench.now.date(), bench.now.timetz())

        return Clock

    def wipe(self) -> None:
        """Begin an example."""
        self.now = START
        for task, _ in self._halted:  # of an example that failed
            task.cancel()
            with suppress(asyncio.CancelledError):
                self.loop.run_until_complete(task)
        self._halted = []
        self.loop.run_until_complete(self.oracle.execute(_WIPE))

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now += timedelta(seconds=seconds)
        self.loop.run_until_complete(self.oracle.execute("UPDATE model_clock SET now = $1", self.now))
