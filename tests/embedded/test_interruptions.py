"""Ctrl-C and SIGKILL at ten moments of a first session: nothing runs on, and nothing is lost."""

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from codebase_embedded import instance as embedded
from codebase_embedded import processes
from codebase_embedded.instance import Instance
from hack.deployment.mcp_client import Tools, connect, finished
from tests.support.embedded import EmbeddedRuntime, ended, settings_for
from tests.support.waiting import PATIENCE, wait_for

FILES = 100
MOMENTS = 10
SEARCHES = 20


def ctrl_c(process: "subprocess.Popen[bytes]") -> None:
    """As the terminal does it: to the whole group of the program that runs in it."""
    os.killpg(process.pid, signal.SIGINT)


def sigkill(process: "subprocess.Popen[bytes]") -> None:
    """To the instance's first process."""
    process.kill()


@pytest.mark.large
@pytest.mark.parametrize("interrupt", [ctrl_c, sigkill])
async def test_a_session_is_interrupted_at_ten_moments(
    interrupt: Callable[["subprocess.Popen[bytes]"], None],
    new_repository: Callable[[int], str],
    repositories: Path,
) -> None:
    repository = new_repository(FILES)
    async with instance_in_foreground(repositories) as (_, session, began):
        await session.use(repository)
        undisturbed = time.monotonic() - began
    for number in range(MOMENTS):
        moment = undisturbed * (number + 0.5) / MOMENTS
        async with instance_in_foreground(repositories) as (process, session, began):
            using = asyncio.create_task(session.use(repository))
            await asyncio.sleep(began + moment - time.monotonic())
            interrupt(process)
            await asyncio.to_thread(process.wait, PATIENCE)
            using.cancel()
            await asyncio.gather(using, return_exceptions=True)
            at = f"{interrupt.__name__} after {moment:.1f} of {undisturbed:.1f} s, when it was {session.doing}"
            assert not processes.wait_gone(session.runtime.processes(), PATIENCE), f"they run on: {at}"
            print(f"\n{at}")
            await session.goes_on(repository)


def test_a_start_after_one_that_was_killed_while_it_made_the_database(
    repositories: Path, own_data_folder: Path
) -> None:
    """What the first one has begun neither stops the second nor stays."""
    with foreground(repositories, own_data_folder) as (process, runtime):
        begun = "new-postgres-*/postgres/base"
        wait_for(lambda: list(own_data_folder.glob(begun)), "initdb is at work", every=0.01)
        process.kill()
        process.wait()
        assert runtime.instance().ready()
        assert not list(own_data_folder.glob("new-postgres-*"))


class Session:
    """What a person does with a new instance: index, then search."""

    def __init__(self, runtime: EmbeddedRuntime) -> None:
        self.runtime = runtime
        self.doing = "starting"
        self.job_id: str | None = None
        self.files_indexed = 0

    async def use(self, repository: str) -> None:
        """Do all of it, as far as it gets."""
        found = await asyncio.to_thread(wait_for, self._serving, "it serves", every=0.05)
        async with connect(found.url.removesuffix("/mcp"), token=found.token()) as tools:
            self.doing = "indexing"
            self.job_id = (await tools.call("start_indexing_background", repo_path=repository))["job_id"]
            while (status := await tools.call("get_indexing_status", job_id=self.job_id))["status"] != "completed":
                assert status["status"] in ("pending", "running"), status
                self.files_indexed = status["files_indexed"]
                await asyncio.sleep(0.05)
            self.files_indexed = status["files_indexed"]
            self.doing = "searching"
            for _ in range(SEARCHES):
                await search(tools, repository)

    def _serving(self) -> Instance | None:
        found = embedded.find(self.runtime.settings.data)
        return found if found and found.ready() else None

    async def goes_on(self, repository: str) -> None:
        """The next start has all that the one before has acknowledged, and ends what it began."""
        async with self.runtime.connect() as tools:
            if self.job_id is None:
                self.job_id = (await tools.call("start_indexing_background", repo_path=repository))["job_id"]
            status = await finished(tools, self.job_id, timeout=300)
            assert status["status"] == "completed", status["error_message"]
            assert status["files_indexed"] >= self.files_indexed
            assert status["files_indexed"] + status["files_skipped"] == status["files_total"] == FILES
            await search(tools, repository)
        self.runtime.assert_consistent(repository)
        left = {path.name for path in self.runtime.settings.data.glob("new-*")}
        assert not left, f"of the start that was interrupted, {left} are left"


async def search(tools: Tools, repository: str) -> None:
    """Search for what is there."""
    assert (await tools.call("search_code", query="class", repo=repository))["results"]


@asynccontextmanager
async def instance_in_foreground(
    root: Path,
) -> AsyncIterator[tuple["subprocess.Popen[bytes]", Session, float]]:
    """`codebase-mcp serve --http` in a new folder, and when it was started."""
    folder = Path(tempfile.mkdtemp(prefix="codebase-embedded-"))
    try:
        began = time.monotonic()
        with foreground(root, folder) as (process, runtime):
            yield process, Session(runtime), began
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def foreground(root: Path, data: Path) -> Iterator[tuple["subprocess.Popen[bytes]", EmbeddedRuntime]]:
    """The same, in this folder; in a group of processes of its own, as a shell starts it."""
    settings = settings_for(data, root)
    # What runs in a shell's background ignores Ctrl-C, and so does what it starts: this must not.
    command = ["env", "--default-signal=INT", sys.executable, "-m", "codebase_embedded", "--foreground"]
    with (
        ended(settings) as runtime,
        subprocess.Popen(
            [*command, settings.to_json()], stderr=subprocess.DEVNULL, start_new_session=True
        ) as process,
    ):
        try:
            yield process, runtime
        finally:
            process.terminate()
