"""Real workers on a real Postgres, run as the operator's pods would run them."""

import asyncio
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from codebase_index.api.job import pod_name
from codebase_index.api.resource import IndexingJob
from codebase_index.store.database import Database
from codebase_index.store.jobs.jobs import Jobs
from codebase_index.store.jobs.rows import JobRow

CHECKOUT = Path(__file__).resolve().parents[2]
WORKER = "codebase_indexer"
SUPERVISOR = "codebase_indexer.supervisor"


@dataclass
class WorkerHarness:
    """Jobs for folders under one root, and workers that run them as the operator's pods would."""

    database: Database
    dsn: str
    root: Path
    env: dict[str, str] = field(default_factory=dict)
    prefix: list[str] = field(default_factory=list)

    @property
    def jobs(self) -> Jobs:
        return Jobs(self.database)

    async def job(self, folder: str, **spec: Any) -> IndexingJob:
        body = {
            "metadata": {
                "name": f"job-{uuid4().hex[:8]}", "namespace": "code", "uid": str(uuid4()),
                "creationTimestamp": datetime.now(UTC).isoformat(),
            },
            "spec": {"source": {"path": f"/repos/{folder}"}, **spec},
        }  # fmt: skip
        job = IndexingJob.parse(body)
        await self.jobs.create(job)
        return job

    async def start(
        self, job: IndexingJob, attempt: int = 1, program: str = WORKER, worker_index: int = 0
    ) -> asyncio.subprocess.Process:
        assert await self.jobs.fence(UUID(job.metadata.uid), attempt, failed=False, message="Starting")
        environment = {
            **os.environ,
            "CODEBASE_JOB_ID": job.metadata.uid,
            "CODEBASE_ATTEMPT": str(attempt),
            "CODEBASE_POD": pod_name(job.metadata.name, attempt, worker_index),
            "CODEBASE_WORKER_INDEX": str(worker_index),
            "CODEBASE_JOB_SPEC": job.spec.model_dump_json(by_alias=True, exclude_none=True),
            "CODEBASE_PROCESSES": "2",
            "CODEBASE_DATABASE_URL": self.dsn,
            "CODEBASE_ROOTS": json.dumps([{"path": "/repos", "mount": str(self.root)}]),
            **self.env,
        }
        return await asyncio.create_subprocess_exec(*self.prefix, sys.executable, "-m", program, env=environment)

    async def run(self, job: IndexingJob, attempt: int = 1) -> tuple[int, JobRow]:
        """Run a worker to its end; return its exit code and the job's row."""
        process = await self.start(job, attempt)
        code = await asyncio.wait_for(process.wait(), 120)
        return code, await self.row(job)

    async def row(self, job: IndexingJob) -> JobRow:
        return await self.jobs.get(UUID(job.metadata.uid))

    async def until(self, job: IndexingJob, condition: Callable[[JobRow], bool]) -> JobRow:
        async with asyncio.timeout(60):
            while True:
                row = await self.row(job)
                if condition(row):
                    return row
                await asyncio.sleep(0.02)

    async def fetch(self, query: str, *arguments: object) -> list[Any]:
        async with self.database.connection() as connection:
            return list(await connection.fetch(query, *arguments))

    async def index_of(self, job: IndexingJob) -> set[tuple[Any, ...]]:
        """What an index says, without the ids that differ from run to run."""
        rows = await self.fetch(
            "SELECT f.path, f.language, f.blob, c.start_line, c.end_line, c.symbol, c.text,"
            " e.model, e.embedding::text FROM indexes i JOIN files f ON f.index_id = i.id"
            " JOIN chunks c ON c.file_id = f.id JOIN embeddings e ON e.chunk_id = c.id WHERE i.target = $1",
            job.spec.target,
        )
        return {tuple(row.values()) for row in rows}


def make_tree(folder: Path, files: int, seed: int = 1) -> None:
    rng = random.Random(seed)
    for number in range(files):
        path = folder / f"package_{number % 17}" / f"module_{number}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        functions = (
            f"def function_{number}_{i}(value):\n    return value * {rng.random()}\n\n"
            for i in range(rng.randint(3, 60))
        )
        path.write_text("".join(functions))


def track(folder: Path) -> None:
    """Let git track all, with an index that is surely younger than the files."""
    for command in (["init", "--quiet"], ["add", "--all"]):
        subprocess.run(["git", "-C", folder, *command], check=True)
    time.sleep(0.02)
    os.utime(folder / ".git" / "index")
