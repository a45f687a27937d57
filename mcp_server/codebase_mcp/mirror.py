"""Jobs by id as their custom resources show them: for the moments in which the database cannot say."""

import asyncio
import time
from uuid import UUID

from codebase_index.resource import IndexingJob
from codebase_mcp.cluster import Cluster

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

    async def find(self, job_id: UUID) -> IndexingJob | None:
        """Return the job with this uid, or None. Raises ClusterUnavailable."""
        asked_at = time.monotonic()
        known = self._jobs.get(str(job_id))
        if known is not None and asked_at - self._listed_at < MAX_AGE_SECONDS:
            return known
        async with self._lock:
            # Whoever waited for the lock takes the listing that began meanwhile. One that began before the
            # question is not enough: the job may have been created between the two.
            if self._listed_at < asked_at:
                started_at = time.monotonic()
                self._jobs = {job.metadata.uid: job for job in await self._cluster.all()}
                self._listed_at = started_at
        return self._jobs.get(str(job_id))
