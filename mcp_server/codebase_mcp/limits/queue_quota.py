"""Limits of the job queue, in all and for each caller. They are checked before anything is created."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from codebase_index.store.jobs.jobs import QueueLength
from codebase_mcp.errors import UserError

_LIST_HINT = "list_indexing_jobs with status=pending shows them"


@dataclass(frozen=True)
class QueueLimits:
    """How many jobs may wait for a slot. None: no limit."""

    total: int | None = 500
    per_caller: int | None = 100


class QueueQuota:
    """Reserves places in the queue; the jobs that this server is creating count, too."""

    def __init__(self, limits: QueueLimits) -> None:
        self._limits = limits
        self._creating: Counter[str] = Counter()

    @contextmanager
    def reserve(self, caller: str, waiting: QueueLength) -> Iterator[None]:
        """Reserve a place while a job is created. Raises UserError when the queue is full.

        Another server may create jobs at the same moment, so the queue can exceed its limits by a few.
        """
        own, total = waiting.own + self._creating[caller], waiting.total + self._creating.total()
        if self._limits.per_caller is not None and own >= self._limits.per_caller:
            raise UserError(
                f"queue is full: {own} of your jobs wait, which is the limit for one caller; nothing was started; "
                f"try again when some have started, or cancel some ({_LIST_HINT})"
            )
        if self._limits.total is not None and total >= self._limits.total:
            raise UserError(
                f"queue is full: {total} jobs wait, which is the limit; nothing was started; try again when some "
                f"have started ({_LIST_HINT})"
            )
        self._creating[caller] += 1
        try:
            yield
        finally:
            self._creating[caller] -= 1
            if not self._creating[caller]:
                del self._creating[caller]  # callers come and go
