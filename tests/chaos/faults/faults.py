"""What a fault is: how it is done, from when recovery counts, and the limits that the product has to hold."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from tests.chaos.harness.cluster import Cluster, Victim

Inject = Callable[[Cluster, Sequence[Victim]], Awaitable[datetime]]
"""Does the fault, undoes what is temporary, and returns the moment (UTC) from which recovery counts."""

Settle = Callable[[Cluster], Awaitable[None]]
"""Brings the cluster back to a fresh state between two rounds."""


async def nothing(_: Cluster) -> None:
    """Leave the cluster as the fault left it."""


@dataclass(frozen=True)
class Fault:
    """One row of the fault matrix."""

    name: str
    title: str
    inject: Inject
    settle: Settle = nothing
    kills_worker: bool = True
    """Whether each victim's worker dies: then it has recovered when a worker claims the job again, else at its
    next finished file."""
    kills_server: bool = False
    """Whether the MCP server dies: then it has recovered when it answers the job's status again."""
    counted_from: str = "the fault"
    """What the moment that `inject` returns means, for the table."""
    nodes: int = 1
    """How many nodes the cluster needs for it."""
    limit_seconds: float = 10.0
    repeated_limit: float = 0.01
    """Share of a job's files that may be started more than once."""
    suspends: bool = False
    """Whether the job goes back to the queue on the way."""
    hits_all: bool = False
    """Whether one injection hits every job of a round (a database, a node); else each job gets its own."""
