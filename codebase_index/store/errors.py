"""The store's errors: the only ones that leave it. `error_translation` makes them of the driver's.

Five kinds, by what the caller does next:

    StoreUnavailable         away: wait, and do meanwhile what can be done without it
    ├─ StoreMisconfigured    it answers and refuses: wait, and say what a person has to mend
    │  ├─ StoreReadOnly      the same, for a primary that was demoted: connect anew, the address may name another
    │  └─ SchemaMismatch     the same, for a schema of another program or version
    └─ TransactionAborted    it lost against other transactions, or ran out of its time: the same again may succeed
       ├─ RowLocked
       └─ StatementTimeout   again and again, it is no outage: the statement is too large
    InsufficientStorage      out of room: stop; what is committed is kept
    StatementRefused         a bug of ours: the same again will fail again

The others, such as FenceLost, are answers of the store itself.
"""

from collections.abc import Sequence
from typing import ClassVar
from uuid import UUID


class StoreError(Exception):
    """Base of all errors of the store."""

    state: ClassVar[str] = "error"
    """The database's state in one word, for health answers and metrics."""

    @property
    def reason(self) -> str:
        """What happened, without what this program does next: for callers who act themselves."""
        return str(self)


class StoreUnavailable(StoreError):
    """The database cannot be used now: nothing was changed, or the change is unknown. Try again.

    `retried`: the message says that this program does so.
    """

    state = "away"

    def __init__(self, reason: str, *, retried: bool = False) -> None:
        super().__init__(f"{reason}; it is tried again" if retried else reason)
        self._reason = reason

    @property
    def reason(self) -> str:
        """What happened, and what a person has to mend."""
        return self._reason


class StoreMisconfigured(StoreUnavailable):
    """The database answers, and refuses this program until a person has mended what the message names.

    Trying again goes on, since nobody tells when it is mended; a restart would not help.
    """

    state = "misconfigured"


class StoreReadOnly(StoreMisconfigured):
    """The database takes no writes: a demoted primary, a replica, or a role that is set so."""

    state = "read-only"


class SchemaMismatch(StoreMisconfigured):
    """The database's schema is not one that this program can use or upgrade. The message says what to do."""


class TransactionAborted(StoreUnavailable):
    """Postgres rolled the transaction back for the sake of others: nothing was changed. Try again."""

    state = "busy"


class RowLocked(TransactionAborted):
    """Another transaction holds the row for longer than a lock timeout of the statement allows."""


class StatementTimeout(TransactionAborted):
    """A statement took longer than it may. A few in a row are a busy database; more say that it does too much."""


class InsufficientStorage(StoreError):
    """The database's disk is full. Make room (a larger volume, or delete an index), then index again."""

    state = "full"


class StatementRefused(StoreError):
    """Postgres refuses what this program sends: a bug of ours. The message names the SQLSTATE for a report."""


class JobNotFound(StoreError):
    """No job has this id: it never existed, or was removed after its retention time."""

    def __init__(self, job_id: UUID) -> None:
        super().__init__(f"job not found: {job_id}")


class FenceLost(StoreError):
    """Another attempt holds the job, or it is final: this process must stop and change nothing more."""

    def __init__(self, job_id: UUID, attempt: int) -> None:
        super().__init__(
            f"write of job {job_id} refused: attempt {attempt} was replaced, or the job is cancelled or final; "
            "this pod stops and changes nothing; no action needed"
        )


class IllegalTransition(StoreError):
    """The job is in a state from which this change is not possible."""


class AnotherJobRuns(StoreError):
    """Another job for the same source and ref is running; this one must wait for its end."""


class IndexInUse(StoreError):
    """A job writes into the index, or may do so again: it must end before the index can be removed."""

    def __init__(self, jobs: Sequence[tuple[str, str, str]]) -> None:
        users = ", ".join(f"job {name} in namespace {namespace} is {state}" for namespace, name, state in jobs)
        namespace, name, _ = jobs[0]
        cancel = f"""kubectl -n {namespace} patch ij {name} --type merge -p '{{"spec":{{"cancel":true}}}}'"""
        super().__init__(
            f"the index is in use: {users}, or its pod is not gone yet; nothing was removed; wait for its end or "
            f"cancel it ({cancel}), then try again"
        )
