"""How long the queue may get, in all and for one caller. Who finds it full is told before anything is created."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from codebase_index.store.jobs.jobs import Waiting
from codebase_mcp.errors import UserError

_SHOWN_BY = "list_indexing_jobs with status=pending shows them"


@dataclass(frozen=True)
class QueueBounds:
    """How many jobs may wait for a slot. None: as many as come."""

    total: int | None = 500
    per_caller: int | None = 100


class QueueShare:
    """Gives out places in the queue, counting also the jobs that this server is creating."""

    def __init__(self, bounds: QueueBounds) -> None:
        self._bounds = bounds
        self._creating: Counter[str] = Counter()

    @contextmanager
    def place(self, caller: str, waiting: Waiting) -> Iterator[None]:
        """Hold a place while a job is created. Raises UserError when there is none.

        Another server may create jobs in the same instant, so the queue can get a few longer than its bounds.
        """
        own, total = waiting.own + self._creating[caller], waiting.total + self._creating.total()
        if self._bounds.per_caller is not None and own >= self._bounds.per_caller:
            raise UserError(
                f"queue is full: {own} of your jobs wait, as many as one caller may have; nothing was started; "
                f"try again when some have started, or cancel some ({_SHOWN_BY})"
            )
        if self._bounds.total is not None and total >= self._bounds.total:
            raise UserError(
                f"queue is full: {total} jobs wait, as many as may; nothing was started; try again when some have "
                f"started ({_SHOWN_BY})"
            )
        self._creating[caller] += 1
        try:
            yield
        finally:
            self._creating[caller] -= 1
            if not self._creating[caller]:
                del self._creating[caller]  # callers come and go
