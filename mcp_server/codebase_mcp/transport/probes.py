"""The probe port, served by a thread of its own with an event loop of its own.

The main loop may be busy for seconds with what clients send. A kubelet that gets no answer meanwhile would restart
the server, which makes its clients wait longer and mends nothing. So this thread answers with what the main loop
said last, and watches whether it turns: a loop that stands still for long does hang, and a restart mends that.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import Future
from contextlib import asynccontextmanager
from typing import Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from codebase_mcp import metrics
from codebase_mcp.transport.health import HealthChecks, HealthReport

HANG_SECONDS: Final = 15.0
"""A main loop that has not turned for so long hangs. The longest work in it takes less than a second; the rest is
for a node that is overloaded. The kubelet restarts the server when six probes, 10 s apart, have failed."""

ANSWER_SECONDS: Final = 1.0
"""How long a probe waits for a new answer of the main loop; the chart's probes wait 2 and 3 s."""

_CHECK_SECONDS: Final = 1.0


class LoopMonitor:
    """When the main loop last turned. Written by its thread, read by the probes'."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._turned_at = clock()

    def idle_seconds(self) -> float:
        """Return how long ago that was."""
        return self._clock() - self._turned_at

    @asynccontextmanager
    async def monitoring(self) -> AsyncIterator[None]:
        """Note each second that the running loop turns, while the block runs."""
        task = asyncio.create_task(self._monitor())
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _monitor(self) -> None:
        while True:
            self._turned_at = self._clock()
            await asyncio.sleep(_CHECK_SECONDS)


class MainLoopAnswer:
    """An answer that the main loop computes, for another loop: a new one if it comes soon, or else the last."""

    def __init__(self, compute: Callable[[], Awaitable[HealthReport]], loop: asyncio.AbstractEventLoop) -> None:
        self._compute = compute
        self._loop = loop
        self._pending: Future[None] | None = None
        self._last: HealthReport | None = None

    async def get(self) -> HealthReport | None:
        """Return the answer; None if there has never been one. However many ask, one computation is pending."""
        if self._pending is None or self._pending.done():
            self._pending = asyncio.run_coroutine_threadsafe(self._renew(), self._loop)
        timeout = ANSWER_SECONDS if self._last else HANG_SECONDS
        await asyncio.wait([asyncio.wrap_future(self._pending)], timeout=timeout)
        return self._last

    async def _renew(self) -> None:
        self._last = await self._compute()


class Probes:
    """`/healthz`, `/readyz` and `/metrics`, for a loop other than the one that is running when this is made."""

    def __init__(self, health: HealthChecks, monitor: LoopMonitor) -> None:
        loop = asyncio.get_running_loop()
        self._monitor = monitor
        self._liveness = MainLoopAnswer(health.liveness, loop)
        self._readiness = MainLoopAnswer(health.readiness, loop)

    def app(self) -> Starlette:
        """Return the application."""
        return Starlette(
            routes=[
                Route("/healthz", self._healthz),
                Route("/readyz", self._readyz),
                Route("/metrics", metrics.serve_metrics),
            ]
        )

    async def _healthz(self, _: Request) -> Response:
        return await self._answer(self._liveness)

    async def _readyz(self, _: Request) -> Response:
        return await self._answer(self._readiness)

    async def _answer(self, answer: MainLoopAnswer) -> Response:
        report = await answer.get()
        idle = self._monitor.idle_seconds()
        if report is not None and idle < HANG_SECONDS:
            return JSONResponse(*report)
        reason = f"the server's event loop has not turned for {idle:.0f} s; it hangs, and has to be restarted"
        return JSONResponse({"status": "hanging", "reason": reason}, 503)
