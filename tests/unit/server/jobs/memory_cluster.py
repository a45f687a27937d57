"""A custom resource API in memory, which shows races and failures that a real one shows too rarely.

The real API is in tests/mcp/transport/test_start.py.
"""

import asyncio
import itertools
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from codebase_index.api.job import LABEL_CALLER
from codebase_index.api.resource import IndexingJob, IndexingJobSpec, Source
from codebase_mcp.jobs.cluster import ClusterUnavailable, NameConflict


class MemoryCluster:
    """Custom resources in a dict, with the API server's rule that a name is taken once."""

    def __init__(self) -> None:
        self.jobs: dict[str, IndexingJob] = {}
        self.away = False
        self.listings = 0
        self.before_create = asyncio.Event()
        self.before_create.set()
        self._creators = asyncio.Semaphore(0)
        self._seconds = itertools.count()

    def add(self, name: str, spec: IndexingJobSpec, **status: Any) -> IndexingJob:
        created = datetime.now(UTC) + timedelta(seconds=next(self._seconds))
        job = IndexingJob.parse(
            {
                "metadata": {
                    "name": name,
                    "namespace": "default",
                    "uid": str(uuid4()),
                    "creationTimestamp": created,
                },
                "spec": spec.model_dump(),
                "status": status,
            }
        )  # fmt: skip
        self.jobs[name] = job
        return job

    async def list_for_target(self, spec: IndexingJobSpec) -> list[IndexingJob]:
        self._answer()
        return [job for job in self.jobs.values() if job.spec.target == spec.target]

    async def list_all(self) -> list[IndexingJob]:
        self._answer()
        self.listings += 1
        return list(self.jobs.values())

    async def create(self, name: str, spec: IndexingJobSpec, caller: str | None = None) -> IndexingJob:
        self._answer()
        self._creators.release()
        await self.before_create.wait()
        if name in self.jobs:
            raise NameConflict(name)
        job = self.add(name, spec)
        labels = {LABEL_CALLER: caller} if caller else {}
        self.jobs[name] = job.model_copy(update={"metadata": job.metadata.model_copy(update={"labels": labels})})
        return self.jobs[name]

    async def creators(self, count: int) -> None:
        """Return when so many have come to create a job, and wait for `before_create`."""
        async with asyncio.timeout(30):
            for _ in range(count):
                await self._creators.acquire()

    async def cancel(self, name: str, uid: str) -> bool:
        self._answer()
        job = self.jobs.get(name)
        if job is None or job.metadata.uid != uid:
            return False
        self.jobs[name] = job.model_copy(update={"spec": job.spec.model_copy(update={"cancel": True})})
        return True

    async def ping(self) -> None:
        self._answer()

    def _answer(self) -> None:
        if self.away:
            raise ClusterUnavailable("the Kubernetes API does not answer")


def kubectl_job(cluster: MemoryCluster, **status: Any) -> IndexingJob:
    return cluster.add("by-hand", IndexingJobSpec(source=Source(path="/work/shop"), name="by hand"), **status)
