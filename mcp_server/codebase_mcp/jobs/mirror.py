"""Jobs by id as their custom resources show them: for the moments in which the database cannot say."""

import asyncio
import time
from uuid import UUID

from codebase_index.api.job import LABEL_CALLER, JobState
from codebase_index.api.resource import IndexingJob
from codebase_index.store.jobs.jobs import QueueLength
from codebase_mcp.jobs.cluster import Cluster
from codebase_mcp.models import mirrored_state

MAX_AGE_SECONDS = 1.0
"""How long a listing answers for. The operator writes a status at most every 2 s, so this loses little, and 50
clients that poll while the database is away cost the API server one listing a second."""


class Mirror:
    """A listing of all jobs, shared by all callers. A uid is no name: the API has no cheaper way to find one."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._jobs: dict[str, IndexingJob] = {}
        self._listed_at = float("-inf")
        self._lock = asyncio.Lock()

    def add(self, job: IndexingJob) -> None:
        """Take a job into the listing that was just created, so that whoever counts it does not miss it."""
        self._jobs[job.metadata.uid] = job

    async def queue_length(self, caller: str) -> QueueLength:
        """Return how many jobs wait, as far as their mirrors say. Raises ClusterUnavailable."""
        await self._listed(time.monotonic() - MAX_AGE_SECONDS)
        callers = [job.metadata.labels.get(LABEL_CALLER) for job in self._jobs.values() if _waits(job)]
        return QueueLength(len(callers), callers.count(caller))

    async def find(self, job_id: UUID) -> IndexingJob | None:
        """Return the job with this uid, or None. Raises ClusterUnavailable."""
        asked_at = time.monotonic()
        known = self._jobs.get(str(job_id))
        if known is not None and asked_at - self._listed_at < MAX_AGE_SECONDS:
            return known
        # A listing that began before the question is not enough: the job may have been created between the two.
        await self._listed(asked_at)
        return self._jobs.get(str(job_id))

    async def _listed(self, since: float) -> None:
        """Have a listing that began at this time or later: whoever waits for the lock takes that of another."""
        async with self._lock:
            if self._listed_at < since:
                started_at = time.monotonic()
                self._jobs = {job.metadata.uid: job for job in await self._cluster.all()}
                self._listed_at = started_at


def _waits(job: IndexingJob) -> bool:
    admitted = any(c.type == "Admitted" and c.status == "True" for c in job.status.conditions)
    wants_a_slot = not (job.spec.cancel or job.spec.suspend)
    return mirrored_state(job) is JobState.PENDING and wants_a_slot and not admitted
