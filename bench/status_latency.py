"""How fast get_indexing_status answers many clients while jobs run: p50, p95, max.

    .venv/bin/python -m bench.status_latency [--clients 50] [--interval 1] [--seconds 30] [--url URL] [--json FILE]

Without --url: the server as it ships (`python -m codebase_mcp --http`) on an embedded Postgres, beside three real
indexer workers on generated repositories; all of it, and the clients, share this machine, with the weights that
the chart's requests give to pods. With --url, for instance of `kubectl port-forward`: the server there and the
jobs that it lists first. Each client has a connection of its own and polls one job; `--interval 0` asks again at
once. The limit to hold is 100 ms at p95.
"""

import argparse
import asyncio
import contextlib
import json
import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import httpx
from mcp import Client

from bench.postgres import postgres
from bench.shares import Shares, shares
from codebase_index.api.job import JobState
from codebase_index.api.resource import IndexingJob
from codebase_index.store.database import Database
from codebase_index.store.jobs.jobs import Jobs
from tests.fixtures.generate_test_repo import generate

TOOL = "get_indexing_status"
VERSIONS = {"modern": "2026-07-28", "legacy": "2025-11-25"}
STATES = frozenset(JobState)
JOBS = 3
FILES = 3000
"""Files of each generated repository: enough for three workers on two cores to run longer than the measurement."""


async def main() -> int:
    """Measure, and print the figures."""
    parser = argparse.ArgumentParser(prog="python -m bench.status_latency")
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--interval", type=float, default=1.0, help="seconds between a client's questions")
    parser.add_argument("--seconds", type=float, default=30.0, help="how long to measure")
    parser.add_argument("--era", choices=list(VERSIONS), default="modern")
    parser.add_argument("--url", help="address of a server that runs, without /mcp")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    async with contextlib.AsyncExitStack() as stack:
        url = given.url or await stack.enter_async_context(own_server())
        jobs = await jobs_of(url)
        if not jobs:
            print(f"{url} lists no jobs; start some first", file=sys.stderr)
            return 2
        latencies, states = await measure(url, jobs, given)
    figures = {
        "clients": given.clients,
        "interval_seconds": given.interval,
        "era": given.era,
        "jobs": len(jobs),
        "answers": len(latencies),
        "answers_while_running": states.count("running"),
        "errors": [state for state in states if state not in STATES][:3],
        "latency_ms": quantiles(latencies),
    }
    print(table(figures))
    print(json.dumps(figures))
    if given.json:
        given.json.parent.mkdir(parents=True, exist_ok=True)
        given.json.write_text(json.dumps(figures, indent=2) + "\n")
    return 0


async def measure(url: str, jobs: Sequence[str], given: argparse.Namespace) -> tuple[list[float], list[str]]:
    """Return each answer's time in seconds, and the state it told."""
    latencies: list[float] = []
    states: list[str] = []
    connected = asyncio.Barrier(given.clients)

    async def poll(job_id: str) -> None:
        # One connection a client. Not the SDK's client: fifty of those use more CPU than the server they ask.
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1)) as session:
            await ask(session, url, given.era, job_id)
            await connected.wait()
            end = time.monotonic() + given.seconds
            await asyncio.sleep(random.uniform(0, given.interval))
            while time.monotonic() < end:
                began = time.perf_counter()
                state = await ask(session, url, given.era, job_id)
                latencies.append(time.perf_counter() - began)
                states.append(state)
                await asyncio.sleep(given.interval)

    async with asyncio.TaskGroup() as clients:
        for i in range(given.clients):
            clients.create_task(poll(jobs[i % len(jobs)]))
    return latencies, states


async def ask(session: aiohttp.ClientSession, url: str, era: str, job_id: str) -> str:
    """Ask for a job's status as a client of the era does; return its state, or what went wrong."""
    answer = await call(session, url, era, TOOL, job_id=job_id)
    return str(answer.get("status") or answer)


async def call(session: aiohttp.ClientSession, url: str, era: str, tool: str, **arguments: Any) -> dict[str, Any]:
    """Call a tool; return its structured answer, or the whole one if it has none."""
    params: dict[str, Any] = {"name": tool, "arguments": arguments}
    headers = {"Accept": "application/json, text/event-stream", "MCP-Protocol-Version": VERSIONS[era]}
    if era == "modern":
        headers |= {"Mcp-Method": "tools/call", "Mcp-Name": tool}
        prefix = "io.modelcontextprotocol/"
        params["_meta"] = {f"{prefix}protocolVersion": VERSIONS[era], f"{prefix}clientCapabilities": {}}
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    async with session.post(f"{url}/mcp", json=body, headers=headers) as response:
        answer: dict[str, Any] = await response.json()
    return (answer.get("result") or {}).get("structuredContent") or answer


async def jobs_of(url: str) -> list[str]:
    """Return the newest jobs that the server lists, the running ones if there are any."""
    async with Client(f"{url}/mcp") as client:
        for arguments in ({"status": "running", "limit": JOBS}, {"limit": JOBS}):
            answer = await client.call_tool("list_indexing_jobs", arguments)
            listed: list[dict[str, Any]] = (answer.structured_content or {})["jobs"]
            if listed:
                break
    return [job["job_id"] for job in listed]


def quantiles(seconds: Sequence[float]) -> dict[str, float]:
    """Return the usual figures in milliseconds."""
    cuts = statistics.quantiles(seconds, n=100)
    picked = {"p50": cuts[49], "p95": cuts[94], "p99": cuts[98], "max": max(seconds)}
    return {name: round(1000 * value, 1) for name, value in picked.items()}


def table(figures: dict[str, Any]) -> str:
    """Return the figures for people."""
    latency = figures["latency_ms"]
    head = f"{'clients':>8} {'answers':>8} {'running':>8}" + "".join(f"{name:>9}" for name in latency)
    row = f"{figures['clients']:>8} {figures['answers']:>8} {figures['answers_while_running']:>8}"
    return f"{head}   (ms)\n{row}" + "".join(f"{value:>9.1f}" for value in latency.values())


# --- a server of our own -----------------------------------------------------------------------------


@asynccontextmanager
async def own_server() -> AsyncIterator[str]:
    """Run Postgres, three indexer workers and the server; yield the server's address when the workers are busy."""
    processes: list[subprocess.Popen[bytes]] = []
    with tempfile.TemporaryDirectory(prefix="bench-status-") as scratch, shares() as pods, postgres() as dsn:
        folder = Path(scratch)
        try:
            database = await Database.open(dsn, name="bench")
            await database.migrate()
            await weigh_postgres(database, pods)
            for i in range(JOBS):
                processes.append(await start_worker(database, dsn, folder / f"repository-{i}", i, pods))
            await database.close()
            process, url = start_server(dsn, folder, 0, pods)
            processes.append(process)
            await until_ready(url, process)
            yield url
        finally:
            for process in processes:
                process.kill()
                process.wait()


async def weigh_postgres(database: Database, pods: Shares) -> None:
    """Give the database's processes the weight of its pod, but for the connections that there are."""
    async with database.connection() as connection:
        pods.move_postgres(await connection.fetchval("SELECT pg_backend_pid()"))


async def start_worker(
    database: Database, dsn: str, repository: Path, number: int, pods: Shares
) -> subprocess.Popen[bytes]:
    """Generate a repository, and start a job on it as a pod would."""
    generate(repository, file_count=FILES, seed=number)
    meta = {"name": repository.name, "namespace": "bench", "uid": str(uuid4())}
    spec = {"source": {"path": str(repository)}}
    body = {"metadata": {**meta, "creationTimestamp": datetime.now(UTC).isoformat()}, "spec": spec}
    jobs, job_id = Jobs(database), UUID(meta["uid"])
    await jobs.create(IndexingJob.parse(body))
    await jobs.fence(job_id, 1, failed=False, message="Starting")
    environment = {
        **os.environ,
        "CODEBASE_DATABASE_URL": dsn,
        "CODEBASE_JOB_ID": meta["uid"],
        "CODEBASE_ATTEMPT": "1",
        "CODEBASE_POD": "bench",
        "CODEBASE_JOB_SPEC": json.dumps(spec),
        "CODEBASE_ROOTS": json.dumps([{"path": str(repository)}]),
        "CODEBASE_PROCESSES": "1",
        "CODEBASE_LOG_LEVEL": "WARNING",
    }
    command = pods.command("indexer", number, [sys.executable, "-m", "codebase_indexer"])
    return await asyncio.to_thread(subprocess.Popen, command, env=environment)


def start_server(dsn: str, folder: Path, number: int, pods: Shares) -> tuple[subprocess.Popen[bytes], str]:
    """Start the server as it ships; its Kubernetes API is a closed port, which a status does not need."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    kubeconfig = folder / "kubeconfig"
    kubeconfig.write_text(
        "{apiVersion: v1, kind: Config, current-context: x, users: [{name: x, user: {token: x}}],"
        ' clusters: [{name: x, cluster: {server: "http://127.0.0.1:9"}}],'
        " contexts: [{name: x, context: {cluster: x, user: x}}]}"
    )
    environment = {
        **os.environ,
        "CODEBASE_DATABASE_URL": dsn,
        "CODEBASE_ROOTS": json.dumps([{"path": str(folder)}]),
        "CODEBASE_PORT": str(port),
        "CODEBASE_AUTH": "none",
        "CODEBASE_LOG_LEVEL": "WARNING",
        "KUBECONFIG": str(kubeconfig),
    }
    command = pods.command("server", number, [sys.executable, "-m", "codebase_mcp", "--http"])
    return subprocess.Popen(command, env=environment), f"http://127.0.0.1:{port}"


async def until_ready(url: str, process: subprocess.Popen[bytes], jobs: int = 1) -> None:
    """Wait until the server answers, and so many jobs run at least."""
    async with asyncio.timeout(60), httpx.AsyncClient() as client:
        while True:
            assert process.poll() is None, "the server ended while it started"
            with contextlib.suppress(httpx.TransportError):
                if (await client.get(f"{url}/healthz")).json()["active_jobs"] >= jobs:
                    return
            await asyncio.sleep(0.2)


if __name__ == "__main__":
    raise SystemExit(asyncio.run(main()))
