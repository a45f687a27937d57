"""Driver errors leave the store as its own, by what the caller should do next."""

import asyncpg
import pytest

from codebase_index.store.error_translation import translated
from codebase_index.store.errors import InsufficientStorage, RowLocked, StoreUnavailable


@pytest.mark.parametrize(
    "error",
    [
        asyncpg.InternalClientError("cannot switch to state 12; another operation (2) is in progress"),
        asyncpg.InterfaceError("connection is closed"),
        asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation"),
        asyncpg.AdminShutdownError("terminating connection"),
        asyncpg.CannotConnectNowError("the database system is starting up"),
        ConnectionRefusedError(111, "Connection refused"),
        TimeoutError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_passes_is_tried_again(error: Exception) -> None:
    with pytest.raises(StoreUnavailable, match="it is tried again"), translated():
        raise error


def test_what_does_not_pass_is_not() -> None:
    with pytest.raises(InsufficientStorage), translated():
        raise asyncpg.DiskFullError("could not extend file")
    with pytest.raises(InsufficientStorage), translated():
        raise OSError(28, "No space left on device")
    with pytest.raises(RowLocked), translated():
        raise asyncpg.LockNotAvailableError("canceling statement due to lock timeout")
    with pytest.raises(ValueError, match="a bug"), translated():
        raise ValueError("a bug")
