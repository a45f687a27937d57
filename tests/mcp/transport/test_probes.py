"""The probe port answers while the main loop is busy, and says when that loop hangs."""

import asyncio
import signal
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from codebase_mcp.settings import Settings
from codebase_mcp.transport import http, probes
from codebase_mcp.transport.health import HealthChecks
from codebase_mcp.transport.probes import HANG_SECONDS, LoopMonitor

WAIT_SECONDS = 60  # a bound for a machine that is busy


class Api:
    """A database and a cluster that answer."""

    async def unfinished(self) -> list[Any]:
        return []

    async def check(self) -> None:
        pass

    async def ping(self) -> None:
        pass


class Clock:
    """The time, which a test may put forward."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.ahead


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def url(environment_of: Any, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    """The address of the probe port of a server whose main loop is this one."""
    monkeypatch.setattr(http, "LoopMonitor", lambda: LoopMonitor(clock))
    settings = Settings.from_env(environment_of() | {"CODEBASE_PROBE_PORT": environment_of()["CODEBASE_PORT"]})
    api: Any = Api()
    url = f"http://127.0.0.1:{settings.probe_port}"
    serving = asyncio.create_task(http.serve_http(Starlette(), HealthChecks(api, api), settings))
    try:
        await asyncio.to_thread(await_success, f"{url}/metrics")
        yield url
    finally:
        if not serving.done():
            signal.raise_signal(signal.SIGTERM)
        await asyncio.wait_for(serving, WAIT_SECONDS)


async def test_a_server_that_is_told_to_end_answers_on_and_parts_with_its_clients(environment_of: Any) -> None:
    """Clients are sent here until every node knows that the pod is leaving; a second signal does not wait."""
    own, probes_ = environment_of()["CODEBASE_PORT"], environment_of()["CODEBASE_PORT"]
    changes = {"CODEBASE_PORT": own, "CODEBASE_PROBE_PORT": probes_, "CODEBASE_DRAIN_SECONDS": "600"}
    settings = Settings.from_env(environment_of() | changes)
    api: Any = Api()
    health = HealthChecks(api, api)
    app = Starlette(routes=health.routes())
    serving = asyncio.create_task(http.serve_http(app, health, settings))
    try:
        await asyncio.to_thread(await_success, f"http://127.0.0.1:{probes_}/readyz")
        async with httpx.AsyncClient(trust_env=False, timeout=WAIT_SECONDS) as client:
            before = await client.get(f"http://127.0.0.1:{own}/healthz")
            signal.raise_signal(signal.SIGTERM)
            await asyncio.sleep(0)  # the loop takes the signal in
            after = [await client.get(f"http://127.0.0.1:{own}/healthz") for _ in range(3)]
            ready = await client.get(f"http://127.0.0.1:{probes_}/readyz")
        assert (before.status_code, before.headers.get("connection")) == (200, None)
        assert [(answer.status_code, answer.headers["connection"]) for answer in after[1:]] == [(200, "close")] * 2
        assert (ready.status_code, ready.json()["status"]) == (503, "draining")
    finally:
        signal.raise_signal(signal.SIGTERM)
        await asyncio.wait_for(serving, WAIT_SECONDS)


def status_of(url: str) -> int:
    try:
        return httpx.get(url, trust_env=False, timeout=WAIT_SECONDS).status_code
    except httpx.TransportError:
        return 0


def await_success(url: str) -> None:
    end = time.monotonic() + WAIT_SECONDS
    while status_of(url) != 200:
        assert time.monotonic() < end
        time.sleep(0.05)


def answer_of(url: str) -> tuple[int, dict[str, Any]]:
    answer = httpx.get(url, trust_env=False, timeout=WAIT_SECONDS)
    return answer.status_code, answer.json()


@contextmanager
def blocked(loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    """Block the main loop, from another thread, while the block runs."""
    begun, end = threading.Event(), threading.Event()

    def block() -> None:
        begun.set()
        end.wait(2 * WAIT_SECONDS)  # longer than a client waits

    loop.call_soon_threadsafe(block)
    assert begun.wait(WAIT_SECONDS)
    try:
        yield
    finally:
        end.set()


async def test_a_busy_loop_answers_its_probes_and_one_that_hangs_fails_them(url: str, clock: Clock) -> None:
    loop = asyncio.get_running_loop()

    def observe() -> list[Any]:
        ready = answer_of(f"{url}/readyz")
        alive = answer_of(f"{url}/healthz")
        with blocked(loop):
            busy = [answer_of(f"{url}/readyz"), answer_of(f"{url}/healthz"), status_of(f"{url}/metrics")]
            clock.ahead = HANG_SECONDS
            hung = [answer_of(f"{url}/healthz"), answer_of(f"{url}/readyz"), status_of(f"{url}/metrics")]
        return [ready, alive, busy, hung]

    ready, alive, busy, hung = await asyncio.to_thread(observe)
    assert ready == (200, {"status": "ok", "database": "ok", "kubernetes": "ok"})
    assert (alive[0], alive[1]["active_jobs"]) == (200, 0)
    assert busy == [ready, alive, 200]
    assert [hung[0][0], hung[1][0], hung[2]] == [503, 503, 200]
    assert hung[0][1]["status"] == "hanging" and "has not turned for" in hung[0][1]["reason"]
    await asyncio.to_thread(await_success, f"{url}/healthz")  # it turns again


async def test_probes_of_a_busy_loop_leave_it_one_question(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    submit, submitted = asyncio.run_coroutine_threadsafe, []

    def counted(coroutine: Any, loop: asyncio.AbstractEventLoop) -> Any:
        submitted.append(coroutine)
        return submit(coroutine, loop)

    def observe() -> list[int]:
        answer_of(f"{url}/healthz")
        with blocked(loop):
            monkeypatch.setattr(asyncio, "run_coroutine_threadsafe", counted)
            return [status_of(f"{url}/healthz") for _ in range(9)]

    monkeypatch.setattr(probes, "ANSWER_SECONDS", 0.01)
    assert await asyncio.to_thread(observe) == [200] * 9
    assert len(submitted) == 1
