"""The operator as a process against a real API server and a real Postgres: what its tests share.

The pods' image does not exist, so no pod ever works: a test plays the indexer in the database where a job has to
move on. Waits are bounded generously: they say that something happens, not how fast.
"""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
from kubernetes.aio import client

from codebase_index.api.job import GROUP, PLURAL, VERSION
from codebase_index.store.database import Database
from codebase_index.store.jobs.jobs import Jobs
from codebase_index.store.jobs.rows import JobRow

ROOT = Path(__file__).resolve().parents[3]
KUBECONFIG = Path(os.environ.get("KUBECONFIG") or ROOT / ".cluster/kubeconfig")
PATIENCE = 60.0


@dataclass
class Cluster:
    """A namespace of this test's own, and what the tests do in it."""

    api: client.ApiClient
    namespace: str
    database: Database

    def __post_init__(self) -> None:
        self.jobs = Jobs(self.database)
        self.core = client.CoreV1Api(self.api)
        self.custom = client.CustomObjectsApi(self.api)
        self.where = (GROUP, VERSION, self.namespace, PLURAL)

    async def create(self, name: str, /, **spec: Any) -> UUID:
        body = {
            "apiVersion": f"{GROUP}/{VERSION}",
            "kind": "IndexingJob",
            "metadata": {"name": name},
            "spec": {"source": {"path": f"/repos/{name}"}, **spec},
        }
        made: Any = await self.custom.create_namespaced_custom_object(*self.where, body)
        return UUID(made["metadata"]["uid"])

    async def patch(self, name: str, **spec: Any) -> None:
        await self.custom.patch_namespaced_custom_object(
            *self.where, name, {"spec": spec}, _content_type="application/merge-patch+json"
        )

    async def delete(self, name: str) -> None:
        await self.custom.delete_namespaced_custom_object(*self.where, name)

    async def read(self, name: str) -> dict[str, Any]:
        body: Any = await self.custom.get_namespaced_custom_object(*self.where, name)
        return dict(body)

    async def status(self, name: str) -> dict[str, Any]:
        return dict((await self.read(name)).get("status") or {})

    async def pods(self) -> set[str]:
        """Names of the pods that nobody is deleting."""
        return {pod.metadata.name for pod in await self.all_pods() if pod.metadata.deletion_timestamp is None}

    async def all_pods(self) -> list[Any]:
        return list((await self.core.list_namespaced_pod(self.namespace)).items)

    async def events(self, name: str) -> list[str]:
        found = await self.core.list_namespaced_event(
            self.namespace, field_selector=f"involvedObject.name={name},involvedObject.kind=IndexingJob"
        )
        return [event.reason or "" for event in found.items]

    async def row(self, job_id: UUID) -> JobRow:
        return await self.jobs.get(job_id)


async def eventually(claim: str, check: Callable[[], Awaitable[Any]]) -> Any:
    """Wait until a check is truthy, and return its value."""
    end = time.monotonic() + PATIENCE
    value: Any = None
    while time.monotonic() < end:
        value = await check()
        if value:
            return value
        await asyncio.sleep(0.2)
    raise AssertionError(f"not within {PATIENCE:.0f} s: {claim} (last: {value!r})")


Connect = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]


class Door:
    """A way to a server that can be shut: connections break, and new ones are refused."""

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self.port = 0

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def shut(self) -> None:
        if self._server:
            self._server.close()
            for writer in list(self._writers):
                writer.transport.abort()
            await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await self._connect()
        both = {writer, back}
        self._writers |= both
        try:
            await asyncio.gather(self._pump(reader, back), self._pump(there, writer))
        finally:
            self._writers -= both
            for end in both:
                end.transport.abort()

    @staticmethod
    async def _pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65536):
                target.write(data)
                await target.drain()
        except OSError:
            pass
        finally:
            target.close()


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


class Operator:
    """The operator as a process of its own."""

    def __init__(
        self, namespace: str, dsn: str, folder: Path, kubeconfig: Path = KUBECONFIG, *,
        name: str = "operator", lease: str = "", env: dict[str, str] | None = None,
    ) -> None:  # fmt: skip
        folder.mkdir(exist_ok=True)
        template = folder / "pod.json"
        template.write_text(json.dumps({"image": "localhost/none:0", "imagePullPolicy": "Never"}))
        metrics = free_port()
        self.name = name
        self.liveness = f"http://127.0.0.1:{free_port()}/healthz"
        self.metrics = f"http://127.0.0.1:{metrics}/metrics"
        self.log = folder / "operator.log"
        self._environment = {
            **os.environ,
            **(env or {}),
            "KUBECONFIG": str(kubeconfig),
            "CODEBASE_NAMESPACE": namespace,
            "CODEBASE_DATABASE_URL": dsn,
            "CODEBASE_POD_TEMPLATE": str(template),
            "CODEBASE_LIVENESS": self.liveness,
            "CODEBASE_LOG_LEVEL": "DEBUG",
            "CODEBASE_POD": name,
            "CODEBASE_LEASE_NAME": lease,
            "CODEBASE_METRICS_PORT": str(metrics),
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "codebase_operator"], env=self._environment, stderr=log, stdout=log
            )

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        assert self._process
        self._process.send_signal(how)
        return self._process.wait(PATIENCE)

    async def probe(self) -> int:
        """Return the liveness probe's HTTP status, 0 when it does not answer."""
        return (await self._get(self.liveness))[0]

    async def says(self) -> str:
        """Return what the liveness probe answers."""
        return (await self._get(self.liveness))[1]

    async def samples(self, name: str) -> list[str]:
        """Return the lines of a metric."""
        lines = (await self._get(self.metrics))[1].splitlines()
        return [line for line in lines if line.startswith(f"codebase_operator_{name}")]

    async def is_leader(self) -> bool:
        return await self.samples("leader") == ["codebase_operator_leader 1.0"]

    @staticmethod
    async def _get(url: str) -> tuple[int, str]:
        try:
            async with httpx.AsyncClient(trust_env=False) as http:
                answer = await http.get(url)
                return answer.status_code, answer.text
        except httpx.TransportError:
            return 0, ""

    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def tracebacks(self) -> list[str]:
        return [line for line in self.log.read_text().splitlines() if "Traceback" in line]
