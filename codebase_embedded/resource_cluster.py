"""The server's port to what keeps jobs, over the table `resources`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final
from uuid import UUID

from codebase_index.api.job import LABEL_TARGET
from codebase_index.api.resource import IndexingJob, IndexingJobSpec
from codebase_index.store.errors import StoreError
from codebase_index.store.resources.resources import ResourceConflict, ResourceKind, ResourceNotFound, Resources
from codebase_mcp.jobs.cluster import Cluster, ClusterUnavailable, NameConflict, manifest, of_target, parse_each

_JOB: Final = ResourceKind.JOB


class ResourceCluster(Cluster):
    """`Cluster` of the embedded runtime."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources

    async def list_for_target(self, spec: IndexingJobSpec) -> list[IndexingJob]:
        """Return every job with this spec's target: all that start jobs here label them with it."""
        async with _as_cluster_errors():
            listing = await self._resources.list(_JOB, label=LABEL_TARGET, values=spec.labels_of_target)
        return of_target(spec, listing.items)

    async def list_all(self) -> list[IndexingJob]:
        """Return every job, including those whose spec this version would refuse."""
        async with _as_cluster_errors():
            listing = await self._resources.list(_JOB)
        return list(parse_each(IndexingJob.parse_stored, listing.items))

    async def create(self, name: str, spec: IndexingJobSpec, caller: str | None = None) -> IndexingJob:
        """Create a job; `caller` is the label of who asked for it. Raises NameConflict."""
        try:
            async with _as_cluster_errors():
                return IndexingJob.parse(await self._resources.insert(_JOB, manifest(name, spec, caller)))
        except ResourceConflict as error:
            raise NameConflict(name) from error

    async def cancel(self, name: str, uid: str) -> bool:
        """Set spec.cancel. False when no job has this name and uid any more."""
        try:
            async with _as_cluster_errors():
                await self._resources.patch_spec(_JOB, name, UUID(uid), {"cancel": True})
        except ResourceNotFound:
            return False
        except ResourceConflict:
            return True  # it is set already
        return True

    async def ping(self) -> None:
        """Check that the table answers."""
        async with _as_cluster_errors():
            await self._resources.version()


@asynccontextmanager
async def _as_cluster_errors() -> AsyncIterator[None]:
    try:
        yield
    except (ResourceConflict, ResourceNotFound):
        raise
    except StoreError as error:
        raise ClusterUnavailable(error.reason) from error
