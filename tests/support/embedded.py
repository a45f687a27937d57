"""Fixtures of the embedded runtime: an instance in a folder of its own, as `codebase-mcp serve` starts it."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
import pytest

from codebase_embedded import instance as embedded
from codebase_embedded import postgres, processes
from codebase_embedded.folder import Folder
from codebase_embedded.instance import Instance
from codebase_embedded.processes import INSTANCE_MARK, POD_MARK, Process
from codebase_embedded.settings import Settings
from hack.deployment.mcp_client import Tools, connect
from tests.support.guard import guarded
from tests.support.postgres import open_programs
from tests.support.runtime import Runtime
from tests.support.waiting import wait_for


@dataclass(frozen=True)
class EmbeddedRuntime(Runtime):
    """An instance that runs in the background until it is stopped."""

    settings: Settings

    def instance(self) -> Instance:
        """The instance, started anew where a test has ended it."""
        return embedded.ensure(self.settings)

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[Tools]:
        """Open an MCP session over HTTP, with the token."""
        instance = self.instance()
        async with connect(instance.url.removesuffix("/mcp"), token=instance.token()) as tools:
            yield tools

    def query(self, sql: str) -> str:
        """Ask the database over its socket."""
        url = Folder(self.settings.data).database_url.read_text()
        psql = (str(postgres.programs() / "psql"), url, "-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", sql)
        return subprocess.run(psql, capture_output=True, text=True, check=True).stdout.strip()

    def kill_server(self) -> None:
        """Kill the process of the MCP server."""
        kill(self.service("server"))

    def kill_indexers(self, job_id: str) -> None:
        """Kill the supervisors of a job's pods."""
        for uid in self.pods(job_id):
            for process in processes.marked(POD_MARK, uid):
                if command_of(process)[-1:] == ["codebase_indexer.supervisor"] and "--end" not in command_of(
                    process
                ):
                    kill(process)

    def settle(self) -> None:
        """Cancel what is unfinished, and wait for the end of its pods."""
        self.query(
            "UPDATE resources SET body = jsonb_set(body, '{spec,cancel}', 'true') WHERE kind = 'IndexingJob' "
            "AND COALESCE(body #>> '{status,phase}', '') NOT IN ('Completed', 'Failed', 'Cancelled')"
        )
        busy = "SELECT count(*) FROM jobs WHERE slot OR state IN ('pending', 'running', 'blocked')"
        wait_for(lambda: self.query(busy) == "0", "every job is over and every slot free")

    def service(self, name: str) -> Process:
        """The process of the server or the operator; `postgres` is the postmaster, `manager` the first process."""
        if name == "manager":
            return self.instance().process
        if name == "postgres":
            pid = int((Folder(self.settings.data).postgres / "postmaster.pid").read_text().split()[0])
            return _required(Process.of(pid))
        module = f"codebase_embedded.{name}_process"

        def running() -> Process | None:
            return next((p for p in self.processes() if command_of(p)[-1:] == [module]), None)

        return _required(wait_for(running, f"{name} runs"))

    def processes(self) -> list[Process]:
        """Everything that belongs to the instance, except its first process."""
        data = self.settings.data
        new = [folder for made in data.glob("new-postgres-*") for folder in (made, made / "postgres")]
        in_postgres = (found for folder in (data / "postgres", *new) for found in processes.working_in(folder))
        return [*processes.marked(INSTANCE_MARK, str(data)), *in_postgres]

    def pods(self, job_id: str) -> list[str]:
        """The uids of a job's pods."""
        return self.query(f"SELECT uid FROM resources WHERE kind = 'Pod' AND owner = '{job_id}'").split()


def kill(process: Process) -> None:
    """Kill a process and wait until it is gone."""
    assert process.signal(signal.SIGKILL)
    assert not processes.wait_gone([process], 10)


def command_of(process: Process) -> list[str]:
    """The arguments of a process; none of one that has ended."""
    with contextlib.suppress(psutil.Error):
        return psutil.Process(process.pid).cmdline()
    return []


def _required(process: Process | None) -> Process:
    assert process is not None
    return process


_STOP = """
import shutil, sys
from pathlib import Path
from codebase_embedded import instance
try:
    instance.stop(Path(sys.argv[1]))
finally:
    shutil.rmtree(sys.argv[1])
"""


@contextlib.contextmanager
def running(settings: Settings) -> Iterator[EmbeddedRuntime]:
    """An instance with these settings, in the background; whatever is left of it is ended."""
    with ended(settings) as runtime:
        runtime.instance()
        yield runtime


@contextlib.contextmanager
def ended(settings: Settings) -> Iterator[EmbeddedRuntime]:
    """The same, not started yet."""
    runtime = EmbeddedRuntime(settings)
    with guarded(sys.executable, "-c", _STOP, str(settings.data)):
        try:
            yield runtime
        finally:
            embedded.stop(settings.data)
            left = runtime.processes()
            processes.kill(left)
        assert not left, f"the instance has ended, and these run on: {[command_of(p) for p in left]}"


@pytest.fixture(scope="session")
def data_folder() -> Iterator[Path]:
    """A folder for an instance's data, which Postgres' user may enter where this is root."""
    folder = Path(tempfile.mkdtemp(prefix="codebase-embedded-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def own_data_folder() -> Iterator[Path]:
    """The same for one test."""
    folder = Path(tempfile.mkdtemp(prefix="codebase-embedded-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def settings_for(data: Path, *roots: Path, **more: object) -> Settings:
    """Settings of an instance that stays until it is stopped."""
    open_programs()
    settings = Settings(data=data, roots=roots, idle_seconds=None, processes=min(os.cpu_count() or 1, 2))
    return replace(settings, **more).checked()  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def embedded_runtime(data_folder: Path, repositories: Path) -> Iterator[EmbeddedRuntime]:
    """An instance for all tests that leave it as it is."""
    with running(settings_for(data_folder, repositories)) as runtime:
        yield runtime
