"""The heartbeat's line about progress in the log: every ten seconds, with the counts of all the job's pods."""

import logging
from uuid import UUID

import pytest

from codebase_index.store.jobs.jobs import Progress
from codebase_index.store.jobs.rows import JobRow
from codebase_indexer.progress import messages
from codebase_indexer.progress import reporter as reporter_module
from codebase_indexer.progress.reporter import LOG_SECONDS, Heartbeat, ProgressReporter
from tests.operator.builders import job, row

JOB = row(job("a"), "running", 2, files_total=100, files_indexed=40, files_skipped=2, chunks_created=300)


class Facts:
    """The two calls that a heart makes."""

    def __init__(self) -> None:
        self.job = JOB
        self.reported: list[Progress] = []

    async def get(self, job_id: UUID) -> JobRow:
        return self.job

    async def heartbeat(self, job_id: UUID, attempt: int, now: Progress) -> None:
        self.reported.append(now)


class Clock:
    now = 1000.0

    def monotonic(self) -> float:
        return self.now


async def test_progress_is_logged_every_ten_seconds_and_reported_every_time(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clock, facts = Clock(), Facts()
    monkeypatch.setattr(reporter_module, "time", clock)
    heartbeat = Heartbeat(facts, JOB.id, 2, ProgressReporter(describe=lambda job: messages.writing(0, "Writing")))  # type: ignore[arg-type]
    with caplog.at_level(logging.INFO, "codebase_indexer.progress.reporter"):
        for send in range(int(LOG_SECONDS) + 1):
            facts.job = JOB.model_copy(update={"files_indexed": 40 + send})
            await heartbeat.send()
            clock.now += 1
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
