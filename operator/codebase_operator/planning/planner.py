"""The plan: from the current state to the steps that are due. No I/O, no clock, no memory.

Level-triggered: it asks what is true, never what has just happened, so a lost event costs nothing and a
crash between any two steps is repaired by the next pass.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import islice
from typing import Final, ParamSpec
from uuid import UUID

from codebase_index.api.job import FINAL, SUSPENDED, JobState
from codebase_operator.model.actions import (
    Action,
    Admit,
    CancelOrphan,
    DeletePod,
    PlanFailed,
    RemoveOrphan,
    SetQueue,
    WriteStatus,
)
from codebase_operator.model.snapshot import JobView, Snapshot, job_views
from codebase_operator.planning.lifecycle import RETENTION, delete_pods, diagnosis_of, force_deletions, steps_for
from codebase_operator.planning.scheduler import Queue, schedule, secrets_to_check, slots_to_release
from codebase_operator.planning.workers import worker_steps
from codebase_operator.reporting import conditions as c
from codebase_operator.reporting.conditions import Outage, StatusInput
from codebase_operator.reporting.events import events_of
from codebase_operator.reporting.messages import single_line
from codebase_operator.reporting.status import completed_mirror, only_position_changed, status_of, worth_writing

P = ParamSpec("P")

OUTAGE_GRACE: Final = timedelta(seconds=3)
"""How long the database may be unavailable before the jobs' statuses report it."""

MAX_PROMPT_POSITIONS: Final = 10
"""Position changes written at once, enough for the queue that people watch; a longer one gets so many per pass."""

MAX_COMPLETED_MIRRORS: Final = 10
"""Mirrors of final jobs that are completed in a pass: after an upgrade all of them are due, and each has time."""

POSITION_WRITES_PER_SECOND: Final = 10
"""Rate at which positions of a long queue are written to the jobs' statuses. In the database, where
get_indexing_status reads them, one statement writes all of them every few seconds."""


def plan(s: Snapshot) -> list[Action]:
    """Return the steps that are due, in the order in which they are to be carried out."""
    views = job_views(s)
    if s.rows is None:
        return list(_without_database(views, s))
    actions: list[Action] = [*_orphaned_rows(s), *force_deletions(s), *slots_to_release(views, s)]
    changing = set()
    planned = {view.job.id: _isolated(view, steps_for, view, s) for view in views}
    # A job that cannot be planned takes no part in decisions about all jobs together.
    plannable = [view for view in views if not any(isinstance(step, PlanFailed) for step in planned[view.job.id])]
    queue = schedule(plannable, s)
    for view in views:
        if view.job.id in queue.overflow:
            continue
        steps = planned[view.job.id]
        actions += steps
        # The status of a job whose row changes in this pass is written in the next one, which follows at once. One
        # whose steps fail is written all the same, or the failure would not be reported.
        if view.failure is None and any(not isinstance(step, DeletePod) for step in steps):
            changing.add(view.job.id)
    for view in queue.admitted:
        actions.append(_admit(view, s.limit))
        if view.failure is None:
            changing.add(view.job.id)
    actions += secrets_to_check(plannable, s)
    actions += worker_steps([view for view in plannable if view.job.id not in changing], s)
    actions += _queue_positions(plannable, queue, s)
    actions += _status_updates(
        [view for view in views if view.job.id not in changing and not view.settled], queue, s
    )
    at_rest = [view for view in views if not planned[view.job.id]]
    actions += islice(_mirrors_to_complete(at_rest, s), MAX_COMPLETED_MIRRORS)
    return actions


def _isolated(
    view: JobView, steps: Callable[P, Iterable[Action]], *args: P.args, **kwargs: P.kwargs
) -> list[Action]:
    """Return a job's steps. An error in planning them becomes a step of this job and affects no other job."""
    try:
        return list(steps(*args, **kwargs))
    except Exception as error:
        return [PlanFailed(view.job.id, error)]


def _orphaned_rows(s: Snapshot) -> Iterator[Action]:
    """Yield the steps for rows whose resource was deleted: cancel active ones, remove others after retention."""
    job_ids = {job.id for job in s.jobs}
    for row in (s.rows or {}).values():
        if row.id in job_ids or row.namespace != s.namespace:
            continue
        ended = row.completed_at or row.cancelled_at
        if row.state not in FINAL:
            yield CancelOrphan(row.id, row.cr_name)
        elif ended and s.now >= ended + RETENTION and not row.slot:
            yield RemoveOrphan(row.id, row.cr_name)


def _admit(view: JobView, limit: int) -> Admit:
    # A suspend raised the token, but no pod used that attempt: use it instead of a new one.
    unused = view.row is not None and view.row.attempt > 0 and view.row.pod is None
    return Admit(view.job, view.attempt if unused else view.attempt + 1, limit)


def _queue_positions(views: list[JobView], queue: Queue, s: Snapshot) -> Iterator[Action]:
    """Yield the queue positions and the reasons for waiting that differ from the rows."""
    changes: list[tuple[UUID, int | None, str]] = []
    moved: list[tuple[UUID, int | None, str]] = []
    for view in views:
        row, position = view.row, queue.positions.get(view.job.id)
        if row is None or row.state is not JobState.PENDING or view.cancelled or view in queue.admitted:
            continue
        if view.suspended and not view.holds_slot:
            entry: tuple[UUID, int | None, str] = (row.id, None, SUSPENDED)
        elif view.secret_refused and view.rejection:
            entry = (row.id, None, single_line(view.rejection.message))
        elif position is not None:
            entry = (row.id, position.number, position.message)
        elif view.admitted:
            status_input = _status_input(view, queue, s)
            why = status_input.rejection.message if status_input.rejection else status_input.pod_message
            entry = (row.id, None, single_line(f"Starting: {why}"))
        else:
            continue
        if (row.queue_position, row.message) != entry[1:]:
            in_line = row.queue_position is not None and position is not None
            (moved if in_line else changes).append(entry)
    if s.positions_due or len(moved) <= MAX_PROMPT_POSITIONS:
        changes += moved
    if changes:
        yield SetQueue(tuple(changes))


def _status_input(view: JobView, queue: Queue, s: Snapshot) -> StatusInput:
    diagnosis = diagnosis_of(view, s)
    status_input = StatusInput(view, s.now, view.admitted, queue.positions.get(view.job.id))
    if view.job.id in queue.overflow:
        return replace(status_input, queue_limit=s.site.max_waiting)
    if diagnosis is not None:
        return replace(status_input, pod_reason=diagnosis.reason, pod_message=diagnosis.message)
    reason = c.RESTARTING if view.under_way else c.POD_STARTING
    return replace(status_input, pod_reason=reason, pod_message="the pod is about to be created")


def _status_updates(views: Iterable[JobView], queue: Queue, s: Snapshot) -> Iterator[Action]:
    """Yield status writes and events; for a long queue a few position changes per pass, stalest first.

    A job that starts moves all behind it, and a new one of high priority moves everybody: writing them all at once
    would keep the API server and this loop busy with waiting jobs.
    """
    moved: list[WriteStatus] = []
    for view in views:
        for action in _isolated(view, _status_update, view, queue, s):
            if isinstance(action, WriteStatus) and action.position_only:
                moved.append(action)
            else:
                yield action
    if len(moved) > MAX_PROMPT_POSITIONS:
        interval = timedelta(seconds=len(moved) / POSITION_WRITES_PER_SECOND)
        moved = [action for action in moved if s.now - _written(action, s) >= interval]
        moved = sorted(moved, key=lambda action: _written(action, s))[:MAX_PROMPT_POSITIONS]
    yield from moved


def _mirrors_to_complete(views: Iterable[JobView], s: Snapshot) -> Iterator[Action]:
    """Yield the writes of final jobs' statuses that lack what this release writes, once for each job."""
    for view in views:
        if view.settled and not view.job.deleting and (status := completed_mirror(view.job, s.now)):
            yield WriteStatus(view.job, status)


def _written(action: WriteStatus, s: Snapshot) -> datetime:
    progress = action.job.status.progress
    return (progress and progress.last_updated_time) or s.now - timedelta(days=1)


def _status_update(view: JobView, queue: Queue, s: Snapshot) -> Iterator[Action]:
    return _write_status(_status_input(view, queue, s))


def _write_status(status_input: StatusInput) -> Iterator[Action]:
    job = status_input.job
    status = status_of(status_input)
    if worth_writing(status_input, status):
        yield from events_of(status_input, status)
        yield WriteStatus(job, status, only_position_changed(status_input, status))


def _without_database(views: list[JobView], s: Snapshot) -> Iterator[Action]:
    """Without the rows nothing is admitted, retried or ended; but a cancelled job's pod can be stopped."""
    for view in views:
        if view.cancelled:
            yield from delete_pods(view.unfinished, view, "the job was cancelled")
        if s.now - s.database_since < OUTAGE_GRACE or view.job.spec is None or view.settled:
            continue
        status_input = StatusInput(view, s.now, view.job.status_admitted, outage=_outage(s))
        yield from _isolated(view, _write_status, status_input)


def _outage(s: Snapshot) -> Outage:
    since = f"since {s.database_since:%H:%M:%S} UTC; the job goes on by itself"
    if s.database_misconfigured:
        return Outage(c.DATABASE_MISCONFIGURED, f"{s.database_misconfigured}; {since} when this is mended")
    return Outage(c.DATABASE_UNAVAILABLE, f"the database has not answered {since}")
