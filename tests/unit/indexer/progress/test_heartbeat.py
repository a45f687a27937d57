"""The heartbeat's line about progress in the log: every ten seconds, with the counts of all the job's pods."""

import asyncio
import itertools
import logging
from uuid import UUID

import pytest

from codebase_index.store.jobs.jobs import Progress
from codebase_index.store.jobs.rows import JobRow
from codebase_indexer.progress import messages
from codebase_indexer.progress.heartbeat import LOG_SECONDS, LeaderHeartbeat
from codebase_indexer.progress.reporter import ProgressReporter
from tests.operator.builders import job, row

JOB = row(job("a"), "running", 2, files_total=100, files_indexed=40, files_skipped=2, chunks_created=300)


class Facts:
    """The two calls that a heartbeat makes."""

    def __init__(self) -> None:
        self.job = JOB
        self.reported: list[Progress] = []

    async def get(self, job_id: UUID) -> JobRow:
        return self.job

    async def heartbeat(self, job_id: UUID, attempt: int, now: Progress) -> None:
        self.reported.append(now)


async def test_progress_is_logged_every_ten_seconds_and_reported_every_time(
    caplog: pytest.LogCaptureFixture,
) -> None:
    facts, seconds = Facts(), itertools.count(1000.0)
    reporter = ProgressReporter(describe=lambda job: messages.writing(0, "Writing"))
    heartbeat = LeaderHeartbeat(facts, JOB.id, 2, reporter, lambda: next(seconds))  # type: ignore[arg-type]
    with caplog.at_level(logging.INFO, "codebase_indexer.progress.heartbeat"):
        for send in range(int(LOG_SECONDS) + 1):
            facts.job = JOB.model_copy(update={"files_indexed": 40 + send})
            await heartbeat.send()
    assert len(facts.reported) == LOG_SECONDS + 1
    first, second = (vars(record) for record in caplog.records)
    assert (first["files_indexed"], second["files_indexed"]) == (40, 50)
    told = {
        name: first[name] for name in ("job", "job_id", "repository", "attempt", "files_total", "chunks_created")
    }
    assert told == {
        "job": "a", "job_id": JOB.id, "repository": "/repos/a", "attempt": 2, "files_total": 100,
        "chunks_created": 300,
    }  # fmt: skip


async def test_of_two_reports_at_once_the_later_one_is_of_the_newer_row() -> None:
    class SlowFirst(Facts):
        """Answers the first read late: the database is slow."""

        reads = 0

        async def get(self, job_id: UUID) -> JobRow:
            self.reads += 1
            row = JOB.model_copy(update={"files_indexed": 10 * self.reads})
            for _ in range(10 if self.reads == 1 else 0):
                await asyncio.sleep(0)
            return row

    facts, reporter = SlowFirst(), ProgressReporter(describe=lambda job: messages.writing(0, "Writing"))
    reporter.indexing()
    heartbeat = LeaderHeartbeat(facts, JOB.id, 2, reporter)  # type: ignore[arg-type]
    await asyncio.gather(heartbeat.send(), heartbeat.send())
    first, second = (now.percent for now in facts.reported)
    assert first < second
