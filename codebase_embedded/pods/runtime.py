"""Starts and ends the processes of pods, and tells how they ended: level-triggered, as a kubelet is.

Each pass compares what the table asks for with what runs. Nothing that matters is kept in memory: a runtime that
starts anew finds its processes by what the table says of them, and those that it does not tell of by their mark.
"""

import asyncio
import logging
import os
import shutil
import signal
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from codebase_embedded import processes, shim
from codebase_embedded.pods import status
from codebase_embedded.pods.container import NICE, Container, container_of
from codebase_embedded.processes import POD_MARK, Process
from codebase_index.api.job import ExitCode
from codebase_index.store.errors import StoreError
from codebase_index.store.resources.resources import (
    Body,
    ResourceConflict,
    ResourceKind,
    ResourceNotFound,
    Resources,
)
from codebase_operator.model.snapshot import LOG_PATH

log = logging.getLogger(__name__)

PASS_INTERVAL: Final = 0.5
"""Seconds between passes while pods run: the end of a process that another runtime started is no event."""

REST_INTERVAL: Final = 5.0
"""The same while none does: changes wake it."""

COMMAND: Final = (sys.executable, "-m", "codebase_indexer.supervisor")
SHIM: Final = (sys.executable, "-I", "-S", shim.__file__)

_POD: Final = ResourceKind.POD

_TAKEN_AWAY: Final = frozenset({ExitCode.STOPPED, *(128 + number for number in (signal.SIGTERM, signal.SIGKILL))})
"""Exit codes of a process that was ended from outside, and not by itself."""

_TOLD: Final = frozenset({ExitCode.DONE, ExitCode.FAILED, ExitCode.FENCED})
"""Exit codes of one that knew what it did, whatever happened around it."""


class PodRuntime:
    """The processes of the pods of one instance. `folder` is where each pod gets a folder of its own."""

    def __init__(self, resources: Resources, folder: Path, life: int) -> None:
        self._resources = resources
        self._folder = folder
        self._life = life
        self._wake = asyncio.Event()
        self._children: dict[str, asyncio.subprocess.Process] = {}
        self._signalled: set[Process] = set()

    def wake(self) -> None:
        """Do a pass now."""
        self._wake.set()

    async def run(self) -> None:
        """Run until cancelled. Neither an outage nor a bug ends it."""
        await self._adopt()
        while True:
            self._wake.clear()
            at_rest = False
            try:
                at_rest = not await self.sync()
            except StoreError as error:
                log.warning("pods are not looked after: %s", error)
            except Exception:
                log.exception("pods are not looked after")
            try:
                async with asyncio.timeout(REST_INTERVAL if at_rest else PASS_INTERVAL):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def sync(self) -> bool:
        """Do one pass: each pod gets, or loses, its process. Return whether one is left that may run."""
        pods = (await self._resources.list(_POD)).items
        for pod in pods:
            try:
                await self._sync_pod(pod)
            except (ResourceConflict, ResourceNotFound):
                self.wake()  # it changed meanwhile: the next pass sees how
        await self._remove_others({pod["metadata"]["uid"] for pod in pods})
        return not all(status.is_finished(pod) for pod in pods)

    async def _adopt(self) -> None:
        """Tell of processes that an earlier runtime started, and died before it could tell.

        Those that ended with the instance are lost as with their node, even if an operator that was killed a
        moment later has told of them as of any that ends.
        """
        while True:
            try:
                for pod in (await self._resources.list(_POD)).items:
                    if (told := self._told_by_nobody(pod)) is not None:
                        await self._set_status(pod, told)
                return
            except (ResourceConflict, ResourceNotFound):
                continue  # it changed meanwhile
            except StoreError as error:
                log.warning("pods are not looked after: %s", error)
                await asyncio.sleep(PASS_INTERVAL)

    def _told_by_nobody(self, pod: Body) -> dict[str, Any] | None:
        uid = pod["metadata"]["uid"]
        if status.is_new(pod):
            leader = self._leader(uid)
            return status.running(pod, leader, _now()) if leader else None
        process = status.process_of(pod)
        if not status.was_started(pod) or status.is_finished(pod) or (process is not None and process.alive()):
            return None
        end = shim.end_of(_end_file(self._folder / uid))
        gone = end is None or end.exit_code in _TAKEN_AWAY or _is_lost(end)
        return status.node_lost(pod, _now()) if gone else None

    def _leader(self, uid: str) -> Process | None:
        """Return the shim of a pod, which leads its session."""
        return next((p for p in processes.marked(POD_MARK, uid) if p.session() == p.pid), None)

    async def _sync_pod(self, pod: Body) -> None:
        deleted = "deletionTimestamp" in pod["metadata"]
        process = status.process_of(pod)
        if process is not None and process.alive():
            if deleted and process not in self._signalled:
                self._signalled.add(process)
                process.signal(signal.SIGTERM)  # the shim passes it on, and kills after the grace period
        elif process is not None:
            await self._ended(pod, process)
        elif deleted:
            await self._resources.delete(_POD, pod["metadata"]["name"], UUID(pod["metadata"]["uid"]))
        elif status.is_new(pod) or status.is_down(pod):
            await self._start(pod)

    async def _start(self, pod: Body) -> None:
        folder = self._folder / pod["metadata"]["uid"]
        try:
            process = await self._spawn(pod, folder, container_of(pod, folder, os.environ))
        except (OSError, KeyError, ValueError) as error:
            log.exception("pod not started", extra={"pod": pod["metadata"]["name"]})
            await self._set_status(pod, status.refused(f"{type(error).__name__}: {error}"))
            return
        try:
            await self._set_status(pod, status.running(pod, process, _now()))
        except StoreError:
            await self._kill(pod["metadata"]["uid"])  # nobody knows of it: the next pass starts another
            raise
        log.info("pod started", extra={"pod": pod["metadata"]["name"], "identity": str(process)})

    async def _spawn(self, pod: Body, folder: Path, container: Container) -> Process:
        for volume in (folder, *container.folders):
            volume.mkdir(parents=True, exist_ok=True, mode=0o700)
        _end_file(folder).unlink(missing_ok=True)
        limits = (word for name, value in container.limits.items() for word in ("--limit", f"{name}={value}"))
        uid = pod["metadata"]["uid"]
        with (folder / "log").open("ab") as output:
            child = await asyncio.create_subprocess_exec(
                *SHIM, "--life", str(self._life), "--end", _end_file(folder), "--grace", str(container.grace),
                "--nice", str(NICE), *limits, "--", *COMMAND,
                stdin=asyncio.subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True, cwd=folder,
                pass_fds=(self._life,), env=self._environment(container.environment, uid),
            )  # fmt: skip
        self._children[uid] = child
        process = Process.of(child.pid)
        if process is None:
            raise ChildProcessError("it ended at once")
        asyncio.create_task(self._watch(uid, child), name=f"pod {uid}")  # noqa: RUF006 - it ends with its process
        return process

    def _environment(self, environment: Mapping[str, str], uid: str) -> dict[str, str]:
        mark = os.environ[processes.INSTANCE_MARK]
        more = {name: os.environ[name] for name in ("PYTHONPATH",) if name in os.environ}
        return {**more, **environment, processes.INSTANCE_MARK: mark, POD_MARK: uid}

    async def _watch(self, uid: str, child: asyncio.subprocess.Process) -> None:
        await child.wait()
        if self._children.get(uid) is child:
            del self._children[uid]
        self.wake()

    async def _ended(self, pod: Body, process: Process) -> None:
        self._signalled.discard(process)
        uid = pod["metadata"]["uid"]
        end = shim.end_of(_end_file(self._folder / uid))
        if end is None:  # the shim itself was killed: its children may live
            await self._kill(uid)
            told = status.ended(pod, status.LOST_EXIT_CODE, _now(), "ContainerStatusUnknown")
        elif _is_lost(end):
            told = status.node_lost(pod, end.finished_at)
        else:
            told = status.ended(pod, end.exit_code, end.finished_at)
        await self._set_status(pod, told)
        log.info("pod ended", extra={"pod": pod["metadata"]["name"], "status": told["phase"]})
        self.wake()

    async def _set_status(self, pod: Body, told: dict[str, Any]) -> None:
        metadata = pod["metadata"]
        version = int(metadata["resourceVersion"])
        told = {**told, LOG_PATH: str(self._folder / metadata["uid"] / "log")}
        await self._resources.set_status(_POD, metadata["name"], UUID(metadata["uid"]), told, version)

    async def _remove_others(self, uids: set[str]) -> None:
        """Kill and forget what belongs to pods that are no more: deleted by force, or with their job."""
        for folder in list(self._folder.iterdir()):
            if folder.name not in uids:
                await self._kill(folder.name)
                await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    async def _kill(self, uid: str) -> None:
        """Kill every process of a pod."""
        await asyncio.to_thread(lambda: processes.kill(processes.marked(POD_MARK, uid)))


def _is_lost(end: shim.End) -> bool:
    """Say whether a process ended with its instance: without a database, it may exit with any code."""
    return end.lost and end.exit_code not in _TOLD


def _end_file(folder: Path) -> Path:
    return folder / "end.json"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
