"""The source goes away while a job reads it, and the disk is full: nothing that was indexed is lost."""

import asyncio
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

import pytest

from hack.deployment.mcp_client import ToolFailed, Tools, finished, follow
from tests.support.embedded import EmbeddedRuntime, running, settings_for

Answer = TypeVar("Answer")

FILES = 600
JOB_SECONDS = 600
"""A bound for a job that hangs."""

AWAY_SECONDS = 30
"""Until Postgres, which is started again every few seconds, has not found the room that it needs."""


async def test_a_source_that_is_removed_fails_the_job_and_the_index_stays(
    embedded_runtime: EmbeddedRuntime, new_repository: Callable[[int], str]
) -> None:
    repository = new_repository(FILES)
    folder, away = Path(repository), Path(f"{repository}-away")
    async with embedded_runtime.connect() as tools:
        await index(tools, repository)
        before = rows(embedded_runtime, repository)
        job = await tools.call("start_indexing_background", repo_path=repository, force_reindex=True)
        async for status in follow(tools, job["job_id"], every=0.05, timeout=JOB_SECONDS):
            if status["files_indexed"] > 20:
                break
        assert status["status"] == "running", "the job was over before its source could go away"
        folder.rename(away)
        try:
            status = await finished(tools, job["job_id"], timeout=JOB_SECONDS)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            away.rename(folder)
        assert (status["status"], status["error_type"]) == ("failed", "SourceChanged"), status
        assert "start the job again" in status["error_message"]
        assert rows(embedded_runtime, repository) == before
        embedded_runtime.assert_consistent(repository)
        await index(tools, repository)
    assert rows(embedded_runtime, repository) == before


def rows(runtime: EmbeddedRuntime, repository: str) -> tuple[str, str]:
    """Files and chunks of an index."""
    index = f"(SELECT id FROM indexes WHERE source = '{repository}')"
    return (
        runtime.query(f"SELECT count(*) FROM files WHERE index_id = {index}"),
        runtime.query(f"SELECT count(*) FROM chunks WHERE index_id = {index}"),
    )


async def index(tools: Tools, repository: str) -> None:
    """Bring an index up to date."""
    job = await tools.call("start_indexing_background", repo_path=repository)
    status = await finished(tools, job["job_id"], timeout=JOB_SECONDS)
    assert status["status"] == "completed", status["error_message"]


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system on which an empty database and its log leave some 15 MB."""
    folder = Path(tempfile.mkdtemp(prefix="codebase-small-disk-"))
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=120m,mode=755", "tmpfs", folder], check=True)
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)
    folder.rmdir()


async def once_there(ask: Callable[[], Awaitable[Answer]]) -> Answer:
    """Ask again while the database is away: a disk without room for its log ends it, and it is started anew.

    Raises ToolFailed where it stays away for AWAY_SECONDS.
    """
    deadline = time.monotonic() + AWAY_SECONDS
    while True:
        try:
            return await ask()
        except ToolFailed as refused:
            if not str(refused).startswith("unavailable: ") or time.monotonic() > deadline:
                raise
            await asyncio.sleep(1)


def make_room(disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,size=2g", disk], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a file system")
async def test_a_full_disk_is_told_and_the_next_job_completes_when_there_is_room(
    small_disk: Path, new_repository: Callable[[int], str], small_repository: str
) -> None:
    root, large_repository = Path(small_repository).parent, new_repository(300)
    with running(settings_for(small_disk / "data", root)) as runtime:
        async with runtime.connect() as tools:
            await index(tools, small_repository)
            before = rows(runtime, small_repository)
            job = await tools.call("start_indexing_background", repo_path=large_repository)
            with suppress(ToolFailed):  # Postgres may need room to start again at all: it waits for that, too
                status = await once_there(partial(finished, tools, job["job_id"], timeout=JOB_SECONDS))
                assert (status["status"], status["error_type"]) == ("failed", "InsufficientStorage"), status
                assert "insufficient storage" in status["error_message"]
                found = await once_there(partial(tools.call, "search_code", query="class", repo=small_repository))
                assert found["results"]
        make_room(small_disk)
        async with runtime.connect() as tools:
            await once_there(partial(index, tools, large_repository))
        assert rows(runtime, small_repository) == before
        runtime.assert_consistent(large_repository)
