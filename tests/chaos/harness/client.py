"""A user's view of the jobs: a real MCP client that asks for their status all the time and connects anew."""

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from hack.deployment.mcp_client import Tools
from tests.chaos.harness.cluster import Cluster

EVERY_SECONDS = 0.5
PATIENCE_SECONDS = 5.0
_NEVER_FALLS = ("progress_percentage", "files_indexed", "files_skipped", "chunks_created", "attempt")


@dataclass
class Client:
    """The answers to each job's status, in order, each with the moment at which it came."""

    answers: dict[UUID, list[tuple[datetime, dict[str, Any]]]] = field(default_factory=dict)

    @classmethod
    @asynccontextmanager
    async def watching(cls, cluster: Cluster, job_ids: Sequence[UUID]) -> AsyncIterator["Client"]:
        """Ask while the block runs."""
        client = cls({job_id: [] for job_id in job_ids})
        task = asyncio.create_task(client._run(cluster))
        try:
            yield client
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def answered_after(self, job_id: UUID, moment: datetime) -> datetime | None:
        """Return when the first answer after the moment came."""
        return next((at for at, _ in self.answers[job_id] if at > moment), None)

    async def until_answered(self, moment: datetime, patience: float) -> None:
        """Wait until every job's status was told after the moment, or for so many seconds."""
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            if all(self.answered_after(job_id, moment) for job_id in self.answers):
                return
            await asyncio.sleep(0.1)

    def wrong(self, job_id: UUID) -> list[str]:
        """Say where progress fell. Answers marked as stale come from the mirror, which may lag behind."""
        fresh = [status for _, status in self.answers[job_id] if not status.get("stale")]
        return [
            f"its status told {field} {before[field]} and then {after[field]}"
            for before, after in itertools.pairwise(fresh)
            for field in _NEVER_FALLS
            if after[field] < before[field]
        ]

    async def _run(self, cluster: Cluster) -> None:
        while True:
            # Whatever the server or its connection does under a fault, the user tries again.
            with contextlib.suppress(Exception):
                async with asyncio.timeout(PATIENCE_SECONDS) as opening, cluster.tools() as tools:
                    opening.reschedule(None)
                    await self._ask(tools)
            await asyncio.sleep(EVERY_SECONDS)

    async def _ask(self, tools: Tools) -> None:
        while True:
            for job_id, answers in self.answers.items():
                async with asyncio.timeout(PATIENCE_SECONDS):
                    status = await tools.call("get_indexing_status", job_id=str(job_id))
                answers.append((datetime.now(UTC), status))
            await asyncio.sleep(EVERY_SECONDS)
