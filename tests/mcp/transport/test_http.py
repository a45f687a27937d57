"""The program itself: `python -m codebase_mcp`, over real HTTP and over standard input and output."""

import asyncio
import json
import socket
import sys
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest
from mcp import Client, StdioServerParameters

from codebase_index.store.database import Database
from codebase_mcp.transport.answer_cache import CACHE_SECONDS

START_SECONDS = 60  # a bound for a machine that is busy


async def test_the_tools_work_over_http(url: str, era: str, shop: Any, answered: Callable[..., Any]) -> None:
    job_id = str(await shop.running())
    async with Client(f"{url}/mcp", mode=era) as client:
        assert len((await client.list_tools()).tools) == 8
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
    await asyncio.sleep(CACHE_SECONDS)
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
    environment: dict[str, str], closed_port: int, serving_http: Any
) -> None:
    away = {**environment, "CODEBASE_DATABASE_URL": f"postgresql://u:p@127.0.0.1:{closed_port}/x"}
    async with serving_http(away) as (url, _), httpx.AsyncClient(base_url=url) as client:
        health, ready = await client.get("/healthz"), await client.get("/readyz")
    assert (health.status_code, health.json()["database"]) == (200, "away")
    assert (ready.status_code, ready.json()["status"]) == (503, "unavailable")


LISTING = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}


async def test_who_may_speak_to_the_endpoint(url: str) -> None:
    given = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
    callers: list[tuple[dict[str, str], int]] = [
        ({}, 200),
        ({"Host": "mcp.example.org"}, 200),
        ({"Host": "mcp.example.org:8443"}, 200),
        ({"Host": "rebound.example.com"}, 421),
        ({"Origin": "http://localhost:6274"}, 200),
        ({"Origin": "https://evil.example.com"}, 403),
        ({"Content-Type": "text/plain"}, 415),
    ]
    async with httpx.AsyncClient(base_url=url) as client:
        for headers, status in callers:
            answer = await client.post("/mcp", content=json.dumps(LISTING), headers=given | headers)
            assert answer.status_code == status, headers


async def test_a_body_that_is_too_large_is_refused(url: str) -> None:
    headers = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
    async with httpx.AsyncClient() as client:
        answer = await client.post(f"{url}/mcp", content=b" " * 300_000, headers=headers)
    assert answer.status_code == 413


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"CODEBASE_DATABASE_URL": ""}, "CODEBASE_DATABASE_URL is not set"),
        ({"CODEBASE_ROOTS": "nonsense"}, "CODEBASE_ROOTS is malformed"),
        ({"KUBECONFIG": "/does/not/exist"}, "the Kubernetes API is not configured"),
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


async def test_a_port_that_is_taken_ends_the_start_with_code_2(environment: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        env = {**environment, "CODEBASE_PROBE_PORT": str(taken.getsockname()[1])}
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "codebase_mcp", "--http", env=env, stderr=asyncio.subprocess.PIPE
        )
        _, stderr = await asyncio.wait_for(process.communicate(), START_SECONDS)
    assert process.returncode == 2
    assert stderr.decode().splitlines()[-1].startswith("codebase_mcp: cannot listen on 127.0.0.1")
