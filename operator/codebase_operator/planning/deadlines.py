"""The deadlines of a job that holds a slot. Pure.

spec.activeDeadlineSeconds bounds a job's life from its start. The site bounds how long one may hold a slot without
work, so that the slots are never all taken by jobs that wait for something that nobody brings. What it bounds is
counted while the database and the API server answer (`uptime.py`).
"""

from datetime import timedelta

from codebase_index.api.job import ErrorType, JobState
from codebase_operator.model.site_policy import Violation
from codebase_operator.model.snapshot import JobView, Snapshot
from codebase_operator.planning.diagnosis import Diagnosis
from codebase_operator.reporting import conditions as c

_INDEX_KEPT = "what is indexed is kept"


def exceeded_deadline(view: JobView, diagnosis: Diagnosis | None, s: Snapshot) -> Violation | None:
    """Return the end of an admitted job whose deadline is over, or None. `diagnosis` is its pod's."""
    return _active_deadline(view, s) or _blocked_deadline(view, s) or _start_deadline(view, diagnosis, s)


def exceeded_secret_deadline(view: JobView, s: Snapshot) -> Violation | None:
    """Return the end of a waiting job whose Secret nobody has made or labelled in the time that a start has.

    The last look at it has to be later than that time: the Secret may have been labelled in it.
    """
    rejection, deadline = view.rejection, s.site.start_deadline
    if rejection is None or rejection.since is None or deadline is None:
        return None
    if s.uptime.answered_time(rejection.since, rejection.at) <= deadline:
        return None
    return Violation(ErrorType.SECRET_REFUSED, f"{rejection.message}; then start the job again")


def _active_deadline(view: JobView, s: Snapshot) -> Violation | None:
    row, spec = view.row, view.job.spec
    if row is None or spec is None or spec.active_deadline_seconds is None or row.started_at is None:
        return None
    deadline = spec.active_deadline_seconds
    if s.now - row.started_at <= timedelta(seconds=deadline):
        return None
    message = f"not finished {deadline} s after its start: start it again with a longer spec.activeDeadlineSeconds"
    return Violation(ErrorType.DEADLINE_EXCEEDED, f"{message}; {_INDEX_KEPT}")


def _blocked_deadline(view: JobView, s: Snapshot) -> Violation | None:
    row, deadline = view.row, s.site.blocked_deadline
    if row is None or row.state is not JobState.BLOCKED or row.blocked_since is None or deadline is None:
        return None
    if s.uptime.answered_time(row.blocked_since, s.now) <= deadline:
        return None
    message = (
        f"blocked for more than {deadline.total_seconds():.0f} s: {row.message}; bring it back and start the job "
        f"again, or have limits.blockedDeadlineSeconds raised in the chart; {_INDEX_KEPT}"
    )
    return Violation(ErrorType.BLOCKED_DEADLINE_EXCEEDED, message)


def _start_deadline(view: JobView, diagnosis: Diagnosis | None, s: Snapshot) -> Violation | None:
    row, deadline = view.row, s.site.start_deadline
    if row is None or row.pod is not None or deadline is None:
        return None
    if s.uptime.answered_time(row.starting_since, s.now) <= deadline:
        return None
    message = (
        f"no pod began to work within {deadline.total_seconds():.0f} s: {_start_obstacle(view, diagnosis)}; "
        "correct that and start the job again, or have limits.startDeadlineSeconds raised in the chart; "
        f"{_INDEX_KEPT}"
    )
    return Violation(ErrorType.START_DEADLINE_EXCEEDED, message)


def _start_obstacle(view: JobView, diagnosis: Diagnosis | None) -> str:
    """Say why the job has no pod at work, in the words of whoever keeps it from that."""
    if view.rejection is not None:
        return view.rejection.message
    if diagnosis is None or view.pod is None:
        failure = view.failure
        if failure is None:
            return "its pod could not be created; the operator's log says why"
        return f"its pod could not be created ({failure.step}: {failure.message})"
    if diagnosis.reason == c.POD_STARTING and view.pod.running_since is None:
        # The kubelet tells what it waits for (a volume, the network) in events alone.
        events = f"kubectl get events --field-selector involvedObject.name={view.pod.name}"
        where = f"node {view.pod.node} has not" if view.pod.node else "no node has"
        return f"{where} started the container of pod {view.pod.name}; its events say why ({events})"
    return diagnosis.message
