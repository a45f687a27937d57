"""The program itself: `python -m codebase_mcp`, over real HTTP and over standard input and output."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from mcp import Client, StdioServerParameters

from codebase_index.store.database import Database

START_SECONDS = 60  # a bound for a machine that is busy
STOP_SECONDS = 30  # without a bound of its own, the server would wait for an open stream for ever

KUBECONFIG = {
    "apiVersion": "v1", "kind": "Config", "current-context": "x",
    "clusters": [{"name": "x", "cluster": {"server": "http://127.0.0.1:{port}"}}],
    "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
    "users": [{"name": "x", "user": {"token": "t"}}],
}  # fmt: skip


@pytest.fixture
def environment(dsn: str, roots: Path, closed_port: int, tmp_path: Path) -> dict[str, str]:
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(json.dumps(KUBECONFIG).replace("{port}", str(closed_port)))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("KUBERNETES_")}
    return {
        **inherited,
        "CODEBASE_DATABASE_URL": dsn,
        "CODEBASE_ROOTS": json.dumps([{"path": str(roots)}]),
        "CODEBASE_ALLOWED_HOSTS": "mcp.example.org",
        "CODEBASE_PORT": str(port),
        "KUBECONFIG": str(kubeconfig),
    }


@asynccontextmanager
async def serving(environment: dict[str, str]) -> AsyncIterator[tuple[str, asyncio.subprocess.Process]]:
    """Run the server; yield its address and its process once it answers."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "codebase_mcp", "--http", env=environment, stderr=asyncio.subprocess.DEVNULL
    )
    url = f"http://127.0.0.1:{environment['CODEBASE_PORT']}"
    try:
        async with asyncio.timeout(START_SECONDS), httpx.AsyncClient() as client:
            while True:
                assert process.returncode is None, "the server ended while it started"
                with contextlib.suppress(httpx.TransportError):
                    await client.get(f"{url}/healthz")
                    break
                await asyncio.sleep(0.1)
        yield url, process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@pytest.fixture
async def url(environment: dict[str, str]) -> AsyncIterator[str]:
    async with serving(environment) as (url, _):
        yield url


async def test_the_tools_work_over_http(url: str, era: str, shop: Any, answered: Callable[..., Any]) -> None:
    job_id = str(await shop.running())
    async with Client(f"{url}/mcp", mode=era) as client:
        assert len((await client.list_tools()).tools) == 5
        status = answered(await client.call_tool("get_indexing_status", {"job_id": job_id}))
        assert status["status"] == "running"
        cancelled = answered(await client.call_tool("cancel_indexing_background", {"job_id": job_id}))
        assert cancelled["status"] == "cancelled"


async def test_the_tools_work_over_standard_input_and_output(
    environment: dict[str, str], era: str, shop: Any, answered: Callable[..., Any]
) -> None:
    await shop.completed({"a.py": "class Checkout: pass"})
    program = StdioServerParameters(command=sys.executable, args=["-m", "codebase_mcp"], env=environment)
    async with Client(program, mode=era) as client:
        found = answered(await client.call_tool("search_code", {"query": "Checkout"}))
    assert [result["path"] for result in found["results"]] == ["a.py"]


async def test_health(url: str, shop: Any, database: Database) -> None:
    oldest = await shop.running("/work/oldest")
    await shop.pending("/work/next")
    over = await shop.failed("/work/over")
    created = "UPDATE jobs SET created_at = now() - $2::interval WHERE id = $1"
    async with database.connection() as connection:
        await connection.execute(created, oldest, timedelta(hours=2))
        await connection.execute(created, over, timedelta(hours=9))
    async with httpx.AsyncClient(base_url=url) as client:
        health, ready = await client.get("/healthz"), await client.get("/readyz")
    assert health.status_code == 200
    facts = health.json()
    assert (facts["status"], facts["database"], facts["active_jobs"]) == ("ok", "ok", 2)
    assert 2 * 3600 <= facts["oldest_active_job_seconds"] < 3 * 3600
    assert ready.status_code == 200
    reason = "the Kubernetes API does not answer (ClientConnectorError)"
    assert ready.json() == {
        "status": "degraded", "database": "ok", "kubernetes": "away", "kubernetes_reason": reason,
    }  # fmt: skip


async def test_with_nothing_to_answer_from_the_server_is_alive_but_not_ready(
    environment: dict[str, str], closed_port: int
) -> None:
    away = {**environment, "CODEBASE_DATABASE_URL": f"postgresql://u:p@127.0.0.1:{closed_port}/x"}
    async with serving(away) as (url, _), httpx.AsyncClient(base_url=url) as client:
        health, ready = await client.get("/healthz"), await client.get("/readyz")
    assert (health.status_code, health.json()["database"]) == (200, "away")
    assert (ready.status_code, ready.json()["status"]) == (503, "unavailable")


LISTING = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Host": "mcp.example.org"}, 200),
        ({"Host": "mcp.example.org:8443"}, 200),
        ({"Host": "rebound.example.com"}, 421),
        ({"Origin": "http://localhost:6274"}, 200),
        ({"Origin": "https://evil.example.com"}, 403),
        ({"Content-Type": "text/plain"}, 400),
    ],
    ids=str,
)
async def test_who_may_speak_to_the_endpoint(url: str, headers: dict[str, str], status: int) -> None:
    given = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json", **headers}
    async with httpx.AsyncClient() as client:
        answer = await client.post(f"{url}/mcp", content=json.dumps(LISTING), headers=given)
    assert answer.status_code == status


async def test_a_body_that_is_too_large_is_refused(url: str) -> None:
    headers = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
    async with httpx.AsyncClient() as client:
        answer = await client.post(f"{url}/mcp", content=b" " * 300_000, headers=headers)
    assert answer.status_code == 413


async def test_sigterm_ends_the_server_in_spite_of_an_open_stream(environment: dict[str, str]) -> None:
    async with serving(environment) as (url, process), httpx.AsyncClient(timeout=None) as client:
        headers = {"Accept": "text/event-stream"}
        async with client.stream("GET", f"{url}/mcp", headers=headers) as stream:
            assert stream.status_code == 200
            process.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(process.wait(), STOP_SECONDS) == 0


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"CODEBASE_DATABASE_URL": ""}, "CODEBASE_DATABASE_URL is not set"),
        ({"CODEBASE_ROOTS": "nonsense"}, "CODEBASE_ROOTS is malformed"),
        ({"KUBECONFIG": "/does/not/exist"}, "no way to the Kubernetes API"),
    ],
)
async def test_a_wrong_setting_ends_the_start_with_code_2(
    change: dict[str, str], says: str, environment: dict[str, str]
) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "codebase_mcp", "--http",
        env={**environment, **change}, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    _, stderr = await asyncio.wait_for(process.communicate(), START_SECONDS)
    assert process.returncode == 2
    message = stderr.decode().splitlines()[-1]  # the Kubernetes client may have warned before
    assert message.startswith("codebase_mcp: ") and says in message
    assert "Traceback" not in stderr.decode()
