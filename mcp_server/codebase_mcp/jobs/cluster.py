"""What the job service asks of whatever keeps IndexingJobs: a port.

`kubernetes_cluster.py` is the one over the API server; `codebase_embedded` has one over a table.
"""

from typing import Protocol

from codebase_index.api.resource import IndexingJob, IndexingJobSpec


class ClusterUnavailable(Exception):
    """What keeps the jobs does not answer, or refuses this server; the message says which."""


class NameConflict(Exception):
    """A custom resource of this name exists already."""


class Cluster(Protocol):
    """What the job service asks of whatever keeps IndexingJobs. Every method may raise ClusterUnavailable."""

    async def list_for_target(self, spec: IndexingJobSpec) -> list[IndexingJob]:
        """Return every job with this spec's target, whoever created it."""
        ...

    async def list_all(self) -> list[IndexingJob]:
        """Return every job of the namespace, including those whose spec this version would refuse."""
        ...

    async def create(self, name: str, spec: IndexingJobSpec, caller: str | None = None) -> IndexingJob:
        """Create a job; `caller` is the label of who asked for it. Raises NameConflict."""
        ...

    async def cancel(self, name: str, uid: str) -> bool:
        """Set spec.cancel. False when no job has this name and uid any more."""
        ...

    async def ping(self) -> None:
        """Check that the API answers, by a listing of one."""
        ...
