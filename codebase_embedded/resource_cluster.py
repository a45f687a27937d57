"""The server's port to what keeps jobs, over the table `resources`."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final
from uuid import UUID

from pydantic import ValidationError

from codebase_index.api.job import GROUP, KIND, LABEL_CALLER, LABEL_TARGET, VERSION
from codebase_index.api.resource import IndexingJob, IndexingJobSpec
from codebase_index.store.errors import StoreError
from codebase_index.store.resources.resources import ResourceConflict, ResourceKind, ResourceNotFound, Resources
from codebase_mcp.jobs.cluster import Cluster, ClusterUnavailable, NameConflict

_JOB: Final = ResourceKind.JOB


class ResourceCluster(Cluster):
    """`Cluster` of the embedded runtime."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources

    async def list_for_target(self, spec: IndexingJobSpec) -> list[IndexingJob]:
        """Return every job with this spec's target: all that start jobs here label them with it."""
        async with _as_cluster_errors():
            listing = await self._resources.list(_JOB, label=LABEL_TARGET, values=spec.labels_of_target)
        jobs = (_parse_or_none(IndexingJob.parse, body) for body in listing.items)
        return [job for job in jobs if job is not None and job.spec.target == spec.target]

    async def list_all(self) -> list[IndexingJob]:
        """Return every job, including those whose spec this version would refuse."""
        async with _as_cluster_errors():
            listing = await self._resources.list(_JOB)
        jobs = (_parse_or_none(IndexingJob.parse_stored, body) for body in listing.items)
        return [job for job in jobs if job is not None]

    async def create(self, name: str, spec: IndexingJobSpec, caller: str | None = None) -> IndexingJob:
        """Create a job; `caller` is the label of who asked for it. Raises NameConflict."""
        labels = {LABEL_TARGET: spec.target} | ({LABEL_CALLER: caller} if caller else {})
        body = {
            "apiVersion": f"{GROUP}/{VERSION}",
            "kind": KIND,
            "metadata": {"name": name, "labels": labels},
            "spec": spec.model_dump(by_alias=True, exclude_defaults=True, mode="json"),
        }
        try:
            async with _as_cluster_errors():
                return IndexingJob.parse(await self._resources.insert(_JOB, body))
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
        raise ClusterUnavailable(str(error)) from error


def _parse_or_none(parse: Callable[[dict[str, Any]], IndexingJob], body: dict[str, Any]) -> IndexingJob | None:
    """Parse a body, or return None for one of another version, which must not hide all others."""
    try:
        return parse(body)
    except ValidationError:
        return None
