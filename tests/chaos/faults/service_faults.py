"""Faults of what the jobs depend on: the operator, the MCP server, and Postgres in the midst of a write."""

import asyncio
import signal
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial

import asyncpg

from tests.chaos.faults.faults import Fault
from tests.chaos.faults.process_faults import kill_worker
from tests.chaos.harness.cluster import PODS, Cluster, Victim
from tests.chaos.harness.containers import first, processes

_WRITING = """
SELECT pid FROM pg_stat_activity
WHERE application_name LIKE 'indexer/%' AND state = 'active' AND backend_xid IS NOT NULL
"""


async def kill(component: str, cluster: Cluster, _: Sequence[Victim]) -> datetime:
    """SIGKILL the container of each pod of a component."""
    containers = [first(pod.uid) for pod in await cluster.components(component)]
    moment = datetime.now(UTC)
    for container in containers:
        container.signal(signal.SIGKILL)
    return moment


async def kill_operator_and_workers(cluster: Cluster, victims: Sequence[Victim]) -> datetime:
    """SIGKILL the operator and every worker together: nobody is told what happened meanwhile."""
    await kill("operator", cluster, victims)
    return await kill_worker(cluster, victims)


async def restart_postgres(cluster: Cluster, _: Sequence[Victim]) -> datetime:
    """Delete the pod of Postgres; return when its successor answers."""
    probe = await cluster.connect()
    await cluster.api.delete(f"{PODS}/{(await cluster.component('postgres')).name}")
    return await _answers_again(cluster, probe)


async def kill_postmaster(cluster: Cluster, _: Sequence[Victim]) -> datetime:
    """SIGKILL the postmaster while an indexer's transaction writes; return when Postgres answers again."""
    pod = await cluster.component("postgres")
    probe = await cluster.connect()
    await _writing_backend(probe)
    first(pod.uid).signal(signal.SIGKILL)
    return await _answers_again(cluster, probe)


async def kill_backend(cluster: Cluster, _: Sequence[Victim]) -> datetime:
    """SIGKILL the server process of a transaction that writes: Postgres ends all sessions and recovers."""
    pod = await cluster.component("postgres")
    probe = await cluster.connect()
    inner = await _writing_backend(probe)
    next(process for process in processes(pod.uid) if process.inner == inner).signal(signal.SIGKILL)
    return await _answers_again(cluster, probe)


async def _writing_backend(probe: asyncpg.Connection) -> int:
    """Wait for a transaction of an indexer that has written something; return its server process.

    Raises AssertionError, and closes the probe, where none is seen for 10 s.
    """
    try:
        async with asyncio.timeout(10):
            while True:
                for row in await probe.fetch(_WRITING):
                    return int(row["pid"])
    except TimeoutError:
        probe.terminate()
        raise AssertionError("for 10 s no indexer was seen to write") from None


async def _answers_again(cluster: Cluster, probe: asyncpg.Connection) -> datetime:
    """Wait until the database has gone, as a session from before shows, and answers again."""
    async with asyncio.timeout(30):
        while not probe.is_closed():
            try:
                await probe.fetchval("SELECT 1", timeout=2)
                await asyncio.sleep(0.02)
            except (
                OSError,
                TimeoutError,
                asyncpg.PostgresError,
                asyncpg.InterfaceError,
                asyncpg.InternalClientError,  # the server has said that it goes, and the socket is open still
            ):
                break
    probe.terminate()
    await cluster.database_answers()
    return datetime.now(UTC)


async def renew(component: str, cluster: Cluster) -> None:
    """Replace a component's pod, so that the kubelet forgets its restarts and waits for nothing next time."""
    await cluster.replace(component)
    if component == "postgres":
        await cluster.database_answers()


FAULTS = (
    Fault(
        "operator-killed", "operator SIGKILLed", partial(kill, "operator"), partial(renew, "operator"),
        kills_worker=False, hits_all=True,
    ),
    Fault(
        "server-killed", "MCP server SIGKILLed", partial(kill, "server"), partial(renew, "server"),
        kills_worker=False, kills_server=True, hits_all=True,
    ),
    Fault(
        "operator-and-worker-killed", "operator and workers SIGKILLed together", kill_operator_and_workers,
        partial(renew, "operator"), hits_all=True,
    ),
    Fault(
        "postgres-restarted", "Postgres restarted (pod deleted)", restart_postgres,
        kills_worker=False, hits_all=True, counted_from="Postgres answers",
    ),
    Fault(
        "postgres-killed", "Postgres SIGKILLed while it writes", kill_postmaster, partial(renew, "postgres"),
        kills_worker=False, hits_all=True, counted_from="Postgres answers",
    ),
    Fault(
        "backend-killed", "Postgres backend SIGKILLed while it writes", kill_backend,
        kills_worker=False, hits_all=True, counted_from="Postgres answers",
    ),
)  # fmt: skip
