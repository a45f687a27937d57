"""Further pods for jobs with spec.parallelism: they claim batches of the same attempt, and nothing else. Pure.

The pod that holds the attempt scans, writes and ends the job; helpers only index. So a helper's death costs its
batches alone, and needs no attempt, no budget and no slot. They share what the cluster has to give: first one for
each job that wants some, then the next.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final
from uuid import UUID

from codebase_index.api.job import JobState, Phase
from codebase_operator.model.actions import Action, DeletePod, StartHelper
from codebase_operator.model.snapshot import JobView, Snapshot
from codebase_operator.planning.diagnosis import of_its_own_making
from codebase_operator.planning.lifecycle import REFUSED_AGAIN

FILES_A_POD: Final = 100
"""Each pod has a file in flight at least, and all together must have less than 1 % of them."""


def helpers_for(views: Sequence[JobView], s: Snapshot) -> Iterator[Action]:
    """Yield the helpers to start, within the limit of all jobs together, and those to remove."""
    wanting = {view.job.id: list(_missing(view)) for view in views if _may_ask(view, s)}
    for view in views:
        yield from _failed(view)
    room = s.helper_limit - sum(pod.helper > 0 and not pod.finished for pod in s.pods)
    for view, number in _in_turn([view for view in views if wanting.get(view.job.id)], wanting):
        if room <= 0:
            return
        room -= 1
        yield StartHelper(view.job, view.attempt, number)


def pods_wanted(view: JobView) -> int:
    """Return how many pods a job should have now, the one that holds the attempt included."""
    row, spec = view.row, view.job.spec
    if row is None or spec is None or row.files_total is None or row.phase != Phase.EMBEDDING.value:
        return 1
    left = row.files_total - row.files_indexed - row.files_skipped
    return max(1, min(spec.parallelism, (row.files_total - 1) // FILES_A_POD, left // FILES_A_POD))


def _may_ask(view: JobView, s: Snapshot) -> bool:
    """Whether the attempt is at work: without the pod that holds it, helpers would be replaced with it."""
    if view.row is None or view.row.state is not JobState.RUNNING or view.row.pod is None or view.pod is None:
        return False
    if view.cancelled or view.suspended or view.pod.finished or view.pod.deleted_at is not None:
        return False
    return view.rejection is None or s.now - view.rejection.at >= REFUSED_AGAIN


def _missing(view: JobView) -> Iterator[int]:
    there = {pod.helper for pod in view.helpers}
    return (number for number in range(1, pods_wanted(view)) if number not in there)


def _failed(view: JobView) -> Iterator[DeletePod]:
    """Yield helpers that failed as a whole (evicted, say): their names are free again for the next ones."""
    for pod in view.helpers:
        own = of_its_own_making(pod, worked=False)  # the next one would do the same: it is left where it is
        if pod.failure and pod.finished and pod.deleted_at is None and not view.final and own is None:
            yield DeletePod(view.job.id, pod, f"helper failed: {pod.failure}")


def _in_turn(views: Iterable[JobView], wanting: Mapping[UUID, list[int]]) -> Iterator[tuple[JobView, int]]:
    """Yield every job's first missing helper, then every job's second, ..."""
    queues = [(view, iter(wanting[view.job.id])) for view in views]
    while queues:
        rest = []
        for view, numbers in queues:
            number = next(numbers, None)
            if number is not None:
                yield view, number
                rest.append((view, numbers))
        queues = rest
