"""The store's errors: the only ones that leave it. Driver errors are translated in `translated`."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from uuid import UUID

import asyncpg


class StoreError(Exception):
    """Base of all errors of the store."""


class StoreUnavailable(StoreError):
    """The database does not answer: nothing was changed, or the change is unknown. Try again."""


class SchemaMismatch(StoreError):
    """The database's schema is not one that this program can use or upgrade. The message says what to do."""


class InsufficientStorage(StoreError):
    """The database's disk is full. Make room (a larger volume, or delete an index), then index again."""


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
        told = ", ".join(f"job {name} in namespace {namespace} is {state}" for namespace, name, state in jobs)
        namespace, name, _ = jobs[0]
        cancel = f"""kubectl -n {namespace} patch ij {name} --type merge -p '{{"spec":{{"cancel":true}}}}'"""
        super().__init__(
            f"the index is in use: {told}, or its pod is not gone yet; nothing was removed; wait for its end or "
            f"cancel it ({cancel}), then try again"
        )


class RowLocked(StoreError):
    """Another transaction holds the row for longer than a lock timeout of the statement allows."""


# Classes of SQLSTATE that mean "away", not "wrong": connection trouble and shutdown.
_AWAY = (
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # in the instant between the server's last word to an idle session and its end
    asyncpg.exceptions.OperatorInterventionError,
    asyncpg.exceptions.TooManyConnectionsError,
    asyncpg.exceptions.IdleInTransactionSessionTimeoutError,  # this process stood still for too long
    OSError,
    TimeoutError,
)


@contextmanager
def translated() -> Iterator[None]:
    """Turn driver errors into this module's."""
    try:
        yield
    except StoreError:
        raise
    except (asyncpg.exceptions.DiskFullError, asyncpg.exceptions.ProgramLimitExceededError) as error:
        raise InsufficientStorage(
            f"insufficient storage: the database has no room left ({error}); enlarge the database's volume or "
            "remove an index that is not needed (codebase-index delete, in the operator's pod), then start the "
            "job again: what is committed is kept"
        ) from error
    except asyncpg.UniqueViolationError as error:
        if error.constraint_name == "jobs_one_running_per_target":
            raise AnotherJobRuns("another job for the same repository and ref is running") from error
        raise
    except asyncpg.CheckViolationError as error:
        if error.constraint_name == "job_transitions":
            raise IllegalTransition(str(error)) from error
        raise
    except asyncpg.exceptions.LockNotAvailableError as error:
        raise RowLocked("the row is locked by a transaction that does not end") from error
    except _AWAY as error:
        if "no space left on device" in str(error).lower():
            raise InsufficientStorage(f"insufficient storage: {error}") from error
        raise StoreUnavailable(
            f"the database does not answer ({type(error).__name__}: {str(error)[:200]}); it is tried again"
        ) from error
