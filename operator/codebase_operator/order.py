"""Who may run: the gate. A pure function over full listings, after cert-manager's challenge scheduler.

Nothing is counted in memory: a restart loses nothing, and a slot cannot leak.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

from codebase_operator.conditions import Place
from codebase_operator.model import Pod, View


@dataclass(frozen=True)
class Queue:
    """The decision of one pass: who is admitted now, and the places of those who wait."""

    admitted: tuple[View, ...]
    places: dict[UUID, Place]


def slots_used(views: Iterable[View], pods: Iterable[Pod]) -> set[UUID]:
    """Return the jobs that count against the limit, also those of which only a pod is left."""
    return {v.job.id for v in views if v.holds_slot} | {pod.job_id for pod in pods if not pod.finished}


def waiting(views: Iterable[View]) -> list[View]:
    """Return the jobs that want a slot, in the order in which they get one."""
    wanting = [
        v for v in views
        if v.job.spec is not None and not (v.final or v.suspended or v.cancelled or v.holds_slot)
    ]  # fmt: skip
    return sorted(wanting, key=_rank)


def _rank(view: View) -> tuple[int, float, str]:
    assert view.job.spec is not None
    return (-view.job.spec.priority, view.job.created.timestamp(), str(view.job.id))


def decide(views: Sequence[View], pods: Iterable[Pod], limit: int) -> Queue:
    """Fill the free slots in order. A job whose repository is taken waits, and holds up nobody behind it."""
    used = slots_used(views, pods)
    taken = {v.job.spec.target: v.job.name for v in views if v.job.spec and v.job.id in used}
    admitted: list[View] = []
    queued: list[tuple[View, str | None]] = []
    for view in waiting(views):
        assert view.job.spec is not None
        target = view.job.spec.target
        if target in taken or len(used) >= limit:
            queued.append((view, taken.get(target)))
            continue
        admitted.append(view)
        used.add(view.job.id)
        taken[target] = view.job.name
    places = {
        view.job.id: Place(number, len(queued), len(used), waits_for)
        for number, (view, waits_for) in enumerate(queued, start=1)
    }
    return Queue(tuple(admitted), places)
