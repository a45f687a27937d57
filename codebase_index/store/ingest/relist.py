"""Extends a frozen list after the repository changed while a job read it.

New files are appended, and files that are done but may have changed are reopened. Counters never fall, so each
file is counted once, however often it is done.
"""

from collections.abc import Collection, Sequence
from uuid import UUID

from codebase_index.store import queries
from codebase_index.store.database import Database
from codebase_index.store.errors import FenceLost
from codebase_index.store.ingest.chunks import Writer
from codebase_index.store.ingest.reuse import BULK_SECONDS
from codebase_index.store.ingest.work import SQL as WORK_SQL
from codebase_index.store.ingest.work import ScanEntry, write_scan

SQL = queries.load("relist")


class Relist:
    """Extends the work list of a job. Every method may raise StoreUnavailable."""

    def __init__(self, database: Database) -> None:
        self._db = database

    async def extend(
        self, writer: Writer, entries: Sequence[ScanEntry], *, trusting: bool, uncertain: Collection[str]
    ) -> int:
        """Bring the list up to a scan of what is there now; return how many more files are to be done.

        `trusting`: the source is the one that was listed before, so what is done stays done unless git says that
        it changed; else only git's word counts, and everything else is read again. `uncertain` are the reasons for
        which a file was skipped that may be readable now. Files of the index that are not listed any more become
        such that the job has not seen. Raises FenceLost.
        """
        job_id, index_id = writer.job_id, writer.index_id
        fence = (job_id, writer.attempt)
        async with self._db.transaction() as connection:
            before: int = await connection.fetchval(WORK_SQL["todo"], job_id)
            await write_scan(connection, entries)
            for name, arguments in (
                ("mark_unlisted_unseen", (index_id,)),
                ("drop_done", (index_id, writer.fingerprint, trusting)),
                ("drop_listed", (trusting, list(uncertain))),
                ("reopen", ()),
            ):
                await connection.execute(SQL[name], job_id, *arguments, timeout=BULK_SECONDS)
            more = await connection.fetchrow(SQL["append_new"], job_id, index_id, timeout=BULK_SECONDS)
            after: int = await connection.fetchval(WORK_SQL["todo"], job_id)
            if await connection.fetchval(SQL["extend_job"], *fence, more["files"], more["skipped"]) is None:
                raise FenceLost(*fence)
        return after - before

    async def lost(self, job_id: UUID, reasons: Collection[str], limit: int) -> dict[str, str]:
        """Return the first files that were skipped for one of these reasons when their turn came, not by the scan,
        with the reason.
        """
        async with self._db.connection() as connection:
            rows = await connection.fetch(SQL["lost"], job_id, list(reasons), limit)
        return {row["path"]: row["skip_reason"] for row in rows}
