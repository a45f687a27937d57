"""What the gate lets a call do, for the services behind it: the rights of its caller, and what it may read."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

from codebase_index.context_value import set_for_block
from codebase_index.store.catalog.indexes import Indexes, IndexRow, StoredFiles
from codebase_index.store.database import Database
from codebase_mcp.identity.principal import Principal
from codebase_mcp.identity.rights import Right


@dataclass(frozen=True)
class Readable:
    """Which indexes may be read: those with these ids; None: every one of the server's namespaces.

    `by_name`: rules can name them, so callers are told the names.
    """

    ids: frozenset[int] | None
    by_name: bool = False


EVERY_INDEX: Final = Readable(None)
NO_INDEX: Final = Readable(frozenset())


@dataclass(frozen=True)
class Access:
    """What one call may do. `require` raises UserError where its caller lacks a further right."""

    principal: Principal
    readable: Readable
    require: Callable[[Right], Awaitable[None]]


_access: ContextVar[Access] = ContextVar("access")


def current() -> Access:
    """Return what the call that is being answered may do. Raises LookupError for one that passed no gate."""
    return _access.get()


def access_context(access: Access) -> AbstractContextManager[None]:
    """Make `current` return this, in the block and in the tasks that it starts."""
    return set_for_block(_access, access)


class VisibleIndexes:
    """The indexes that the caller of a tool may read: all that the services behind the tools ever see.

    They hold no other way to the list of indexes, and the store's queries take ids of its rows: so what a caller
    may not read is left out before anything is searched, and is to it as if it were not there.
    """

    def __init__(self, indexes: Indexes, readable: Callable[[], Readable]) -> None:
        self._indexes = indexes
        self._readable = readable

    @classmethod
    def of_caller(cls, indexes: Indexes) -> "VisibleIndexes":
        """Return those that the caller of the moment may read; outside of a call LookupError is raised."""
        return cls(indexes, lambda: current().readable)

    @classmethod
    def every(cls, database: Database, namespaces: Sequence[str] | None = None) -> "VisibleIndexes":
        """Return all of some namespaces (None: of all), for a program that answers its owner alone."""
        return cls(Indexes(database, namespaces), lambda: EVERY_INDEX)

    async def list(self) -> list[IndexRow]:
        """Return the visible indexes, by source and ref."""
        return await self._indexes.list(self._readable().ids)

    @property
    def are_named(self) -> bool:
        """Whether the caller is told the names that rules have for them."""
        return self._readable().by_name

    async def files(self, index_id: int, limit: int) -> StoredFiles:
        """Return the first files of a visible index by path."""
        return await self._indexes.files(index_id, limit)
