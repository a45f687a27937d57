"""The operator's port to what keeps jobs and pods, over the table `resources`: with an API server's answers."""

import platform
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from codebase_index.store.errors import StoreError
from codebase_index.store.resources.resources import (
    Listing,
    ResourceConflict,
    ResourceKind,
    ResourceNotFound,
    Resources,
)
from codebase_operator.cluster.api import ApiError, ClusterApi

_JOB: Final = ResourceKind.JOB
_POD: Final = ResourceKind.POD
_EVENT: Final = ResourceKind.EVENT


class ResourceApi(ClusterApi):
    """`ClusterApi` of the embedded runtime. `pods/runtime.py` starts and ends the processes of its pods."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self._node = platform.node() or "localhost"

    async def list_jobs(self) -> dict[str, Any]:
        """List all jobs."""
        async with _as_api_errors():
            return _list(await self._resources.list(_JOB))

    async def list_pods(self) -> dict[str, Any]:
        """List all pods."""
        async with _as_api_errors():
            return _list(await self._resources.list(_POD))

    async def pods_of(self, job_id: UUID) -> dict[str, Any]:
        """List the pods of one job."""
        async with _as_api_errors():
            return _list(await self._resources.list(_POD, owner=job_id))

    async def read_job(self, name: str) -> dict[str, Any]:
        """Read one job."""
        async with _as_api_errors():
            return await self._resources.get(_JOB, name)

    async def write_status(self, name: str, uid: str, version: str, status: dict[str, Any]) -> dict[str, Any]:
        """Replace a job's status, if it is still of this version; 409 otherwise."""
        async with _as_api_errors():
            return await self._resources.set_status(_JOB, name, UUID(uid), _without_nulls(status), int(version))

    async def delete_job(self, name: str, uid: str) -> None:
        """Delete a job with its pods and events, if it is still this one."""
        async with _as_api_errors():
            await self._resources.delete(_JOB, name, UUID(uid))

    async def create_pod(self, manifest: dict[str, Any]) -> dict[str, Any]:
        """Create a pod; 404 when its job is gone."""
        owner = UUID(manifest["metadata"]["ownerReferences"][0]["uid"])
        async with _as_api_errors():
            bound = {**manifest["spec"], "nodeName": self._node}
            return await self._resources.insert(
                _POD, {**manifest, "spec": bound, "status": {"phase": "Pending"}}, owner
            )

    async def read_pod(self, name: str) -> dict[str, Any]:
        """Read one pod."""
        async with _as_api_errors():
            return await self._resources.get(_POD, name)

    async def delete_pod(self, name: str, uid: str, *, force: bool) -> dict[str, Any]:
        """Delete a pod, if it is still this one; `force` removes it, and its processes are killed after that."""
        async with _as_api_errors():
            if force:
                return await self._resources.delete(_POD, name, UUID(uid))
            pod = await self._resources.get(_POD, name)
            grace = timedelta(seconds=pod["spec"].get("terminationGracePeriodSeconds", 30))
            try:
                return await self._resources.mark_deleted(_POD, name, UUID(uid), datetime.now(UTC) + grace)
            except ResourceConflict:  # it was asked to end before
                return pod

    async def secret_metadata(self, name: str) -> dict[str, Any]:
        """Refuse: there are no Secrets."""
        raise ApiError(404, f"the embedded runtime has no Secrets, so none is called {name}")

    async def create_event(self, manifest: dict[str, Any]) -> None:
        """Record an Event; it goes with its job."""
        async with _as_api_errors():
            await self._resources.insert(_EVENT, manifest, UUID(manifest["involvedObject"]["uid"]))

    async def delete_events(self, uid: str) -> None:
        """Delete the Events about the object with this uid."""
        async with _as_api_errors():
            await self._resources.delete_owned(_EVENT, UUID(uid))


@asynccontextmanager
async def _as_api_errors() -> AsyncIterator[None]:
    """Turn errors of the store into answers of an API server: the database is its etcd."""
    try:
        yield
    except ResourceNotFound as error:
        raise ApiError(404, str(error)) from error
    except ResourceConflict as error:
        raise ApiError(409, str(error)) from error
    except StoreError as error:
        raise ApiError(0, str(error)) from error


def _list(listing: Listing) -> dict[str, Any]:
    return {"metadata": {"resourceVersion": str(listing.version)}, "items": listing.items}


def _without_nulls(value: Any) -> Any:
    """Return a status without its nulls, which in a merge patch remove what is no longer true."""
    if isinstance(value, dict):
        return {name: _without_nulls(item) for name, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    return value
