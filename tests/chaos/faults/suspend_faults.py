"""Suspend and resume, as a row of the matrix: recovery counts from the resume."""

import asyncio
import json
from collections.abc import Sequence
from datetime import UTC, datetime

from hack.deployment.chart import NAMESPACE
from hack.deployment.commands import kubectl
from tests.chaos.faults.faults import Fault
from tests.chaos.harness.cluster import Cluster, Victim

_FREE_SECONDS = 10.0
_QUIET_SECONDS = 2.0


async def suspend_and_resume(cluster: Cluster, victims: Sequence[Victim]) -> datetime:
    """Suspend a job, see that it gives up its slot and stands still, and resume it."""
    (victim,) = victims
    await _set(victim, suspend=True)
    connection = await cluster.connect()
    try:
        async with asyncio.timeout(_FREE_SECONDS):
            while True:
                before = await connection.fetchrow("SELECT * FROM jobs WHERE id = $1", victim.job_id)
                if before["state"] == "pending" and not before["slot"]:
                    break
                await asyncio.sleep(0.05)
        assert not await cluster.pods_of(victim.job_id), (
            "the suspended job gave up its slot before its pod was gone"
        )
        await asyncio.sleep(_QUIET_SECONDS)
        after = await connection.fetchrow("SELECT * FROM jobs WHERE id = $1", victim.job_id)
    finally:
        await connection.close()
    counters = ("attempt", "percent", "files_total", "files_indexed", "files_skipped", "chunks_created")
    moved = [name for name in counters if before[name] != after[name]]
    assert not moved, f"{', '.join(moved)} of a suspended job changed"
    moment = datetime.now(UTC)
    await _set(victim, suspend=False)
    return moment


async def _set(victim: Victim, *, suspend: bool) -> None:
    patch = json.dumps({"spec": {"suspend": suspend}})
    await asyncio.to_thread(
        kubectl, "patch", "ij", victim.name, "-n", NAMESPACE, "--type=merge", f"--patch={patch}"
    )


FAULTS = (
    Fault("suspended", "suspended and resumed", suspend_and_resume, counted_from="the resume", suspends=True),
)
