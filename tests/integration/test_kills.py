"""SIGKILL of any part of an instance, or of all of it: a job goes on within 10 s, and repeats under 1 %."""

import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from codebase_embedded import processes
from codebase_embedded.processes import POD_MARK
from hack.deployment.mcp_client import Tools, finished, follow
from tests.support.embedded import EmbeddedRuntime, command_of, kill, running, settings_for
from tests.support.waiting import wait_for

RESUME_SECONDS = 10


@pytest.fixture(scope="module")
def runtime(repositories: Path) -> Iterator[EmbeddedRuntime]:
    """An instance of this module's own: its parts are killed."""
    folder = Path(tempfile.mkdtemp(prefix="codebase-embedded-"))
    with running(settings_for(folder, repositories)) as started:
        yield started
    shutil.rmtree(folder, ignore_errors=True)


def kill_worker(runtime: EmbeddedRuntime, job_id: str) -> None:
    _kill_of_pod(runtime, job_id, lambda command: command[-1:] == ["codebase_indexer"])


def kill_supervisor(runtime: EmbeddedRuntime, job_id: str) -> None:
    runtime.kill_indexers(job_id)


def kill_shim(runtime: EmbeddedRuntime, job_id: str) -> None:
    _kill_of_pod(runtime, job_id, lambda command: "--end" in command)


def kill_operator(runtime: EmbeddedRuntime, _: str) -> None:
    kill(runtime.service("operator"))


def kill_server(runtime: EmbeddedRuntime, _: str) -> None:
    kill(runtime.service("server"))


def kill_postgres(runtime: EmbeddedRuntime, _: str) -> None:
    kill(runtime.service("postgres"))


def kill_operator_and_pod(runtime: EmbeddedRuntime, job_id: str) -> None:
    """The pod ends while nobody looks."""
    kill(runtime.service("operator"))
    runtime.kill_indexers(job_id)


def kill_first_process(runtime: EmbeddedRuntime, _: str) -> None:
    """Everything else ends with it; a client starts an instance anew."""
    everything = runtime.processes()
    kill(runtime.service("manager"))
    assert not processes.wait_gone(everything, 20), "processes live on without their instance"
    runtime.instance()


def kill_everything(runtime: EmbeddedRuntime, _: str) -> None:
    manager, everything = runtime.service("manager"), runtime.processes()
    processes.kill([manager, *everything])
    runtime.instance()


def _kill_of_pod(runtime: EmbeddedRuntime, job_id: str, wanted: Callable[[list[str]], bool]) -> None:
    (uid,) = runtime.pods(job_id)
    found = [process for process in processes.marked(POD_MARK, uid) if wanted(command_of(process))]
    assert found
    for process in found:
        kill(process)


FAULTS = [
    kill_worker, kill_supervisor, kill_shim, kill_operator, kill_server, kill_postgres, kill_operator_and_pod,
    kill_first_process, kill_everything,
]  # fmt: skip

DISRUPTIONS = FAULTS[3:]
"""Those that are nobody's failure; one of an indexer's own processes might be its own."""


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__.removeprefix("kill_"))
async def test_a_job_goes_on_after_a_kill(
    runtime: EmbeddedRuntime, fault: Callable[[EmbeddedRuntime, str], None], new_repository: Callable[[int], str]
) -> None:
    repository = new_repository(600)
    async with runtime.connect() as tools:
        job_id, before = await under_way(tools, repository)
    began = time.monotonic()
    fault(runtime, job_id)
    progress = f"""SELECT files_indexed + files_skipped > {before["files_indexed"] + before["files_skipped"]}
        OR state = 'completed' FROM jobs WHERE id = '{job_id}'"""
    wait_for(lambda: _asked(runtime, progress) == "t", "the job gets on", RESUME_SECONDS, every=0.05)
    print(f"\n{fault.__name__}: got on after {time.monotonic() - began:.1f} s")
    async with runtime.connect() as tools:
        status = await finished(tools, job_id, timeout=120)
    row = runtime.facts(job_id)
    assert status["status"] == "completed", status["error_message"]
    assert status["files_indexed"] + status["files_skipped"] == status["files_total"] == 600
    assert status["files_indexed"] >= before["files_indexed"]
    if fault in DISRUPTIONS:
        assert row["failures"] == 0, "what took everything with it counts as a failure of the job"
    assert row["files_repeated"] < 0.01 * row["files_total"], f"{row['files_repeated']} files were done again"
    runtime.assert_consistent(repository)


async def under_way(tools: Tools, repository: str) -> tuple[str, dict[str, int]]:
    """Start a job; return its id and status when it has indexed some files."""
    job = await tools.call("start_indexing_background", repo_path=repository)
    async for status in follow(tools, job["job_id"], every=0.05, timeout=60):
        if status["status"] == "running" and status["files_indexed"] > 20:
            return str(job["job_id"]), status
    raise AssertionError(f"the job was {status['status']} before it could be seen at work")


def _asked(runtime: EmbeddedRuntime, sql: str) -> str:
    try:
        return runtime.query(sql)
    except subprocess.CalledProcessError:  # Postgres is just starting
        return ""
