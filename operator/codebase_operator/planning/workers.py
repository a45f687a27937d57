"""Worker pods for jobs with spec.parallelism: they claim batches of the current attempt, and nothing else. Pure.

The leader pod, which holds the attempt, scans, writes and ends the job; workers only index. So a worker's death
costs its batches alone, and needs no attempt, no retry budget and no slot. Jobs share the limit round-robin: each
gets its first worker before any gets its second.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final
from uuid import UUID

from codebase_index.api.job import JobState, Phase
from codebase_operator.model.actions import Action, DeletePod, StartWorker
from codebase_operator.model.snapshot import JobView, Snapshot
from codebase_operator.planning.diagnosis import self_inflicted_eviction
from codebase_operator.planning.lifecycle import REJECTION_RETRY_INTERVAL

MIN_FILES_PER_POD: Final = 100
"""Each pod has a file in flight at least, and all together must have less than 1 % of them."""


def worker_steps(views: Sequence[JobView], s: Snapshot) -> Iterator[Action]:
    """Yield the workers to start, within the limit of all jobs together, and those to remove."""
    wanting = {view.job.id: list(_missing_indices(view)) for view in views if _is_running(view, s)}
    for view in views:
        yield from _failed_workers(view)
    room = s.worker_limit - sum(pod.worker_index > 0 and not pod.finished for pod in s.pods)
    for view, number in _round_robin([view for view in views if wanting.get(view.job.id)], wanting):
        if room <= 0:
            return
        room -= 1
        yield StartWorker(view.job, view.attempt, number)


def desired_pods(view: JobView) -> int:
    """Return how many pods a job should have now, the leader pod included."""
    row, spec = view.row, view.job.spec
    if row is None or spec is None or row.files_total is None or row.phase != Phase.EMBEDDING.value:
        return 1
    left = row.files_total - row.files_indexed - row.files_skipped
    return max(1, min(spec.parallelism, (row.files_total - 1) // MIN_FILES_PER_POD, left // MIN_FILES_PER_POD))


def _is_running(view: JobView, s: Snapshot) -> bool:
    """Whether the attempt is running: without its leader pod, workers would be replaced with it."""
    if view.row is None or view.row.state is not JobState.RUNNING or view.row.pod is None or view.pod is None:
        return False
    if view.cancelled or view.suspended or view.pod.finished or view.pod.deleted_at is not None:
        return False
    return view.rejection is None or s.now - view.rejection.at >= REJECTION_RETRY_INTERVAL


def _missing_indices(view: JobView) -> Iterator[int]:
    present = {pod.worker_index for pod in view.workers}
    return (number for number in range(1, desired_pods(view)) if number not in present)


def _failed_workers(view: JobView) -> Iterator[DeletePod]:
    """Yield the deletion of failed (for example evicted) workers, which frees their names for the next ones."""
    for pod in view.workers:
        own = self_inflicted_eviction(pod, worked=False)  # the next one would do the same: it is left where it is
        if pod.failure and pod.finished and pod.deleted_at is None and not view.final and own is None:
            yield DeletePod(view.job.id, pod, f"worker failed: {pod.failure}")


def _round_robin(views: Iterable[JobView], wanting: Mapping[UUID, list[int]]) -> Iterator[tuple[JobView, int]]:
    """Yield every job's first missing worker, then every job's second, ..."""
    queues = [(view, iter(wanting[view.job.id])) for view in views]
    while queues:
        rest = []
        for view, numbers in queues:
            number = next(numbers, None)
            if number is not None:
                yield view, number
                rest.append((view, numbers))
        queues = rest
