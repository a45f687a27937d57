"""Fault injection at the boundary of a process: each call to the database or the API may fail, once per injector.

The calls themselves are real; only the network, the process and its death are simulated.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, cast

import asyncpg
from kubernetes.aio.client import ApiClient

from codebase_index.store.address import fixed
from codebase_index.store.database import Database
from codebase_index.store.errors import StoreUnavailable
from codebase_index.store.rights import NO_DELETION
from codebase_operator.cluster.api import ApiError
from codebase_operator.cluster.kubernetes_api import KubernetesApi
from tests.model.cluster import Cluster
from tests.operator.fake_api import Refused


class Died(BaseException):
    """The process is killed at this call. Not an Exception: nothing in the product may catch it."""


class Fault(StrEnum):
    """What happens at a call."""

    REFUSE = "refuse"  # it fails, and had no effect
    LOSE = "lose"  # it has its effect, and the answer is lost
    DIE = "die"  # the process dies before it
    DIE_AFTER = "die after"  # the process dies after it
    HALT = "halt"  # the process stands still before it, inside its transaction, until it is woken


@dataclass
class FaultInjector:
    """Injects a fault at call number `at` (from 1; 0: never) of a process. A call is a statement or a request."""

    at: int = 0
    fault: Fault = Fault.REFUSE
    status: int = 500
    calls: int = 0
    halted: asyncio.Event = field(default_factory=asyncio.Event)
    gate: asyncio.Event = field(default_factory=asyncio.Event)

    async def before(self, refusal: Exception) -> bool:
        """Count a call. Return whether its answer is to be lost."""
        self.calls += 1
        if self.calls != self.at:
            return False
        match self.fault:
            case Fault.REFUSE:
                raise refusal
            case Fault.DIE:
                raise Died
            case Fault.HALT:
                self.halted.set()
                await self.gate.wait()
                return False
            case _:
                return True

    def after(self, loss: Exception) -> None:
        """Lose the answer of a call."""
        raise Died if self.fault is Fault.DIE_AFTER else loss


@dataclass
class Outages:
    """What is unavailable to every process."""

    database: bool = False
    api: bool = False


class FaultyDatabase(Database):
    """A process' connection to the real database."""

    def __init__(self, pool: asyncpg.Pool, outages: Outages) -> None:
        super().__init__(pool, fixed(""), fixed(""), NO_DELETION)  # the schema is there
        self._outages = outages
        self.injector = FaultInjector()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[asyncpg.Connection]:
        """Lend a connection whose statements pass the injector. An answer is lost after the commit, not before."""
        if self._outages.database:
            raise StoreUnavailable("the database is away")
        statements = None
        async with super().connection() as connection:
            statements = Statements(connection, self.injector)
            yield statements
        if statements.lost:
            self.injector.after(StoreUnavailable("the answer is lost"))

    async def migrate(self, namespace: str = "default") -> list[str]:
        """Do nothing: the schema is there."""
        if self._outages.database:
            raise StoreUnavailable("the database is away")
        return []


class Statements:
    """A connection whose statements pass a fault injector."""

    _COUNTED = frozenset(
        {"fetch", "fetchrow", "fetchval", "execute", "executemany", "copy_records_to_table", "copy_to_table"}
    )

    def __init__(self, connection: asyncpg.Connection, injector: FaultInjector) -> None:
        self._connection = connection
        self._injector = injector
        self.lost = False

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._connection, name)
        if name not in self._COUNTED:
            return method

        async def counted(*arguments: Any, **options: Any) -> Any:
            self.lost |= await self._injector.before(StoreUnavailable("the connection broke"))
            return await method(*arguments, **options)

        return counted


class FaultyApi(KubernetesApi):
    """A process' connection to the model's cluster: the real calls up to the wire, then JSON by hand."""

    def __init__(self, cluster: Cluster, outages: Outages) -> None:
        super().__init__(cast(ApiClient, None), "ns")
        self._cluster = cluster
        self._outages = outages
        self.injector = FaultInjector()

    async def _call(
        self, method: str, path: str, *, query: list[tuple[str, str]] | None = None,
        body: dict[str, Any] | None = None, content_type: str = "application/json",
        accept: str = "application/json",
    ) -> dict[str, Any]:  # fmt: skip
        if self._outages.api:
            raise ApiError(0, "connection refused")
        lost = await self.injector.before(ApiError(self.injector.status, "injected"))
        try:
            selector = dict(query or ()).get("labelSelector", "")
            answer = self._cluster.answer(method, path, json.loads(json.dumps(body or {})), selector)
        except Refused as error:
            raise ApiError(error.status, str(error)) from error
        if lost:
            self.injector.after(ApiError(0, "the answer is lost"))
        result: dict[str, Any] = json.loads(json.dumps(answer))
        return result
