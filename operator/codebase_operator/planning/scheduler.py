"""Admission: which jobs may run. A pure function over full listings, after cert-manager's challenge scheduler.

Nothing is counted in memory: a restart loses nothing, and a slot cannot leak.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from uuid import UUID

from codebase_index.api.job import FINAL, JobState
from codebase_index.store.jobs.rows import JobRow
from codebase_operator.model.actions import CheckSecret, ReleaseSlot
from codebase_operator.model.snapshot import JobView, Snapshot
from codebase_operator.reporting.conditions import QueuePosition

SECRET_CHECK_INTERVAL: Final = timedelta(seconds=10)
"""Interval between checks of a Secret that a job was refused."""

MAX_SECRET_CHECKS: Final = 10
"""Secret checks per pass. Each is an API call, and hundreds would delay cancels."""


@dataclass(frozen=True)
class Queue:
    """The decision of one pass: the jobs to admit now, and the positions of the pending ones."""

    admitted: tuple[JobView, ...]
    positions: dict[UUID, QueuePosition]
    overflow: frozenset[UUID] = frozenset()
    """Jobs beyond the queue's limit: no row and no position until others have started."""

    @property
    def waiting_for_slot(self) -> int:
        """Number of jobs that wait for a slot alone, not for a Secret or for their repository."""
        return len(self.admitted) + len(self.overflow) + sum(p.waits_for is None for p in self.positions.values())


def slots_used(views: Iterable[JobView], s: Snapshot) -> set[UUID]:
    """Return the jobs that count against the limit, also those of which only a row or a pod is left."""
    rows = {row.id for row in (s.rows or {}).values() if row.slot}
    return {v.job.id for v in views if v.holds_slot} | rows | _with_pods(s)


def _with_pods(s: Snapshot) -> set[UUID]:
    return {pod.job_id for pod in s.pods if not pod.finished}


def slots_to_release(views: Iterable[JobView], s: Snapshot) -> Iterator[ReleaseSlot]:
    """Yield the slots to release: the job is final or suspended, and its pods are gone."""
    suspended = {view.job.id for view in views if view.suspended}
    with_pods = _with_pods(s)
    for row in (s.rows or {}).values():
        over = row.state in FINAL or (row.state is JobState.PENDING and row.id in suspended)
        if row.slot and over and row.id not in with_pods:
            yield ReleaseSlot(row.id, row.cr_name)


def reserves_repository(row: JobRow) -> bool:
    """Whether a suspended job will resume with its frozen file list: another job would sweep its files."""
    return row.state is JobState.PENDING and row.files_total is not None


def candidates(views: Iterable[JobView]) -> list[JobView]:
    """Return the jobs that want a slot, in admission order."""
    jobs = [
        v for v in views
        if v.job.spec is not None
        and not (v.final or v.suspended or v.cancelled or v.holds_slot or v.violation)
    ]  # fmt: skip
    return sorted(jobs, key=_rank)


def _rank(view: JobView) -> tuple[bool, int, float, float, str]:
    """Priority, then FIFO, including jobs created within the same second (Kubernetes timestamps have one-second
    resolution; the row's arrival number decides).

    Jobs that could not be started come last: they must not keep others from the slot.
    """
    assert view.job.spec is not None
    arrival = view.row.arrival if view.row else math.inf
    return (
        view.failure is not None or view.secret_refused,
        -view.job.spec.priority,
        view.job.created.timestamp(),
        arrival,
        str(view.job.id),
    )


def _overflow(jobs: Iterable[JobView], limit: int | None) -> frozenset[UUID]:
    """Return the jobs beyond the queue's limit. Jobs with a row are in the queue already, and stay."""
    if limit is None:
        return frozenset()
    in_order = list(jobs)
    new = [view.job.id for view in in_order if view.row is None]
    return frozenset(new[max(0, limit - (len(in_order) - len(new))) :])


def secrets_to_check(views: Iterable[JobView], s: Snapshot) -> list[CheckSecret]:
    """Return the due checks of refused Secrets, least recently checked first. None needs a slot."""
    due = [
        (view.rejection.at, view.job) for view in candidates(views)
        if view.secret_refused and view.rejection and s.now - view.rejection.at >= SECRET_CHECK_INTERVAL
    ]  # fmt: skip
    return [CheckSecret(job) for _, job in sorted(due, key=lambda look: look[0])[:MAX_SECRET_CHECKS]]


def schedule(views: Sequence[JobView], s: Snapshot) -> Queue:
    """Fill the free slots in order. A job whose repository is in use waits without blocking those behind it."""
    slots = slots_used(views, s)
    holders = {v.job.spec.target: (v.job.id, v.job.name) for v in views if v.job.spec and v.job.id in slots}
    rows = (s.rows or {}).values()
    holders |= {row.target: (row.id, row.cr_name) for row in rows if row.slot or reserves_repository(row)}
    admitted: list[JobView] = []
    queued: list[tuple[JobView, str | None]] = []
    in_order = candidates(views)
    overflow = _overflow(in_order, s.site.max_waiting)
    for view in in_order:
        if view.job.id in overflow:
            continue
        assert view.job.spec is not None
        if view.secret_refused:
            continue  # no position: it waits for somebody to provide the Secret
        itself = (view.job.id, view.job.name)
        holder = holders.get(view.job.spec.target, itself)
        if holder != itself or len(slots) >= s.limit:
            queued.append((view, holder[1] if holder != itself else None))
            continue
        admitted.append(view)
        slots.add(view.job.id)
        holders[view.job.spec.target] = itself
    positions = {
        view.job.id: QueuePosition(number, len(queued), len(slots), waits_for)
        for number, (view, waits_for) in enumerate(queued, start=1)
    }
    return Queue(tuple(admitted), positions, overflow)
