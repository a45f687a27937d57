"""The scripts of the Postgres image for backups: what the CronJob dumps is restored, and searched."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qs, urlsplit

import pytest

from codebase_index.lexical.words import terms
from codebase_index.store.catalog.indexes import Indexes
from codebase_index.store.database import Database
from codebase_index.store.query.hybrid_search import Search
from tests.conftest import with_database
from tests.store.harness import WorkerHarness, make_tree
from tests.support.packages import CHECKOUT
from tests.support.postgres import open_programs, running

IMAGE = CHECKOUT / "postgres_image"


class Done(NamedTuple):
    """How a script ended."""

    returncode: int
    stderr: str


@pytest.fixture
def fresh_server() -> Iterator[str]:
    """Another server, on which nothing of ours is."""
    with running() as uri:
        yield uri


@pytest.fixture
def script(tmp_path: Path) -> Callable[..., Done]:
    def run(name: str, address: str, *arguments: str, stdin: bytes = b"", **env: str) -> Done:
        parts = urlsplit(address)
        environment = {
            "PATH": f"{open_programs()}:/usr/bin:/bin", "PGHOST": parse_qs(parts.query)["host"][0],
            "PGUSER": "postgres", "PGDATABASE": parts.path.lstrip("/"), "RESTORE_FOLDER": str(tmp_path), **env,
        }  # fmt: skip
        command = ["sh", str(IMAGE / f"{name}.sh"), *arguments]
        done = subprocess.run(command, env=environment, input=stdin, capture_output=True, check=False)
        return Done(done.returncode, done.stderr.decode())

    return run


async def test_what_the_cron_job_dumps_is_restored_on_a_fresh_server_and_searched(
    harness: WorkerHarness,
    dsn: str,
    fresh_server: str,
    script: Callable[..., Done],
    tmp_path: Path,
) -> None:
    make_tree(harness.root / "shop", 20)
    job = await harness.job("shop")
    assert (await harness.run(job))[0] == 0
    folder = tmp_path / "backups"
    folder.mkdir()
    older = [folder / f"codebase-2020010{day}T000000Z.dump" for day in range(1, 4)]
    for path in older:
        path.touch()
    (folder / "codebase-x.dump.unfinished").touch()
    dumped = script("backup", dsn, BACKUP_FOLDER=str(folder), BACKUP_KEEP="2")
    assert dumped.returncode == 0, dumped.stderr
    kept, dump = sorted(folder.iterdir())
    assert kept == older[-1] and dump.stat().st_mode & 0o077 == 0

    done = script("restore", fresh_server, stdin=dump.read_bytes())
    assert done.returncode == 0, done.stderr
    database = await Database.open(with_database(fresh_server, "codebase"), name="restored")
    try:
        assert await database.migrate() == []
        restored = WorkerHarness(database, "", harness.root)
        assert await restored.index_of(job) == await harness.index_of(job) != set()
        (index,) = await Indexes(database).list()
        found = await Search(database).candidates([index.id], vectors={}, terms=terms("function_7_0"), limit=5)
        assert any(candidate.path.endswith("module_7.py") for candidate in found.candidates)
    finally:
        await database.close()

    refused = script("restore", fresh_server, stdin=b"no dump")
    assert refused.returncode == 1 and "nothing was changed" in refused.stderr
    assert script("restore", fresh_server, "--empty").returncode == 0
    database = await Database.open(with_database(fresh_server, "codebase"), name="emptied")
    try:
        assert await database.migrate()
        assert await Indexes(database).list() == []
    finally:
        await database.close()


def test_a_dump_of_another_database_is_not_kept(
    postgres: str, script: Callable[..., Done], tmp_path: Path
) -> None:
    done = script("backup", postgres, BACKUP_FOLDER=str(tmp_path))
    assert done.returncode == 1 and "lacks the schema" in done.stderr
    assert not list(tmp_path.glob("*.dump"))
