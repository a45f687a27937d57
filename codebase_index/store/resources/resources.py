"""Reads and writes the table `resources`: what the API server keeps on a cluster, with the same rules.

Bodies are those of the Kubernetes API. Each change raises the version, and a writer that names an older one loses.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from asyncpg import Connection, Record

from codebase_index.store import queries
from codebase_index.store.address import Address
from codebase_index.store.database import Database
from codebase_index.store.errors import StoreError

SQL = queries.load("resources")

Body = dict[str, Any]


class ResourceKind(StrEnum):
    """What the table holds."""

    JOB = "IndexingJob"
    POD = "Pod"
    EVENT = "Event"


class ResourceNotFound(StoreError):
    """No resource has this name, and where one is asked for, this uid."""


class ResourceConflict(StoreError):
    """The name is taken, or the resource has changed since it was read. Read it again."""


@dataclass(frozen=True)
class Listing:
    """Every resource that was asked for, and the version at which that was all there was."""

    items: list[Body]
    version: int


class Resources:
    """Resources of one namespace. Every method may raise StoreUnavailable."""

    def __init__(self, database: Database, namespace: str) -> None:
        self._db = database
        self._namespace = namespace

    @property
    def address(self) -> Address:
        """Where the database is: for `watch.changes`."""
        return self._db.address

    async def version(self) -> int:
        """Return the version of the newest change, at least."""
        async with self._db.connection() as connection:
            return int(await connection.fetchval(SQL["newest"]))

    async def list(
        self, kind: ResourceKind, owner: UUID | None = None, label: str | None = None, values: Sequence[str] = ()
    ) -> Listing:
        """List resources, those of an owner or those with a label of one of these values, in order of version."""
        async with self._db.transaction() as connection:
            await connection.execute(SQL["lock_shared"])
            version = await connection.fetchval(SQL["newest"])
            rows = await connection.fetch(SQL["list"], kind, owner, label, [*values])
        return Listing([self._body(row) for row in rows], version)

    async def get(self, kind: ResourceKind, name: str) -> Body:
        """Return a resource. Raises ResourceNotFound."""
        async with self._db.connection() as connection:
            return self._body(await self._found(connection, kind, name))

    async def insert(self, kind: ResourceKind, body: Body, owner: UUID | None = None) -> Body:
        """Store a new resource; return it with uid and version. Raises ResourceConflict: its name is taken."""
        metadata = {
            **body["metadata"],
            "namespace": self._namespace,
            "generation": 1,
            "creationTimestamp": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        }
        stored = json.dumps({**body, "metadata": metadata})
        async with self._db.connection() as connection:
            row = await connection.fetchrow(SQL["insert"], kind, metadata["name"], owner, stored)
        if row is None:
            raise ResourceConflict(f"{kind} {metadata['name']} exists already")
        return self._body(row)

    async def set_status(
        self, kind: ResourceKind, name: str, uid: UUID, status: Body, version: int | None = None
    ) -> Body:
        """Replace the status; of this version, if one is given. Raises ResourceConflict or ResourceNotFound."""
        return await self._change("set_status", kind, name, uid, version, json.dumps(status))

    async def patch_spec(self, kind: ResourceKind, name: str, uid: UUID, fields: Body) -> Body:
        """Merge fields into the spec. Raises ResourceNotFound, or ResourceConflict where it holds them already."""
        return await self._change("patch_spec", kind, name, uid, json.dumps(fields))

    async def mark_deleted(self, kind: ResourceKind, name: str, uid: UUID, gone_by: datetime) -> Body:
        """Ask for a resource's end. Raises ResourceNotFound, or ResourceConflict: that was done before."""
        return await self._change("mark_deleted", kind, name, uid, gone_by.isoformat())

    async def delete(self, kind: ResourceKind, name: str, uid: UUID) -> Body:
        """Remove a resource with all that it owns; return what it was. Raises ResourceNotFound."""
        return await self._change("delete", kind, name, uid)

    async def delete_owned(self, kind: ResourceKind, owner: UUID) -> None:
        """Remove the resources of a kind that belong to an owner."""
        async with self._db.connection() as connection:
            await connection.execute(SQL["delete_owned"], kind, owner)

    async def _change(self, query: str, kind: ResourceKind, name: str, uid: UUID, *values: object) -> Body:
        async with self._db.connection() as connection:
            row = await connection.fetchrow(SQL[query], kind, name, uid, *values)
            if row is not None:
                return self._body(row)
            if (await self._found(connection, kind, name))["uid"] != uid:
                raise ResourceNotFound(f"{kind} {name} with uid {uid} is gone; another one has its name")
        raise ResourceConflict(f"{kind} {name} has changed since it was read")

    async def _found(self, connection: Connection, kind: ResourceKind, name: str) -> Record:
        row = await connection.fetchrow(SQL["get"], kind, name)
        if row is None:
            raise ResourceNotFound(f"{kind} {name} not found")
        return row

    @staticmethod
    def _body(row: Record) -> Body:
        body: Body = json.loads(row["body"])
        body["metadata"] |= {"uid": str(row["uid"]), "resourceVersion": str(row["version"])}
        return body
