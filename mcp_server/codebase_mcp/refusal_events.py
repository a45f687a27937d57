"""Refused starts as Events of Kubernetes, on this server's own pod: `kubectl get events` shows them.

An Event says why, who, and under which request id the log has more: nothing of the arguments. Whoever is refused
chooses how often, so a reason is told once a minute, with the number of refusals that it stands for.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import aiohttp
from kubernetes.aio import client
from kubernetes.aio.client.exceptions import ApiException

from codebase_index.untrusted_text import named
from codebase_mcp import metrics
from codebase_mcp.identity import principal
from codebase_mcp.limits import origin
from codebase_mcp.settings import Pod

log = logging.getLogger(__name__)

TOOL: Final = "start_indexing_background"
SECONDS_BETWEEN: Final = 60.0
"""Between two Events of one reason: of some fifteen reasons, as many Events a minute at most."""

TIMEOUT_SECONDS: Final = 3.0
MAX_NAME: Final = 100
"""Characters of a principal's name that are shown."""

COMPONENT: Final = "codebase-mcp-server"


@dataclass(frozen=True)
class Refusal:
    """What is told of refusals: the last one, and how many it stands for."""

    reason: str
    principal: str
    request_id: str
    count: int

    def manifest(self, pod: Pod, namespace: str, now: datetime) -> dict[str, Any]:
        """Return the Event."""
        time_text = now.isoformat(timespec="seconds")
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"generateName": f"{pod.name}.", "namespace": namespace},
            "involvedObject": {
                "apiVersion": "v1", "kind": "Pod", "name": pod.name, "namespace": namespace, "uid": pod.uid,
            },
            "reason": "Refused",
            "message": f"{TOOL} was refused ({self.reason}); caller {self.principal}; "
            f"the log has it under request id {self.request_id}",
            "type": "Warning",
            "source": {"component": COMPONENT},
            "reportingComponent": COMPONENT,
            "reportingInstance": pod.name,
            "firstTimestamp": time_text,
            "lastTimestamp": time_text,
            "count": self.count,
        }  # fmt: skip


class RefusalEvents:
    """Tells of refused starts. `create` records an Event, and raises what a client of the API server raises."""

    def __init__(
        self, create: Callable[[dict[str, Any]], Awaitable[object]], pod: Pod, namespace: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._create = create
        self._pod = pod
        self._namespace = namespace
        self._clock = clock
        self._untold: Counter[str] = Counter()
        self._told_at: dict[str, float] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    @classmethod
    @asynccontextmanager
    async def to_api(cls, api: client.ApiClient, pod: Pod, namespace: str) -> AsyncIterator["RefusalEvents"]:
        """Yield one that writes to the API server; at the end it waits for what is under way."""
        core: Any = client.CoreV1Api(api)

        async def create(manifest: dict[str, Any]) -> None:
            await core.create_namespaced_event(namespace, manifest, _request_timeout=TIMEOUT_SECONDS)

        self = cls(create, pod, namespace)
        try:
            yield self
        finally:
            await self.written()

    def tell(self, tool: str, text: str) -> None:
        """Tell of a refusal with this text, if it is of a start. Nobody waits for it."""
        if tool != TOOL:
            return
        reason, now = metrics.refusal_reason(text), self._clock()
        self._untold[reason] += 1
        if now - self._told_at.get(reason, float("-inf")) < SECONDS_BETWEEN:
            return
        self._told_at[reason] = now
        who = principal.current()
        name = named(who.key[:MAX_NAME]) if who else "unknown"
        refusal = Refusal(reason, name, origin.current().request_id, self._untold.pop(reason))
        task = asyncio.ensure_future(self._write(refusal))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def written(self) -> None:
        """Wait until all that was told is written, or given up."""
        if self._tasks:
            await asyncio.wait(set(self._tasks))

    async def _write(self, refusal: Refusal) -> None:
        try:
            await self._create(refusal.manifest(self._pod, self._namespace, datetime.now(UTC)))
        except (ApiException, aiohttp.ClientError, TimeoutError, OSError) as error:
            status = getattr(error, "status", None)
            log.warning("a refused start has no Event: %s %s", type(error).__name__, status or "")
