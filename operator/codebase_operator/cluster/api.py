"""What the operator asks of whatever keeps jobs and runs pods: a port. Bodies are dicts, as in the Kubernetes API.

`kubernetes_api.py` is the one over the API server; `codebase_embedded` has one over a table and processes.
"""

from typing import Any, Protocol
from uuid import UUID


class ApiError(Exception):
    """A call failed. `status` is the HTTP status, or 0 when the server did not answer."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status or 'no answer'}: {message}")
        self.status = status
        self.message = message


class ClusterApi(Protocol):
    """Calls in one namespace. Every method may raise ApiError."""

    async def list_jobs(self) -> dict[str, Any]:
        """List all jobs from the source of truth: without a resourceVersion, a list is never stale."""
        ...

    async def list_pods(self) -> dict[str, Any]:
        """List all indexer pods from the source of truth."""
        ...

    async def pods_of(self, job_id: UUID) -> dict[str, Any]:
        """List the pods of one job from the source of truth."""
        ...

    async def read_job(self, name: str) -> dict[str, Any]:
        """Read one job."""
        ...

    async def write_status(self, name: str, uid: str, version: str, status: dict[str, Any]) -> dict[str, Any]:
        """Merge a status into a job, if it is still of this version; 409 otherwise."""
        ...

    async def delete_job(self, name: str, uid: str) -> None:
        """Delete a job, if it is still this one."""
        ...

    async def create_pod(self, manifest: dict[str, Any]) -> dict[str, Any]:
        """Create a pod."""
        ...

    async def read_pod(self, name: str) -> dict[str, Any]:
        """Read one pod."""
        ...

    async def delete_pod(self, name: str, uid: str, *, force: bool) -> dict[str, Any]:
        """Delete a pod, if it is still this one; `force` removes it without asking its node."""
        ...

    async def secret_metadata(self, name: str) -> dict[str, Any]:
        """Read a Secret's metadata, and nothing of what it holds; 404 when there is none."""
        ...

    async def create_event(self, manifest: dict[str, Any]) -> None:
        """Record an Event."""
        ...

    async def delete_events(self, uid: str) -> None:
        """Delete the Events about the object with this uid, whatever reported them."""
        ...
