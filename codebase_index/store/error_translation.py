"""The boundary of the store: what the driver raises leaves it as one of the five kinds of `errors`, by SQLSTATE.

Five characters, the first two of which are the class: https://www.postgresql.org/docs/current/errcodes-appendix.html
"""

from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg

from codebase_index.store.errors import (
    AnotherJobRuns,
    IllegalTransition,
    InsufficientStorage,
    RowLocked,
    StatementRefused,
    StatementTimeout,
    StoreError,
    StoreMisconfigured,
    StoreReadOnly,
    StoreUnavailable,
    TransactionAborted,
)

_KINDS: dict[str, type[StoreError]] = {
    "08": StoreUnavailable,  # connection exceptions
    "08P01": StoreMisconfigured,  # of the protocol: PgBouncer refuses settings that it does not know
    "57": StoreUnavailable,  # operator intervention: shutdown, start-up, a database that was dropped
    "53": StoreUnavailable,  # too many connections, out of memory
    "25P03": StoreUnavailable,  # this process stood still in a transaction for too long, and was cut off
    "28": StoreMisconfigured,  # authentication
    "3D": StoreMisconfigured,  # no such database
    "3F": StoreMisconfigured,  # no such schema
    "58": StoreMisconfigured,  # the server's own files: an extension's library is missing, its disk fails
    "F0": StoreMisconfigured,  # its configuration file
    "0A000": StoreMisconfigured,  # pgvector is not installed on the server
    "42501": StoreMisconfigured,  # a right is missing
    "42P01": StoreMisconfigured,  # a table, column, type or function: the schema is missing, or another version's
    "42703": StoreMisconfigured,
    "42704": StoreMisconfigured,
    "42883": StoreMisconfigured,
    "53400": StoreMisconfigured,  # a limit of its configuration, such as temp_file_limit
    "55000": StoreMisconfigured,  # a database that accepts no connections
    "26000": StoreMisconfigured,  # a prepared statement is not there, or is twice: a pooler that shares sessions
    "42P05": StoreMisconfigured,
    "25006": StoreReadOnly,
    "40": TransactionAborted,  # serialization failures, deadlocks
    "55006": TransactionAborted,  # in use by others
    "55P03": RowLocked,
    "57014": StatementTimeout,
    "25P04": StatementTimeout,  # of a transaction
    "53100": InsufficientStorage,
}
"""By SQLSTATE, or by its class. What is not here is a bug of ours."""

_OTHER_SCHEMA = "its schema is missing or another version's; the operator makes it: look at the operator's log"
NO_POOLER = (
    "a pooler such as PgBouncer cannot be between this program and its database, as connections bring settings "
    "and prepared statements: use the database's own address (each program has a pool of its own)"
)
_PGVECTOR = "install pgvector on its server, and as a superuser run in this database: CREATE EXTENSION vector"
_ADVICE: dict[str, str] = {
    "28P01": "correct the password in the database's address (the Secret); it is read again by itself",
    "28": "let this role log in, or name another one in the database's address",
    "3D": "create the database, or correct its name in the address",
    "3F": _OTHER_SCHEMA,
    "58P01": _PGVECTOR,
    "58": "look at the log of the database's server",
    "0A000": _PGVECTOR,
    "42501": "grant this right to the role that the database's address names",
    "42P01": _OTHER_SCHEMA,
    "42703": _OTHER_SCHEMA,
    "42704": _OTHER_SCHEMA,
    "42883": _OTHER_SCHEMA,
    "53400": "raise this limit in the database's configuration",
    "55000": "let the database accept connections",
    "08P01": NO_POOLER,
    "26000": NO_POOLER,
    "42P05": NO_POOLER,
    "25006": "name its primary in the database's address, or make it writable again",
}

READ_ONLY = f"the database takes no writes; {_ADVICE['25006']}"
MISSING_PRIVILEGES = f"the database refuses to read or write the table jobs; {_ADVICE['42501']}"

_NOT_AN_ADDRESS = (
    "the database's address cannot be read; write it as postgresql://user:password@host:5432/database, and "
    "characters of the password such as / # ? [ @ : % as percent escapes (%2F for /)"
)

_SHOWN = 200
"""Characters of Postgres' own words in a message."""


@contextmanager
def translated(*, connecting: bool = False) -> Iterator[None]:
    """Turn driver errors into this module's. While `connecting`, a time that is over is no statement's."""
    try:
        yield
    except StoreError:
        raise
    except asyncpg.PostgresError as error:
        raise _of_sqlstate(error) from error
    except TimeoutError as error:
        if connecting:
            raise _away(error) from error
        raise StatementTimeout("the database does not answer a statement in time", retried=True) from error
    except asyncpg.exceptions.TargetServerAttributeNotMatched as error:
        raise StoreReadOnly(READ_ONLY, retried=True) from error
    except ValueError as error:
        if connecting:
            # Its text may quote a part of the password.
            raise StoreMisconfigured(_NOT_AN_ADDRESS, retried=True) from None
        if isinstance(error, asyncpg.InterfaceError):  # a value that cannot be sent
            raise _refused(type(error).__name__, str(error)) from error
        raise
    except (asyncpg.InterfaceError, asyncpg.InternalClientError, OSError) as error:
        raise _away(error) from error  # the driver's own: mostly a connection that ended in this instant


def _of_sqlstate(error: asyncpg.PostgresError) -> StoreError:
    code, said = str(error.sqlstate or ""), str(error.args[0])[:_SHOWN]  # without DETAIL, which quotes values
    match error:
        case asyncpg.UniqueViolationError(constraint_name="jobs_one_running_per_target"):
            return AnotherJobRuns("another job for the same repository and ref is running")
        case asyncpg.CheckViolationError(constraint_name="job_transitions"):
            return IllegalTransition(said)
        case asyncpg.InvalidCachedStatementError():
            return TransactionAborted("the database's schema was changed in this moment", retried=True)
    kind = _KINDS.get(code) or _KINDS.get(code[:2])
    if kind is None:
        return _refused(code, said)
    if issubclass(kind, StoreMisconfigured):
        advice = _ADVICE.get(code) or _ADVICE.get(code[:2]) or "look at the log of the database's server"
        if code == "42501" and "extension" in said:
            advice = _PGVECTOR
        return kind(f"the database refuses: {said} ({code}); {advice}", retried=True)
    if kind is InsufficientStorage:
        return _full(said)
    if issubclass(kind, TransactionAborted):
        return kind(f"the database is busy: {said} ({code})", retried=True)
    return _away(error)


def _away(error: Exception) -> StoreError:
    said = str(error.args[0] if isinstance(error, asyncpg.PostgresError) else error)
    if "no space left on device" in said.lower():
        return _full(said[:_SHOWN])
    what = f"{type(error).__name__}: {said[:_SHOWN]}"
    return StoreUnavailable(f"the database does not answer ({what})", retried=True)


def _full(said: str) -> InsufficientStorage:
    return InsufficientStorage(
        f"insufficient storage: the database has no room left ({said}); enlarge the database's volume or "
        "remove an index that is not needed (codebase-mcp admin delete, in the operator's pod), then start "
        "the job again: what is committed is kept"
    )


def _refused(code: str, said: str) -> StatementRefused:
    return StatementRefused(
        f"the database refuses a statement of this program: {said[:_SHOWN]} ({code}); this is a bug: please "
        "report it with this message and the program's version"
    )
