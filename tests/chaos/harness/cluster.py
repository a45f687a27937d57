"""The cluster as the harness reaches it from the host: by ways that survive every fault."""

import asyncio
import os
import secrets
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg

from codebase_index.api.job import GROUP, LABEL_COMPONENT, LABEL_JOB_ID, PLURAL, VERSION
from hack.deployment.chart import NAMESPACE
from hack.deployment.mcp_client import Tools, connect
from hack.local_cluster import network
from hack.local_cluster.paths import own_state
from tests.chaos.harness.api import Api
from tests.support.kube import query

PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"
JOBS = f"/apis/{GROUP}/{VERSION}/namespaces/{NAMESPACE}/{PLURAL}"
_OBSERVER = "chaos_observer"
_CHECKOUT = Path(__file__).resolve().parents[3]
_ANSWER_SECONDS = 90.0
"""How long a restarted service may take to answer until the harness calls it lost."""


@dataclass(frozen=True)
class Pod:
    """A pod that exists now."""

    name: str
    uid: str
    node: str


@dataclass(frozen=True)
class Victim:
    """A running job at the moment of a fault, with the pod of its current attempt."""

    job_id: UUID
    name: str  # of the custom resource
    attempt: int
    pod: Pod


@dataclass(frozen=True)
class Cluster:
    """Ways to the API server, to Postgres and to the MCP server that no pod's death closes."""

    api: Api
    dsn: str
    mcp_url: str
    nodes: int

    @classmethod
    @asynccontextmanager
    async def open(cls) -> AsyncIterator["Cluster"]:
        """Reach the built-in cluster with the chart installed. Raises OSError or ApiRefused without it."""
        api = Api(own_state().kubeconfig)
        async with AsyncExitStack() as stack:
            stack.push_async_callback(api.close)
            doors = stack.enter_context(ExitStack())
            postgres = doors.enter_context(_door(*await _service(api, "postgres")))
            server = doors.enter_context(_door(*await _service(api, "server")))
            nodes = len((await api.get("/api/v1/nodes"))["items"])
            dsn = f"postgresql://{await asyncio.to_thread(_observer)}@127.0.0.1:{postgres}/codebase"
            yield cls(api, dsn, f"http://127.0.0.1:{server}", nodes)

    async def connect(self) -> asyncpg.Connection:
        """Open a connection to the database. Raises OSError or asyncpg.PostgresError while it is away."""
        return await asyncpg.connect(self.dsn, timeout=5, command_timeout=30)

    @asynccontextmanager
    async def tools(self) -> AsyncIterator[Tools]:
        """Open a session of a real MCP client."""
        async with connect(self.mcp_url) as tools:
            yield tools

    async def component(self, name: str) -> Pod:
        """Return the one live pod of a component: postgres or operator. Raises LookupError."""
        found = await self.components(name)
        if len(found) != 1:
            raise LookupError(f"there are {len(found)} live pods of {name}, not one")
        return found[0]

    async def components(self, name: str) -> list[Pod]:
        """Return all live pods of a component: of the server there are several."""
        return [_pod(pod) for pod in await self._live(name)]

    async def pod(self, name: str) -> Pod:
        """Return a pod by name. Raises ApiRefused when it is gone."""
        return _pod(await self.api.get(f"{PODS}/{name}"))

    async def pods_of(self, job_id: UUID) -> list[dict[str, Any]]:
        """Return a job's pods that have not finished, as the API shows them."""
        unfinished = "status.phase!=Succeeded,status.phase!=Failed"
        return await self._pods(f"{LABEL_JOB_ID}={job_id}", unfinished)

    async def replace(self, component: str) -> None:
        """Delete a component's pods and wait for ready successors: restarts of the old ones are forgotten."""
        old = await self.components(component)
        for pod in old:
            await self.api.delete(f"{PODS}/{pod.name}")
        await self.ready(component, unlike=[pod.uid for pod in old])

    async def ready(self, component: str, unlike: Collection[str] = ()) -> None:
        """Wait until a component's pods are ready, none with a uid of `unlike`. Raises TimeoutError."""
        async with asyncio.timeout(_ANSWER_SECONDS):
            while True:
                live = await self._live(component)
                if live and all(_is_ready(pod) and pod["metadata"]["uid"] not in unlike for pod in live):
                    return
                await asyncio.sleep(0.2)

    async def database_answers(self) -> None:
        """Wait until a new connection to the database answers. Raises TimeoutError."""
        async with asyncio.timeout(_ANSWER_SECONDS):
            while True:
                try:
                    connection = await self.connect()
                    try:
                        await connection.fetchval("SELECT 1")
                    finally:
                        connection.terminate()
                    return
                except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                    await asyncio.sleep(0.05)

    async def _live(self, component: str) -> list[dict[str, Any]]:
        pods = await self._pods(f"{LABEL_COMPONENT}={component},app.kubernetes.io/name=codebase-mcp")
        return [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]

    async def _pods(self, labels: str, fields: str = "") -> list[dict[str, Any]]:
        query = {"labelSelector": labels, **({"fieldSelector": fields} if fields else {})}
        return list((await self.api.get(PODS, **query))["items"])


def uids(victims: Sequence[Victim]) -> list[str]:
    """Return the uids of the victims' pods."""
    return [victim.pod.uid for victim in victims]


def _pod(body: dict[str, Any]) -> Pod:
    return Pod(body["metadata"]["name"], body["metadata"]["uid"], body["spec"].get("nodeName", ""))


def _is_ready(pod: dict[str, Any]) -> bool:
    return any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", []))


def _observer() -> str:
    """Give the harness a role of its own in the database; return its name and password.

    The product's roles do not see what the others' sessions do, and a test may replace their passwords meanwhile.
    """
    password = secrets.token_hex(16)
    made = f"CREATE ROLE {_OBSERVER} SUPERUSER LOGIN; EXCEPTION WHEN duplicate_object THEN NULL;"
    query(f"DO $$ BEGIN {made} END $$; ALTER ROLE {_OBSERVER} PASSWORD '{password}'")
    return f"{_OBSERVER}:{password}"


async def _service(api: Api, component: str) -> tuple[str, int]:
    selector = f"{LABEL_COMPONENT}={component}"
    services = (await api.get(f"/api/v1/namespaces/{NAMESPACE}/services", labelSelector=selector))["items"]
    spec = services[0]["spec"]
    return spec["clusterIP"], spec["ports"][0]["port"]


@contextmanager
def _door(host: str, port: int) -> Iterator[int]:
    """Forward a loopback port of the host to an address inside the cluster; yield the port.

    Not `kubectl port-forward`: that one ends with its pod. This one belongs to no group of the cluster's
    programs, so a fault that kills all of those leaves it alone.
    """
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(128)
        local: int = listener.getsockname()[1]
        descriptor = os.dup(listener.fileno())
    command = ["nsenter", f"--net=/run/netns/{network.netns(1)}", sys.executable, "-E", "-S"]
    command += ["-m", "hack.local_cluster.forwarder", str(descriptor), host, str(port)]
    process = subprocess.Popen(command, cwd=_CHECKOUT, pass_fds=[descriptor], start_new_session=True)
    os.close(descriptor)
    try:
        yield local
    finally:
        process.terminate()
        process.wait(timeout=10)
