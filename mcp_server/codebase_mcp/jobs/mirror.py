"""Jobs by id from their custom resources: the fallback while the database is unavailable."""

import asyncio
import time
from uuid import UUID

from codebase_index.api.job import LABEL_CALLER, JobState
from codebase_index.api.resource import IndexingJob
from codebase_index.store.jobs.jobs import QueueLength
from codebase_mcp.jobs.cluster import Cluster

MAX_AGE_SECONDS = 1.0
"""How long a listing is valid. The operator writes a status at most every 2 s, so little is lost, and 50 clients
that poll while the database is unavailable cost the API server one listing a second."""


class JobMirror:
    """A cached listing of all jobs. The API has no cheaper way to find a job by uid."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._jobs: dict[str, IndexingJob] = {}
        self._listed_at = float("-inf")
        self._lock = asyncio.Lock()

    def add(self, job: IndexingJob) -> None:
        """Add a job that was just created, so that counts include it."""
        self._jobs[job.metadata.uid] = job

    async def queue_length(self, caller: str) -> QueueLength:
        """Count the waiting jobs by their custom resources. Raises ClusterUnavailable."""
        await self._refresh(time.monotonic() - MAX_AGE_SECONDS)
        callers = [job.metadata.labels.get(LABEL_CALLER) for job in self._jobs.values() if _waits(job)]
        return QueueLength(len(callers), callers.count(caller))

    async def find(self, job_id: UUID) -> IndexingJob | None:
        """Return the job with this uid, or None. Raises ClusterUnavailable."""
        asked_at = time.monotonic()
        cached = self._jobs.get(str(job_id))
        if cached is not None and asked_at - self._listed_at < MAX_AGE_SECONDS:
            return cached
        # A listing from before the call is not enough: the job may have been created since.
        await self._refresh(asked_at)
        return self._jobs.get(str(job_id))

    async def _refresh(self, since: float) -> None:
        """List the jobs unless there is a listing since that time: those who wait for the lock share one."""
        async with self._lock:
            if self._listed_at < since:
                started_at = time.monotonic()
                self._jobs = {job.metadata.uid: job for job in await self._cluster.list_all()}
                self._listed_at = started_at


def _waits(job: IndexingJob) -> bool:
    admitted = any(c.type == "Admitted" and c.status == "True" for c in job.status.conditions)
    wants_a_slot = not (job.spec.cancel or job.spec.suspend)
    return job.state is JobState.PENDING and wants_a_slot and not admitted
