"""Faults of processes: signals from the host, and a memory limit that is suddenly too low."""

import asyncio
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from tests.chaos.faults.faults import Fault
from tests.chaos.harness.cluster import Cluster, Victim
from tests.chaos.harness.containers import first, memory_group, processes, worker

_PATIENCE_SECONDS = 60.0


async def kill_worker(_: Cluster, victims: Sequence[Victim]) -> datetime:
    """SIGKILL the worker: its supervisor starts it again."""
    moment = datetime.now(UTC)
    for victim in victims:
        worker(victim.pod.uid).signal(signal.SIGKILL)
    return moment


async def kill_first(_: Cluster, victims: Sequence[Victim]) -> datetime:
    """SIGKILL PID 1: the container ends with all its processes."""
    moment = datetime.now(UTC)
    for victim in victims:
        first(victim.pod.uid).signal(signal.SIGKILL)
    return moment


async def kill_first_again(cluster: Cluster, victims: Sequence[Victim]) -> datetime:
    """SIGKILL PID 1 of whichever pod has the job, five times, each as soon as it is there again."""
    (victim,) = victims
    moment, killed = datetime.now(UTC), set[int]()
    deadline = time.monotonic() + 2 * _PATIENCE_SECONDS
    while len(killed) < 5 and time.monotonic() < deadline:
        for pod in await cluster.pods_of(victim.job_id):
            with suppress(LookupError):
                process = first(pod["metadata"]["uid"])
                if process.pid not in killed:
                    moment = datetime.now(UTC)
                    process.signal(signal.SIGKILL)
                    killed.add(process.pid)
        await asyncio.sleep(0.05)
    assert len(killed) == 5, f"only {len(killed)} starts within {2 * _PATIENCE_SECONDS:.0f} s"
    return moment


async def hang_worker(_: Cluster, victims: Sequence[Victim]) -> datetime:
    """SIGSTOP the worker and its pool: it neither ends nor works. The operator has to notice."""
    moment = datetime.now(UTC)
    for victim in victims:
        stop(victim)
    return moment


def stop(victim: Victim) -> None:
    """SIGSTOP all of a pod but PID 1, which stays able to end it. The worker first: it watches the others."""
    worker(victim.pod.uid).signal(signal.SIGSTOP)
    for process in processes(victim.pod.uid):
        if process.inner != 1:
            process.signal(signal.SIGSTOP)


async def out_of_memory(_: Cluster, victims: Sequence[Victim]) -> datetime:
    """Lower the container's limit below its use until the kernel kills the worker; then restore it."""
    return max(await asyncio.gather(*(asyncio.to_thread(_starve, victim) for victim in victims)))


def _starve(victim: Victim) -> datetime:
    # The kernel would take one of the pool's processes, which the worker replaces within a moment.
    chosen = worker(victim.pod.uid)
    for process in processes(victim.pod.uid):
        Path(f"/proc/{process.pid}/oom_score_adj").write_text("1000" if process == chosen else "0")
    group = memory_group(first(victim.pod.uid))
    unified = (group / "memory.max").exists()
    limit, use, events = (
        ("memory.max", "memory.current", "memory.events")
        if unified
        else ("memory.limit_in_bytes", "memory.usage_in_bytes", "memory.oom_control")
    )
    before, kills = (group / limit).read_text(), _kills(group / events)
    deadline = time.monotonic() + _PATIENCE_SECONDS
    try:
        while _kills(group / events) == kills:
            assert time.monotonic() < deadline, f"the kernel kills nothing in {group}"
            _tighten(group / limit, int((group / use).read_text()))
            time.sleep(0.002)
        return datetime.now(UTC)
    finally:
        with suppress(FileNotFoundError):  # where the whole container died, its group went with it
            (group / limit).write_text(before)


def _tighten(limit: Path, use: int) -> None:
    """Set a limit as far below the use as the kernel takes it: version 1 refuses what it can not reclaim."""
    for below in (64_000_000, 16_000_000, 4_000_000, 1_000_000, 0):
        with suppress(OSError):
            limit.write_text(str(max(0, use - below)))
            return


def _kills(events: Path) -> int:
    """Read the kernel's count; a group that is gone was killed whole."""
    with suppress(FileNotFoundError):
        return next(
            int(line.split()[1]) for line in events.read_text().splitlines() if line.startswith("oom_kill ")
        )
    return -1


FAULTS = (
    Fault("worker-killed", "worker SIGKILLed", kill_worker),
    Fault("pid1-killed", "PID 1 SIGKILLed", kill_first),
    Fault(
        "pid1-killed-5x", "PID 1 SIGKILLed, five times in a row", kill_first_again,
        counted_from="the last kill", repeated_limit=0.05,
    ),
    Fault("worker-hangs", "worker hangs (SIGSTOP)", hang_worker),
    Fault("out-of-memory", "out of memory", out_of_memory, counted_from="the kernel's kill"),
)  # fmt: skip
