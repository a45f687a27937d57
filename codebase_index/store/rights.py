"""What the role of each program may do, where there are such roles (docs/decisions/0024). The owner applies it.

A site may as well give one role for everything: then none of these roles is there, and nothing is to be done.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import asyncpg

from codebase_index.store import queries
from codebase_index.store.errors import StoreUnavailable

SQL = queries.load("rights")

OPERATOR, SERVER, INDEXER = ROLES = ("codebase_operator", "codebase_server", "codebase_indexer")

JOB_SETTING: Final = "codebase.job"
"""The setting by which an indexer's connection says which job it works for: its id, which is random, and which
nothing in the database tells a role that sees no other job."""

WHOSE_IT_IS: Final = (
    "id", "namespace", "cr_name", "source", "ref", "name", "slot", "attempt", "failures", "disruptions",
    "starting_since", "created_at", "arrival", "caller", "cancelled_at",
)  # fmt: skip
"""Columns of a job that no indexer writes: who made it, and what the operator decides."""

_JOB: Final = f"nullif(current_setting('{JOB_SETTING}', true), '')::uuid"

OWN_ROWS: Final[Mapping[str, str]] = {
    "indexes": "namespace = (SELECT namespace FROM jobs)",
    "work": f"job_id = {_JOB}",
    "files": "index_id IN (SELECT id FROM indexes)",
    "segments": "index_id IN (SELECT id FROM indexes)",
    "pending_batches": "index_id IN (SELECT id FROM indexes)",
    "workers": f"job_id = {_JOB}",
    "jobs": f"id = {_JOB}",
}
"""The rows that an indexer sees and may write, by table, in the order in which transactions come by them. Of jobs
it sees one, of indexes those of that one's namespace: what is asked within is asked under the same policies.

Not of chunks, embeddings and postings: they are written by COPY, which Postgres refuses for a table with policies.
"""

_LOCK_TIMEOUT: Final = "3s"


@dataclass(frozen=True)
class Rights:
    """What a site decides about them."""

    server_deletes: bool = False
    """Whether the server may remove indexes: it has a tool for that only where the site says so."""


NO_DELETION: Final = Rights()


async def apply(connection: asyncpg.Connection, rights: Rights) -> None:
    """Give each role that is there its rights, and take from it all others. Raises StoreUnavailable, to be tried
    again, when a table is in use.
    """
    roles = [row["rolname"] for row in await connection.fetch(SQL["roles"], list(ROLES))]
    if not roles:
        return
    async with connection.transaction():
        await _grant(connection, roles, rights)
    try:
        async with connection.transaction():
            await _set_policies(connection, roles)
    except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError) as error:
        raise StoreUnavailable(
            f"the indexers' policies cannot be set while another transaction holds a table ({error}); nothing was "
            "changed, and it is tried again"
        ) from error


async def _grant(connection: asyncpg.Connection, roles: Sequence[str], rights: Rights) -> None:
    tables = ", ".join(row[0] for row in await connection.fetch(SQL["tables"]))
    columns = await connection.fetchval(SQL["columns_of_jobs"], list(WHOSE_IT_IS))
    script = []
    for role in roles:
        script += [f"REVOKE ALL ON {tables} FROM {role};", SQL[role].format(columns_of_jobs=columns)]
    if rights.server_deletes and SERVER in roles:
        script.append(SQL["codebase_server_deletes"])
    await connection.execute("\n".join(script))


async def _set_policies(connection: asyncpg.Connection, roles: Sequence[str]) -> None:
    """Make the policies unless they are there: that locks the tables, so all of it is sent at once."""
    wanted = dict(_policies(roles))
    found = {row["policy"] for row in await connection.fetch(SQL["policies"])}
    if found == wanted.keys():
        return
    script = [
        f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'",
        f"LOCK TABLE {', '.join(OWN_ROWS)} IN ACCESS EXCLUSIVE MODE",
        *(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY" for table in OWN_ROWS),
    ]
    for old in found:
        table, _, name = old.partition(".")
        script.append(f"DROP POLICY {name} ON {table}")
    for new, clause in wanted.items():
        table, _, name = new.partition(".")
        script.append(f"CREATE POLICY {name} ON {table} {clause}")
    await connection.execute(";\n".join(script))


def _policies(roles: Sequence[str]) -> Sequence[tuple[str, str]]:
    """Return each policy as TABLE.NAME and its clause. The name ends with a digest: a changed one is another."""
    policies = []
    for table, own in OWN_ROWS.items():
        for role in roles:
            rows = own if role == INDEXER else "true"
            clause = f"TO {role} USING ({rows}) WITH CHECK ({rows})"
            policies.append((f"{table}.{role}_{hashlib.sha256(clause.encode()).hexdigest()[:8]}", clause))
    return policies
