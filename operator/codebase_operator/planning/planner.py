"""The plan: from everything that is true now to the steps that are due. No I/O, no clock, no memory.

Level-triggered: it asks what is true, never what has just happened, so a lost event costs nothing and a
crash between any two steps is repaired by the next pass.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final, ParamSpec
from uuid import UUID

from codebase_index.api.job import FINAL, SUSPENDED, JobState
from codebase_operator.model.actions import (
    Action,
    Admit,
    CancelVanished,
    DeletePod,
    PlanFailed,
    RemoveVanished,
    SetQueue,
    WriteStatus,
)
from codebase_operator.model.snapshot import Snapshot, View, views_of
from codebase_operator.planning.lifecycle import RETENTION, diagnosis_of, remove_by_force, steps_for
from codebase_operator.planning.scheduler import Queue, decide, secrets_to_check, slots_to_free
from codebase_operator.planning.workers import helpers_for
from codebase_operator.reporting import conditions as c
from codebase_operator.reporting.conditions import Outage, Situation
from codebase_operator.reporting.events import events_of
from codebase_operator.reporting.messages import told
from codebase_operator.reporting.status import only_its_place_moved, status_of, worth_writing

P = ParamSpec("P")

AWAY_AFTER: Final = timedelta(seconds=3)
"""How long the database may be silent before the jobs' mirrors say so."""

PROMPT_PLACES: Final = 10
"""So many places that move are told at once, which is the queue that people watch; of more, so many a pass."""

MIRRORED_PLACES_A_SECOND: Final = 10
"""How many of a long queue's places reach the jobs' statuses. In the database, where get_indexing_status reads
them, one statement writes all of them every few seconds."""


def plan(s: Snapshot) -> list[Action]:
    """Return the steps that are due, in the order in which they are to be carried out."""
    views = views_of(s)
    if s.rows is None:
        return list(_without_database(views, s))
    actions: list[Action] = [*_vanished(s), *remove_by_force(s), *slots_to_free(views, s)]
    changing = set()
    planned = {view.job.id: _alone(view, steps_for, view, s) for view in views}
    # What cannot be planned cannot be judged either: it has no part in what is decided about all together.
    sound = [view for view in views if not any(isinstance(step, PlanFailed) for step in planned[view.job.id])]
    queue = decide(sound, s)
    for view in views:
        if view.job.id in queue.outside:
            continue
        steps = planned[view.job.id]
        actions += steps
        # A job whose facts change in this pass is mirrored in the next one, which follows at once. One whose steps
        # fail is mirrored all the same, or nobody would hear of it.
        if view.failure is None and any(not isinstance(step, DeletePod) for step in steps):
            changing.add(view.job.id)
    for view in queue.admitted:
        actions.append(_admit(view, s.limit))
        if view.failure is None:
            changing.add(view.job.id)
    actions += secrets_to_check(sound, s)
    actions += helpers_for([view for view in sound if view.job.id not in changing], s)
    actions += _places(sound, queue, s)
    actions += _mirrors([view for view in views if view.job.id not in changing and not view.settled], queue, s)
    return actions


def _alone(view: View, planned: Callable[P, Iterable[Action]], *facts: P.args, **more: P.kwargs) -> list[Action]:
    """Return a job's steps. What fails in planning them is a step of this job, and no other job's matter."""
    try:
        return list(planned(*facts, **more))
    except Exception as error:
        return [PlanFailed(view.job.id, error)]


def _vanished(s: Snapshot) -> Iterator[Action]:
    """Yield the end of rows whose resource was deleted: active ones are cancelled, the others go in their time."""
    known = {job.id for job in s.jobs}
    for row in (s.rows or {}).values():
        if row.id in known or row.namespace != s.namespace:
            continue
        ended = row.completed_at or row.cancelled_at
        if row.state not in FINAL:
            yield CancelVanished(row.id, row.cr_name)
        elif ended and s.now >= ended + RETENTION and not row.slot:
            yield RemoveVanished(row.id, row.cr_name)


def _admit(view: View, limit: int) -> Admit:
    # After a suspend, the token was raised for nobody: that attempt is taken instead of a new one.
    unused = view.row is not None and view.row.attempt > 0 and view.row.pod is None
    return Admit(view.job, view.attempt if unused else view.attempt + 1, limit)


def _places(views: list[View], queue: Queue, s: Snapshot) -> Iterator[Action]:
    """Yield the queue's places and the reasons for waiting, where the rows do not hold them yet."""
    changes: list[tuple[UUID, int | None, str]] = []
    moved: list[tuple[UUID, int | None, str]] = []
    for view in views:
        row, place = view.row, queue.places.get(view.job.id)
        if row is None or row.state is not JobState.PENDING or view.cancelled or view in queue.admitted:
            continue
        if view.suspended and not view.holds_slot:
            entry: tuple[UUID, int | None, str] = (row.id, None, SUSPENDED)
        elif view.secret_refused and view.rejection:
            entry = (row.id, None, told(view.rejection.message))
        elif place is not None:
            entry = (row.id, place.position, place.message)
        elif view.admitted:
            situation = _situation(view, queue, s)
            why = situation.rejection.message if situation.rejection else situation.pod_message
            entry = (row.id, None, told(f"Starting: {why}"))
        else:
            continue
        if (row.queue_position, row.message) != entry[1:]:
            in_line = row.queue_position is not None and place is not None
            (moved if in_line else changes).append(entry)
    if s.places_due or len(moved) <= PROMPT_PLACES:
        changes += moved
    if changes:
        yield SetQueue(tuple(changes))


def _situation(view: View, queue: Queue, s: Snapshot) -> Situation:
    diagnosis = diagnosis_of(view, s)
    situation = Situation(view, s.now, view.admitted, queue.places.get(view.job.id))
    if view.job.id in queue.outside:
        return replace(situation, queue_bound=s.site.max_waiting)
    if diagnosis is not None:
        return replace(situation, pod_reason=diagnosis.reason, pod_message=diagnosis.message)
    reason = c.RESTARTING if view.under_way else c.POD_STARTING
    return replace(situation, pod_reason=reason, pod_message="the pod is about to be created")


def _mirrors(views: Iterable[View], queue: Queue, s: Snapshot) -> Iterator[Action]:
    """Yield what is to be told of the jobs; of the places of a long queue a few each pass, the oldest first.

    One that starts moves all behind it, and a newcomer of high priority everybody: a write for each at once would
    keep the API server and this loop busy with those that wait.
    """
    moved: list[WriteStatus] = []
    for view in views:
        for action in _alone(view, _mirrored, view, queue, s):
            if isinstance(action, WriteStatus) and action.moved:
                moved.append(action)
            else:
                yield action
    if len(moved) > PROMPT_PLACES:
        interval = timedelta(seconds=len(moved) / MIRRORED_PLACES_A_SECOND)
        moved = [action for action in moved if s.now - _written(action, s) >= interval]
        moved = sorted(moved, key=lambda action: _written(action, s))[:PROMPT_PLACES]
    yield from moved


def _written(action: WriteStatus, s: Snapshot) -> datetime:
    progress = action.job.status.progress
    return (progress and progress.last_updated_time) or s.now - timedelta(days=1)


def _mirrored(view: View, queue: Queue, s: Snapshot) -> Iterator[Action]:
    return _mirror(_situation(view, queue, s))


def _mirror(situation: Situation) -> Iterator[Action]:
    job = situation.job
    status = status_of(situation)
    if worth_writing(situation, status):
        yield from events_of(situation, status)
        yield WriteStatus(job, status, only_its_place_moved(situation, status))


def _without_database(views: list[View], s: Snapshot) -> Iterator[Action]:
    """Without facts nothing is admitted, retried or ended; but a cancelled job's pod can be stopped."""
    for view in views:
        if view.cancelled:
            for pod in view.unfinished:
                if pod.deleted_at is None:
                    yield DeletePod(view.job.id, pod, "the job was cancelled")
        if s.now - s.database_since < AWAY_AFTER or view.job.spec is None or view.settled:
            continue
        situation = Situation(view, s.now, view.job.marked_admitted, outage=_outage(s))
        yield from _alone(view, _mirror, situation)


def _outage(s: Snapshot) -> Outage:
    since = f"since {s.database_since:%H:%M:%S} UTC; the job goes on by itself"
    if s.database_misconfigured:
        what = s.database_misconfigured.removesuffix("; it is tried again")
        return Outage(c.DATABASE_MISCONFIGURED, f"{what}; {since} when this is mended")
    return Outage(c.DATABASE_UNAVAILABLE, f"the database does not answer {since}")
