"""Whether the files of local repositories are newer than their indexes, where this process sees them.

A look goes on in the background where it takes long, and a pause follows it that is twenty times as long as it
took, so that looks cost a twentieth of a processor, however many searches come, and whatever they find.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final
from uuid import UUID

from codebase_index.api.job import JobState
from codebase_index.api.source_policy import SourcePolicy, SourceRefused
from codebase_index.repository.repository import bare_repository, find_repository
from codebase_index.store.catalog.indexes import IndexRow, StoredFiles
from codebase_index.store.errors import StoreError
from codebase_mcp.freshness.working_tree import Newer, WorkingTree

log = logging.getLogger(__name__)

MAX_FILES: Final = 50_000
"""Of a larger repository nothing is said: a look at it takes 0.2 s, and what is remembered for it 20 MB."""

MAX_REMEMBERED_FILES = 2 * MAX_FILES
"""Of all repositories together; beyond that, those that were not asked for longest are forgotten."""

WAIT_SECONDS = 0.2
"""How long an answer waits for looks: without one it says nothing of newer files."""

LONGEST_WAIT_SECONDS: Final = 2.0
"""The same for an answer that has nothing else to say."""

REMEMBERED_SECONDS: Final = 600.0
"""How long the paths of a repository are kept after it was last asked for."""

PAUSE_FACTOR: Final = 20
"""A look is followed by a pause of so many times what it cost: it takes a twentieth of a processor at most."""

_CONCURRENT: Final = 2

_OUT_OF_SIGHT_SECONDS: Final = 60.0
"""What cannot be seen is looked for once in so long."""

_State = tuple[datetime | None, UUID | None, JobState | None]


@dataclass
class _Looked:
    """What is known of one index' files. Its `lock` is held by whoever looks."""

    state: _State | None = None
    tree: WorkingTree | None = None
    out_of_sight: bool = False
    """Not under a root of this process, too large, or forgotten in favour of others."""
    newer: Newer | None = None
    seconds: float = 0.0
    began_at: float = float("-inf")
    valid_until: float = 0.0
    asked_at: float = 0.0
    task: "asyncio.Task[None] | None" = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    def valid_for(self, index: IndexRow) -> float:
        """Return for how many seconds more what was seen counts; none where a job has changed the index."""
        return self.valid_until - time.monotonic() if self.state == _state_of(index) else 0.0


class WorkingTrees:
    """Looks at the repositories that lie under the roots of this process. `files` reads the files of an index."""

    def __init__(self, policy: SourcePolicy, files: Callable[[int, int], Awaitable[StoredFiles]]) -> None:
        self._policy = policy
        self._files = files
        self._looked: dict[int, _Looked] = {}
        self._slots = asyncio.Semaphore(_CONCURRENT)

    async def newer(self, indexes: Sequence[IndexRow], *, now: bool = False) -> dict[int, Newer]:
        """Return those of these indexes, by id, whose files are newer; what cannot be seen in time is left out.

        With `now` the next look is waited for, as soon as its pace allows it: for an answer that has nothing else.
        """
        patience = LONGEST_WAIT_SECONDS if now else 0.0
        asked = [(index, self._ask(index, patience)) for index in indexes if is_visible(index)]
        pending = [one.task for index, one in asked if one.task and (now or one.valid_for(index) <= 0)]
        if pending:
            await asyncio.wait(pending, timeout=LONGEST_WAIT_SECONDS if now else WAIT_SECONDS)
        return {
            index.id: one.newer
            for index, one in asked
            if one.newer and (one.task is None or one.valid_for(index) > 0)
        }

    async def look(self, index: IndexRow) -> Newer | None:
        """Look now at the files of an index, and return what is newer; also None where nobody can see them."""
        looked = self._looked.setdefault(index.id, _Looked(asked_at=time.monotonic()))
        await self._look(looked, index)
        return looked.newer

    def seconds(self, index_id: int) -> float:
        """Return what the last look at an index' files took of a processor, in seconds."""
        looked = self._looked.get(index_id)
        return looked.seconds if looked else 0.0

    def is_out_of_sight(self, index_id: int) -> bool:
        """Say whether the last look has seen nothing, or what it saw is forgotten: a search may change that."""
        looked = self._looked.get(index_id)
        return looked is not None and looked.out_of_sight

    def close(self) -> None:
        """End the looks that go on."""
        for looked in self._looked.values():
            if looked.task is not None:
                looked.task.cancel()

    def _ask(self, index: IndexRow, patience: float) -> _Looked:
        """Return what is known of an index' files; begin a look that may begin within `patience` seconds."""
        now = time.monotonic()
        self._looked = {
            key: one for key, one in self._looked.items() if one.task or now - one.asked_at < REMEMBERED_SECONDS
        }
        looked = self._looked.setdefault(index.id, _Looked())
        looked.asked_at = now
        if looked.task is None and (pause := looked.valid_for(index)) <= patience:
            looked.task = asyncio.create_task(self._look_after(pause, looked, index))
            looked.task.add_done_callback(lambda _: setattr(looked, "task", None))
        return looked

    async def _look_after(self, pause: float, looked: _Looked, index: IndexRow) -> None:
        """Look after a pause, unless somebody else has begun one since."""
        asked_at = time.monotonic()
        await asyncio.sleep(pause)
        if looked.began_at < asked_at:
            await self._look(looked, index)

    async def _look(self, looked: _Looked, index: IndexRow) -> None:
        pause = _OUT_OF_SIGHT_SECONDS
        async with looked.lock:
            looked.began_at = time.monotonic()
            try:
                async with self._slots:
                    looked.newer, looked.seconds = await self._compare(looked, index)
                if not looked.out_of_sight:
                    pause = PAUSE_FACTOR * looked.seconds
            except StoreError as error:
                log.warning("the files of an index were not compared: %s", error, extra={"index": index.id})
            finally:
                looked.valid_until = time.monotonic() + pause
        self._forget_the_oldest()

    async def _compare(self, looked: _Looked, index: IndexRow) -> tuple[Newer | None, float]:
        """Return what is newer, and the seconds of processor time that it took to look."""
        try:
            if looked.state != _state_of(index) or looked.tree is None:
                tree = await self._tree(index, looked.tree)
                looked.state, looked.tree = _state_of(index), tree
            looked.out_of_sight = looked.tree is None
            return await asyncio.to_thread(_timed_look, looked.tree) if looked.tree else (None, 0.0)
        except (SourceRefused, OSError):
            looked.state, looked.tree, looked.out_of_sight = _state_of(index), None, True
            return None, 0.0

    async def _tree(self, index: IndexRow, before: WorkingTree | None) -> WorkingTree | None:
        """Return the files of an index in their folder; None: they are a commit's, or too many.

        Raises SourceRefused and OSError where they cannot be seen.
        """
        folder = await asyncio.to_thread(self._policy.open_path, index.source)
        boundary = self._policy.boundary_of(index.source)
        if await asyncio.to_thread(bare_repository, folder, boundary, self._policy.roots):
            return None
        stored = await self._files(index.id, MAX_FILES + 1)
        if len(stored) > MAX_FILES:
            return None
        return await asyncio.to_thread(self._open, folder, boundary, index, stored, before)

    def _open(
        self, folder: Path, boundary: Path, index: IndexRow, stored: StoredFiles, before: WorkingTree | None
    ) -> WorkingTree:
        since = index.read_since or index.indexed_at
        assert since is not None
        repository = find_repository(folder, boundary, self._policy.roots)
        tree = WorkingTree(folder, stored.unpack(), since.timestamp(), repository, index.commit, boundary)
        return tree.after(before)

    def _forget_the_oldest(self) -> None:
        """Forget the files of the indexes that were not asked for longest, where all are too many."""
        left = MAX_REMEMBERED_FILES
        for looked in sorted(self._looked.values(), key=lambda one: one.asked_at, reverse=True):
            if looked.tree is not None:
                left -= len(looked.tree.files)
                if left < 0 and not looked.lock.locked():
                    looked.tree, looked.out_of_sight = None, True


def is_visible(index: IndexRow) -> bool:
    """Say whether an index is of the files as they lie: not of a commit, nor of a repository elsewhere, nor one
    that a job is changing.
    """
    is_local = index.ref is None and index.source.startswith("/")
    return is_local and index.indexed_at is not None and not index.is_changing


def _state_of(index: IndexRow) -> _State:
    return index.indexed_at, index.job_id, index.job_state


def _timed_look(tree: WorkingTree) -> tuple[Newer | None, float]:
    started_at = time.thread_time()
    newer = tree.look()
    return newer, time.thread_time() - started_at
