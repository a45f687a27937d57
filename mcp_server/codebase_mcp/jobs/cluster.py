"""What the job service asks of whatever keeps IndexingJobs: a port.

`kubernetes_cluster.py` is the one over the API server; `codebase_embedded` has one over a table.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any, Protocol

from pydantic import ValidationError

from codebase_index import tracing
from codebase_index.api.job import GROUP, KIND, LABEL_CALLER, LABEL_TARGET, VERSION
from codebase_index.api.resource import IndexingJob, IndexingJobSpec


class ClusterUnavailable(Exception):
    """What keeps the jobs does not answer, or refuses this server; the message says which."""


class NameConflict(Exception):
    """A custom resource of this name exists already."""


class JobRefused(Exception):
    """The cluster's policies do not let this job be made; the message is theirs."""


class Cluster(Protocol):
    """What the job service asks of whatever keeps IndexingJobs. Every method may raise ClusterUnavailable."""

    async def list_for_target(self, spec: IndexingJobSpec) -> list[IndexingJob]:
        """Return every job with this spec's target, whoever created it."""
        ...

    async def list_all(self) -> list[IndexingJob]:
        """Return every job of the namespace, including those whose spec this version would refuse."""
        ...

    async def create(self, name: str, spec: IndexingJobSpec, caller: str | None = None) -> IndexingJob:
        """Create a job; `caller` is the label of who asked for it. Raises NameConflict and JobRefused."""
        ...

    async def cancel(self, name: str, uid: str) -> bool:
        """Set spec.cancel. False when no job has this name and uid any more."""
        ...

    async def ping(self) -> None:
        """Check that the API answers, by a listing of one."""
        ...


def manifest(name: str, spec: IndexingJobSpec, caller: str | None = None) -> dict[str, Any]:
    """Return the resource of a new job, labelled with its target and who asked for it, with the call's trace."""
    labels = {LABEL_TARGET: spec.target} | ({LABEL_CALLER: caller} if caller else {})
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": KIND,
        "metadata": {"name": name, "labels": labels, "annotations": tracing.annotations()},
        "spec": spec.model_dump(by_alias=True, exclude_defaults=True, mode="json"),
    }


def of_target(spec: IndexingJobSpec, bodies: Iterable[dict[str, Any]]) -> list[IndexingJob]:
    """Return the jobs with this spec's target. One with an unreadable spec is about to fail: nothing to join."""
    return [job for job in parse_each(IndexingJob.parse, bodies) if job.spec.target == spec.target]


def parse_each(
    parse: Callable[[dict[str, Any]], IndexingJob], bodies: Iterable[dict[str, Any]]
) -> Iterator[IndexingJob]:
    """Yield jobs by their resources, without those of another version: one must not hide all others."""
    for body in bodies:
        with suppress(ValidationError):
            yield parse(body)
