"""The gate: every call of a tool passes it, and what it says is decided before anything else is asked."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, Protocol

from codebase_index.api.job import index_name
from codebase_index.store.catalog.indexes import IndexRow
from codebase_mcp.errors import UserError
from codebase_mcp.identity import principal as principals
from codebase_mcp.identity.access import NO_INDEX, Access, Readable
from codebase_mcp.identity.authority import Authority, Grants
from codebase_mcp.identity.principal import OWNER, Principal
from codebase_mcp.identity.rights import Question, Right

log = logging.getLogger(__name__)

MAX_NAMED: Final = 500
"""Indexes, by source, about which the authority is asked one by one, for a caller who may not read all. The others
are hidden from it: sites with more of them give rights by namespace."""

MAX_ASKED_AT_ONCE: Final = 8


class Listing(Protocol):
    """Lists every index of the server's namespaces."""

    async def list(self) -> Sequence[IndexRow]:
        """Return them, by source and ref."""
        ...


class Gate:
    """Lets a call of a tool pass, or refuses it with the right that is missing: never with what there is."""

    def __init__(
        self,
        authority: Authority,
        namespace: str,
        indexes: Listing | None = None,
        *,
        read_only: bool = False,
        principal: Callable[[], Principal | None] = principals.current,
    ) -> None:
        """Ask this authority about rights in a namespace.

        `indexes` lists those that rules may name; `read_only` refuses whatever changes something, to everybody;
        `principal` returns who calls.
        """
        self._authority = authority
        self._namespace = namespace
        self._indexes = indexes
        self._read_only = read_only
        self._principal = principal

    @classmethod
    def of_owner(cls) -> "Gate":
        """Return the gate of a program whose every caller is its owner."""
        return cls(Grants(), "default", principal=lambda: OWNER)

    async def admit(self, right: Right, *, reads: bool) -> Access:
        """Return what a call may do that needs this right, and the right to read something where it `reads`.

        Raises UserError where it is missing, and AuthorityUnavailable.
        """
        principal = self._principal()
        if principal is None:
            raise UserError("forbidden: nobody has said who calls; this server is at fault, tell its operators")
        await self._require(principal, right, in_part=reads and right is Right.READ)
        readable = await self._readable(principal) if reads else NO_INDEX
        if reads and readable.ids is not None and not readable.ids:
            raise _forbidden(Right.READ, self._namespace)
        return Access(principal, readable, partial(self._require, principal))

    async def _require(self, principal: Principal, right: Right, *, in_part: bool = False) -> None:
        """Raise UserError unless the principal has a right; `in_part`: that is found out index by index."""
        if self._read_only and right.changes:
            raise UserError(
                "read-only: this server starts, cancels and deletes nothing, whoever asks; its operators can "
                "change that (auth.readOnly in the chart)"
            )
        if not in_part and not await self._authority.may(principal, Question(right, self._namespace)):
            raise _forbidden(right, self._namespace)

    async def _readable(self, principal: Principal) -> Readable:
        if await self._authority.may(principal, Question(Right.READ, self._namespace)):
            return Readable(None, by_name=principal.is_known)
        rows = await self._indexes.list() if self._indexes else []
        if len(rows) > MAX_NAMED:
            log.warning("only the first %d of %d indexes can be allowed by name", MAX_NAMED, len(rows))
        free = asyncio.Semaphore(MAX_ASKED_AT_ONCE)

        async def may_read(row: IndexRow) -> bool:
            async with free:
                name = index_name(row.source, row.target)
                return await self._authority.may(principal, Question(Right.READ, row.namespace, name))

        named = rows[:MAX_NAMED]
        allowed = await asyncio.gather(*map(may_read, named))
        return Readable(frozenset(row.id for row, may in zip(named, allowed, strict=True) if may), by_name=True)


def _forbidden(right: Right, namespace: str) -> UserError:
    return UserError(
        f"forbidden: this takes the right {right}, in namespace {namespace}, which you do not have; ask those "
        "who run this server for it"
    )
