"""Fixtures for tests marked `cluster`: the product as users have it, the chart on `make up`."""

import os
import shutil
import signal
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import httpx
import pytest

from hack.deployment.chart import NAMESPACE, deploy
from hack.deployment.commands import CHECKOUT, CommandFailed, kubectl_json
from hack.deployment.mcp_client import Tools, connect, port_forward
from tests.chaos.harness.containers import first
from tests.fixtures.generate_test_repo import generate
from tests.support.kube import delete_job, indexer_pods, nobody_holds_a_slot, query, server_pods, uid_of
from tests.support.runtime import Runtime
from tests.support.waiting import wait_for

REPOSITORIES = CHECKOUT / "build" / "test-repositories"

# The normal run uses a smaller repository of the same kind; `make test-large` the quickstart's 15,000 files.
FILE_COUNT = int(os.environ.get("CODEBASE_TEST_FILES", "1500"))


@pytest.fixture(scope="session")
def repositories() -> Path:
    """A folder of this machine that is a repository root in the cluster."""
    REPOSITORIES.mkdir(parents=True, exist_ok=True)
    return REPOSITORIES


class Server:
    """The way to the MCP server in the cluster. It ends with the server's pod, and is then opened anew."""

    def __init__(self, ways: ExitStack) -> None:
        self._ways = ways
        self._url = ""

    def url(self, patience: float = 60) -> str:
        """Return an address at which the server answers now. Raises CommandFailed after `patience` seconds."""
        deadline = time.monotonic() + patience
        while not self._answers():
            self._ways.close()
            try:
                self._url = self._ways.enter_context(port_forward())
            except CommandFailed:  # its pod does not run yet
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)
        return self._url

    def _answers(self) -> bool:
        try:
            return bool(self._url) and httpx.get(f"{self._url}/healthz", timeout=2).is_success
        except httpx.TransportError:
            return False


@pytest.fixture(scope="session")
def server(repositories: Path) -> Iterator[Server]:
    """The MCP server, with the chart as this checkout has it."""
    deploy([repositories])
    with ExitStack() as ways:
        yield Server(ways)


@pytest.fixture
def server_url(server: Server) -> Iterator[str]:
    """The address of the MCP server in the cluster. What the test leaves unfinished is deleted after it."""
    yield server.url()
    delete_unfinished_jobs()


def delete_unfinished_jobs() -> None:
    """Delete what a test has left unfinished, and wait until its slots are free."""
    if not nobody_holds_a_slot():
        for job in kubectl_json("get", "indexingjobs", "-n", NAMESPACE)["items"]:
            if (job.get("status") or {}).get("phase") not in ("Completed", "Failed", "Cancelled"):
                delete_job(job["metadata"]["name"])
        wait_for(nobody_holds_a_slot, "every job is over and every slot free")


class ClusterRuntime(Runtime):
    """The chart on the cluster of `make up`."""

    def __init__(self, server: Server) -> None:
        self._server = server

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[Tools]:
        """Open an MCP session, through a way that is opened anew after its pod was killed."""
        async with connect(self._server.url()) as tools:
            yield tools

    def query(self, sql: str) -> str:
        """Ask the database in its pod."""
        return query(sql)

    def kill_server(self) -> None:
        """Kill PID 1 of the server's pods."""
        for pod in server_pods():
            first(uid_of(pod)).signal(signal.SIGKILL)

    def kill_indexers(self, job_id: str) -> None:
        """Kill PID 1 of the job's pods."""
        for pod in indexer_pods(job_id):
            first(uid_of(pod)).signal(signal.SIGKILL)

    def settle(self) -> None:
        """Delete what is unfinished."""
        delete_unfinished_jobs()


@pytest.fixture(scope="session")
def cluster_runtime(server: Server) -> ClusterRuntime:
    """The product on the cluster."""
    return ClusterRuntime(server)


@pytest.fixture(scope="session", params=["embedded", pytest.param("cluster", marks=pytest.mark.cluster)])
def any_runtime(request: pytest.FixtureRequest) -> Runtime:
    """Each of the two runtimes in turn."""
    found: Runtime = request.getfixturevalue(f"{request.param}_runtime")
    return found


@pytest.fixture
def runtime(any_runtime: Runtime) -> Iterator[Runtime]:
    """The same; what the test leaves unfinished is ended after it."""
    yield any_runtime
    any_runtime.settle()


@pytest.fixture(scope="session")
def large_repository(repositories: Path) -> str:
    """The quickstart's generated repository; made once, kept for later runs of the same size."""
    folder = repositories / f"test-repo-{FILE_COUNT}"
    complete = folder.with_suffix(".complete")
    if not complete.exists():
        shutil.rmtree(folder, ignore_errors=True)
        generate(folder, file_count=FILE_COUNT, avg_lines=200)
        complete.touch()
    return str(folder)


@pytest.fixture(scope="session")
def equal_repositories(repositories: Path) -> Iterator[list[str]]:
    """Four repositories of one kind, each a tenth of the large one.

    But not smaller than so: on a slow machine the first job may be over before the fourth one is made.
    """
    folders = [repositories / f"equal-{number}-{uuid.uuid4().hex[:8]}" for number in range(4)]
    for number, folder in enumerate(folders):
        generate(folder, file_count=max(FILE_COUNT // 10, 600), avg_lines=200, seed=1 + number)
    yield [str(folder) for folder in folders]
    for folder in folders:
        shutil.rmtree(folder)


@pytest.fixture
def new_repository(repositories: Path) -> Iterator[Callable[[int], str]]:
    """Makes repositories of so many files that no other test has seen; some 30 kB a file."""
    made: list[Path] = []

    def make(file_count: int) -> str:
        folder = repositories / f"new-{file_count}-{uuid.uuid4().hex[:8]}"
        made.append(folder)
        generate(folder, file_count=file_count, avg_lines=200)
        return str(folder)

    yield make
    for folder in made:
        shutil.rmtree(folder)


@pytest.fixture
def small_repository(new_repository: Callable[[int], str]) -> str:
    """A new repository that is indexed in an instant."""
    return new_repository(20)


@pytest.fixture
def repository(new_repository: Callable[[int], str]) -> str:
    """A new repository that is large enough to be interrupted."""
    return new_repository(400)
