"""One indexing run, measured from outside: time, CPU and memory of every process that takes part."""

import asyncio
import contextlib
import json
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

# Read by numpy: the threads of this process would add to the CPU time of the stages that it measures.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import psutil

from codebase_index.api.resource import IndexingJob
from codebase_index.store.database import Database
from codebase_index.store.jobs.jobs import Jobs

POLL_SECONDS = 0.2

MEMORY_SECONDS = 1.0
"""Between readings of memory: the kernel walks every page of a process for one, and holds it up meanwhile."""


@dataclass
class Run:
    """What a run did and took. MB are bytes of indexed chunks."""

    files: int = 0
    skipped: int = 0
    chunks: int = 0
    megabytes: float = 0.0
    seconds: float = 0.0
    message: str = ""
    seconds_to_percent: dict[int, float] = field(default_factory=dict)
    cpu_seconds: dict[str, float] = field(default_factory=dict)
    peak_megabytes: dict[str, float] = field(default_factory=dict)

    @property
    def speed(self) -> float:
        """MB a second, from the start of the process on: opening the model and the scan included."""
        return self.megabytes / self.seconds

    @property
    def cost(self) -> float:
        """CPU seconds for each MB, of all parts: what a loaded machine leaves comparable."""
        return sum(self.cpu_seconds.values()) / self.megabytes

    def figures(self) -> dict[str, Any]:
        """Return it for a JSON file."""
        return asdict(self) | {
            "megabytes_per_second": round(self.speed, 3),
            "chunks_per_second": round(self.chunks / self.seconds),
            "cpu_seconds_per_megabyte": round(self.cost, 3),
        }


class Meter:
    """Sums CPU time and peak memory of a program with its children, and of a database's processes."""

    def __init__(self, program: int, backend: int | None = None) -> None:
        """Take the program's process id, and that of any backend of a database on this machine."""
        self._programs, self._backend = [program], backend
        self._cpu: dict[tuple[str, int], float] = {}
        self._peak: dict[str, float] = {}
        self._memory_read = 0.0
        self._before = {p.pid: sum(p.cpu_times()[:2]) for p in self._postgres()}

    def follow(self, program: int) -> None:
        """Measure a further program, too."""
        self._programs.append(program)

    def read(self) -> None:
        """Take one sample: of CPU time always, of memory every MEMORY_SECONDS."""
        memory: dict[str, float] | None = None
        if time.monotonic() - self._memory_read >= MEMORY_SECONDS:
            self._memory_read, memory = time.monotonic(), {}
        for program in self._programs:
            with contextlib.suppress(psutil.NoSuchProcess):
                main = psutil.Process(program)
                self._note("main", main, 0.0, memory)
                for child in main.children(recursive=True):
                    self._note("workers", child, 0.0, memory)
        for process in self._postgres():
            self._note("postgres", process, self._before.get(process.pid, 0.0), memory)
        if memory is None:
            return
        memory["indexer"] = memory.get("main", 0.0) + memory.get("workers", 0.0)
        for part, size in memory.items():
            self._peak[part] = max(self._peak.get(part, 0.0), size)

    def _postgres(self) -> list[psutil.Process]:
        """Return the processes of this database, none if it runs elsewhere."""
        with contextlib.suppress(psutil.NoSuchProcess):
            backend = psutil.Process(self._backend) if self._backend else None
            if backend and backend.name().startswith("postgres") and (postmaster := backend.parent()):
                return [postmaster, *postmaster.children()]
        return []

    def _note(self, part: str, process: psutil.Process, before: float, memory: dict[str, float] | None) -> None:
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            self._cpu[part, process.pid] = sum(process.cpu_times()[:2]) - before
            if memory is None:
                return
            # Proportional, so that Postgres' shared buffers count once.
            memory[part] = memory.get(part, 0.0) + process.memory_full_info().pss / 1e6

    def results(self, run: Run) -> None:
        """Write the sums into the run."""
        for (part, _), cpu in self._cpu.items():
            run.cpu_seconds[part] = round(run.cpu_seconds.get(part, 0.0) + cpu, 2)
        run.peak_megabytes = {part: round(size) for part, size in self._peak.items()}


class Product:
    """Runs jobs as in a pod, by the environment alone, on a database of its own or one that is given."""

    def __init__(self, database: Database, dsn: str, workers: int) -> None:
        self._database, self._dsn, self._workers = database, dsn, workers
        self._jobs = Jobs(database)

    async def index(self, folder: Path, pods: int = 1) -> Run:
        """Run one job to its end, with the workers divided among so many pods. The index stays."""
        job = IndexingJob.parse(_body(folder, pods))
        job_id = UUID(job.metadata.uid)
        await self._jobs.create(job)
        await self._jobs.fence(job_id, 1, failed=False, message="Starting")
        run, start = Run(), time.perf_counter()
        process = await self._start(job, folder, pods, 0)
        async with self._database.connection() as connection:
            meter = Meter(process.pid, await connection.fetchval("SELECT pg_backend_pid()"))
        ended = asyncio.create_task(process.wait())
        workers: list[asyncio.subprocess.Process] = []
        while not ended.done():
            row = await self._jobs.get(job_id)
            if row.files_total is not None and len(workers) < pods - 1:  # the operator starts them then
                workers.append(await self._start(job, folder, pods, len(workers) + 1))
                meter.follow(workers[-1].pid)
            for percent in (10, 30, 50, 90):
                if row.percent >= percent:
                    run.seconds_to_percent.setdefault(percent, round(time.perf_counter() - start, 2))
            meter.read()
            await asyncio.wait({ended}, timeout=POLL_SECONDS)
        run.seconds = round(time.perf_counter() - start, 2)
        await asyncio.gather(*(worker.wait() for worker in workers))
        row = await self._jobs.get(job_id)
        if row.state != "completed":
            raise SystemExit(f"the job is {row.state}: {row.message}")
        meter.results(run)
        run.files, run.skipped, run.chunks = row.files_indexed, row.files_skipped, row.chunks_created
        run.message = row.message
        query = "SELECT sum(octet_length(text)) FROM chunks JOIN indexes i ON i.id = index_id WHERE target = $1"
        async with self._database.connection() as connection:
            run.megabytes = round(float(await connection.fetchval(query, row.target, timeout=120)) / 1e6, 2)
        return run

    async def forget(self, folder: Path) -> None:
        """Remove a folder's index, as the next run starts from nothing."""
        async with self._database.connection() as connection:
            await connection.execute("DELETE FROM indexes WHERE source = $1", str(folder), timeout=600)
            await connection.execute("VACUUM", timeout=600)

    async def _start(self, job: IndexingJob, folder: Path, pods: int, number: int) -> asyncio.subprocess.Process:
        environment = self._environment(job, folder, pods, number)
        return await asyncio.create_subprocess_exec(sys.executable, "-m", "codebase_indexer", env=environment)

    def _environment(self, job: IndexingJob, folder: Path, pods: int, number: int) -> Mapping[str, str]:
        return {
            **os.environ,
            "CODEBASE_JOB_ID": job.metadata.uid,
            "CODEBASE_ATTEMPT": "1",
            "CODEBASE_POD": f"bench-{number}",
            "CODEBASE_WORKER_INDEX": str(number),
            "CODEBASE_JOB_SPEC": json.dumps(_body(folder, pods)["spec"]),
            "CODEBASE_PROCESSES": str(max(1, self._workers // pods)),
            "CODEBASE_DATABASE_URL": self._dsn,
            "CODEBASE_ROOTS": json.dumps([{"path": str(folder)}]),
            "CODEBASE_LOG_LEVEL": "WARNING",
        }


def _body(folder: Path, pods: int) -> dict[str, Any]:
    created = datetime.now(UTC).isoformat()
    metadata = {"name": "bench", "namespace": "bench", "uid": str(uuid4()), "creationTimestamp": created}
    return {"metadata": metadata, "spec": {"source": {"path": str(folder)}, "parallelism": pods}}
