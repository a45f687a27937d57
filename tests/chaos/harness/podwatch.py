"""The indexer pods' lives as the API server tells them, event by event: what was true at every instant."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx

from codebase_index.api.job import LABEL_COMPONENT, LABEL_JOB_ID
from tests.chaos.harness.api import Api, ApiRefused
from tests.chaos.harness.cluster import PODS

_INDEXERS = {"labelSelector": f"{LABEL_COMPONENT}=indexer"}


@dataclass(frozen=True)
class Instant:
    """The unfinished indexer pods from this event on: pod uid to (pod name, job id)."""

    at: datetime
    pods: dict[str, tuple[str, str]]

    @property
    def jobs(self) -> set[str]:
        """The jobs that have an unfinished pod."""
        return {job for _, job in self.pods.values()}


@dataclass
class PodWatch:
    """Records every instant at which the set of unfinished pods changed."""

    instants: list[Instant] = field(default_factory=list)

    @classmethod
    @asynccontextmanager
    async def open(cls, api: Api) -> AsyncIterator["PodWatch"]:
        """Record while the block runs."""
        watch = cls()
        task = asyncio.create_task(watch._run(api))
        try:
            yield watch
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def since(self, moment: datetime) -> Iterator[Instant]:
        """Yield what was true at the moment, and every instant after it."""
        before = [instant for instant in self.instants if instant.at <= moment]
        yield from before[-1:]
        yield from self.instants[len(before) :]

    async def _run(self, api: Api) -> None:
        while True:
            # The server ends watches, and may be away itself: then the listing tells what became of the pods.
            with contextlib.suppress(httpx.HTTPError, ApiRefused):
                listed = await api.get(PODS, **_INDEXERS)
                self._note({uid: pod for item in listed["items"] for uid, pod in _unfinished(item)})
                version = listed["metadata"]["resourceVersion"]
                async for event in api.watch(PODS, resourceVersion=version, **_INDEXERS):
                    if event["type"] == "ERROR":
                        break
                    self._event(event["type"], event["object"])
            await asyncio.sleep(0.1)

    def _event(self, kind: str, pod: dict[str, Any]) -> None:
        now = dict(self.instants[-1].pods)
        now.pop(pod["metadata"]["uid"], None)
        if kind != "DELETED":
            now.update(_unfinished(pod))
        self._note(now)

    def _note(self, pods: dict[str, tuple[str, str]]) -> None:
        if not self.instants or self.instants[-1].pods != pods:
            self.instants.append(Instant(datetime.now(UTC), pods))


def _unfinished(pod: dict[str, Any]) -> Iterator[tuple[str, tuple[str, str]]]:
    meta = pod["metadata"]
    if pod["status"].get("phase") not in ("Succeeded", "Failed"):
        yield meta["uid"], (meta["name"], meta["labels"][LABEL_JOB_ID])
