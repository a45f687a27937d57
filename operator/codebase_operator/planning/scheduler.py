"""Who may run: the gate. A pure function over full listings, after cert-manager's challenge scheduler.

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
from codebase_operator.model.snapshot import Snapshot, View
from codebase_operator.reporting.conditions import Place

SECRET_AGAIN: Final = timedelta(seconds=10)
"""Pause before the Secret of a job is looked at again that was refused it."""

LOOKS_A_PASS: Final = 10
"""So many Secrets are looked at again in one pass. Each is a call, and hundreds would keep cancels waiting."""


@dataclass(frozen=True)
class Queue:
    """The decision of one pass: who is admitted now, and the places of those who wait."""

    admitted: tuple[View, ...]
    places: dict[UUID, Place]
    outside: frozenset[UUID] = frozenset()
    """Jobs for which the queue has no room yet: no row, no place, until some have started."""

    @property
    def wanting_a_slot(self) -> int:
        """How many jobs a slot starts, now or later: not those that wait for a Secret or for their repository."""
        return len(self.admitted) + len(self.outside) + sum(p.waits_for is None for p in self.places.values())


def slots_used(views: Iterable[View], s: Snapshot) -> set[UUID]:
    """Return the jobs that count against the limit, also those of which only a row or a pod is left."""
    rows = {row.id for row in (s.rows or {}).values() if row.slot}
    return {v.job.id for v in views if v.holds_slot} | rows | _with_pods(s)


def _with_pods(s: Snapshot) -> set[UUID]:
    return {pod.job_id for pod in s.pods if not pod.finished}


def slots_to_free(views: Iterable[View], s: Snapshot) -> Iterator[ReleaseSlot]:
    """Yield the slots that nobody needs any more: the job is over or suspended, and its pods are gone."""
    suspended = {view.job.id for view in views if view.suspended}
    with_pods = _with_pods(s)
    for row in (s.rows or {}).values():
        over = row.state in FINAL or (row.state is JobState.PENDING and row.id in suspended)
        if row.slot and over and row.id not in with_pods:
            yield ReleaseSlot(row.id, row.cr_name)


def keeps_its_repository(row: JobRow) -> bool:
    """Whether a suspended job goes on later with its frozen list: another job would sweep what it has done."""
    return row.state is JobState.PENDING and row.files_total is not None


def waiting(views: Iterable[View]) -> list[View]:
    """Return the jobs that want a slot, in the order in which they get one."""
    wanting = [
        v for v in views
        if v.job.spec is not None
        and not (v.final or v.suspended or v.cancelled or v.holds_slot or v.violation)
    ]  # fmt: skip
    return sorted(wanting, key=_rank)


def _rank(view: View) -> tuple[bool, int, float, float, str]:
    """Order by priority, then first come, first served: the rows tell apart what came in the same second.

    Behind all others comes what cannot be started: it must not keep the slot that it is tried for.
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


def _outside(wanting: Iterable[View], most: int | None) -> frozenset[UUID]:
    """Return the jobs beyond the bound on those that wait. What has a row was taken in, and stays."""
    if most is None:
        return frozenset()
    in_order = list(wanting)
    newcomers = [view.job.id for view in in_order if view.row is None]
    return frozenset(newcomers[max(0, most - (len(in_order) - len(newcomers))) :])


def secrets_to_check(views: Iterable[View], s: Snapshot) -> list[CheckSecret]:
    """Return the looks at refused Secrets that are due, longest unseen first. None needs a slot."""
    due = [
        (view.rejection.at, view.job) for view in waiting(views)
        if view.secret_refused and view.rejection and s.now - view.rejection.at >= SECRET_AGAIN
    ]  # fmt: skip
    return [CheckSecret(job) for _, job in sorted(due, key=lambda look: look[0])[:LOOKS_A_PASS]]


def decide(views: Sequence[View], s: Snapshot) -> Queue:
    """Fill the free slots in order. A job whose repository is taken waits, and holds up nobody behind it."""
    used = slots_used(views, s)
    taken = {v.job.spec.target: (v.job.id, v.job.name) for v in views if v.job.spec and v.job.id in used}
    rows = (s.rows or {}).values()
    taken |= {row.target: (row.id, row.cr_name) for row in rows if row.slot or keeps_its_repository(row)}
    admitted: list[View] = []
    queued: list[tuple[View, str | None]] = []
    wanting = waiting(views)
    outside = _outside(wanting, s.site.max_waiting)
    for view in wanting:
        if view.job.id in outside:
            continue
        assert view.job.spec is not None
        if view.secret_refused:
            continue  # it has no place, for it waits for a person
        itself = (view.job.id, view.job.name)
        holder = taken.get(view.job.spec.target, itself)
        if holder != itself or len(used) >= s.limit:
            queued.append((view, holder[1] if holder != itself else None))
            continue
        admitted.append(view)
        used.add(view.job.id)
        taken[view.job.spec.target] = itself
    places = {
        view.job.id: Place(number, len(queued), len(used), waits_for)
        for number, (view, waits_for) in enumerate(queued, start=1)
    }
    return Queue(tuple(admitted), places, outside)
