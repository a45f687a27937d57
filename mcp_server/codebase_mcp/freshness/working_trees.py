"""Whether the files of local repositories are newer than their indexes, where this process sees them.

A look goes on in the background where it takes long, and its result is kept for twenty times as long as it took,
so that looks cost a twentieth of a processor, however many searches come.
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
from codebase_index.store.catalog.indexes import IndexRow, StoredFiles
from codebase_index.store.errors import StoreError
from codebase_mcp.freshness.working_tree import Newer, WorkingTree, git_dir_of, is_bare

log = logging.getLogger(__name__)

MAX_FILES: Final = 50_000
"""Of a larger repository nothing is said: a look at it takes 0.2 s, and what is remembered for it 20 MB."""

WAIT_SECONDS = 0.2
"""How long an answer waits for looks: without one it says nothing of newer files."""

LONGEST_WAIT_SECONDS: Final = 2.0
"""The same for an answer that has nothing else to say."""

REMEMBERED_SECONDS: Final = 600.0
"""How long the paths of a repository are kept after it was last asked for."""

PAUSE_FACTOR: Final = 20
"""A look is followed by a pause of so many times what it cost: it takes a twentieth of a processor at most."""

_CONCURRENT: Final = 2
_ELSEWHERE_SECONDS: Final = 3.0
"""What cannot be seen is looked for once a minute."""

_State = tuple[datetime | None, UUID | None, JobState | None]


@dataclass
class _Looked:
    """What is known of one index' files. Its `lock` is held by whoever looks."""

    state: _State | None = None
    tree: WorkingTree | None = None
    newer: Newer | None = None
    seconds: float = 0.0
    valid_until: float = 0.0
    asked_at: float = 0.0
    task: "asyncio.Task[None] | None" = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class WorkingTrees:
    """Looks at the repositories that lie under the roots of this process. `files` reads the files of an index."""

    def __init__(self, policy: SourcePolicy, files: Callable[[int, int], Awaitable[StoredFiles]]) -> None:
        self._policy = policy
        self._files = files
        self._looked: dict[int, _Looked] = {}
        self._slots = asyncio.Semaphore(_CONCURRENT)

    async def newer(self, indexes: Sequence[IndexRow], *, now: bool = False) -> dict[int, Newer]:
        """Return those of these indexes, by id, whose files are newer; what cannot be seen in time is left out.

        With `now` nothing counts that was seen before, and it takes longer: for an answer that has nothing else.
        """
        looked = {index.id: self._ask(index, now) for index in indexes if is_visible(index)}
        pending = [one.task for one in looked.values() if one.task is not None]
        if pending:
            await asyncio.wait(pending, timeout=LONGEST_WAIT_SECONDS if now else WAIT_SECONDS)
        return {index_id: one.newer for index_id, one in looked.items() if one.task is None and one.newer}

    async def look(self, index: IndexRow) -> Newer | None:
        """Look now at the files of an index, and return what is newer; also None where nobody can see them."""
        looked = self._looked.setdefault(index.id, _Looked())
        await self._look(looked, index)
        return looked.newer

    def seconds(self, index_id: int) -> float:
        """Return what the last look at an index' files took of a processor, in seconds."""
        looked = self._looked.get(index_id)
        return looked.seconds if looked else 0.0

    def close(self) -> None:
        """End the looks that go on."""
        for looked in self._looked.values():
            if looked.task is not None:
                looked.task.cancel()

    def _ask(self, index: IndexRow, look: bool) -> _Looked:
        now = time.monotonic()
        self._looked = {
            key: one for key, one in self._looked.items() if one.task or now - one.asked_at < REMEMBERED_SECONDS
        }
        looked = self._looked.setdefault(index.id, _Looked())
        looked.asked_at = now
        outdated = look or looked.valid_until < now or looked.state != _state_of(index)
        if outdated and looked.task is None:
            looked.task = asyncio.create_task(self._look(looked, index))
            looked.task.add_done_callback(lambda _: setattr(looked, "task", None))
        return looked

    async def _look(self, looked: _Looked, index: IndexRow) -> None:
        seconds = _ELSEWHERE_SECONDS
        async with looked.lock:
            try:
                async with self._slots:
                    looked.newer, seconds = await self._compare(looked, index)
                    looked.seconds = seconds
            except StoreError as error:
                log.warning("the files of an index were not compared: %s", error, extra={"index": index.id})
            finally:
                looked.valid_until = time.monotonic() + PAUSE_FACTOR * seconds

    async def _compare(self, looked: _Looked, index: IndexRow) -> tuple[Newer | None, float]:
        """Return what is newer, and the seconds of processor time that it took to look."""
        if looked.state != _state_of(index) or looked.tree is None:
            tree = await self._tree(index, looked.tree)
            looked.state, looked.tree = _state_of(index), tree
        if looked.tree is None:
            return None, _ELSEWHERE_SECONDS  # not under a root of this process, or too large
        return await asyncio.to_thread(_timed_look, looked.tree)

    async def _tree(self, index: IndexRow, before: WorkingTree | None) -> WorkingTree | None:
        """Return the files of an index in their folder; None where they cannot be seen, or are too many."""
        since = index.read_since or index.indexed_at
        assert since is not None
        try:
            folder = await asyncio.to_thread(self._policy.open_path, index.source)
        except SourceRefused:
            return None
        if await asyncio.to_thread(is_bare, folder):
            return None
        stored = await self._files(index.id, MAX_FILES + 1)
        if len(stored) > MAX_FILES:
            return None
        boundary = self._policy.boundary_of(index.source)
        return await asyncio.to_thread(_open, folder, boundary, stored, since.timestamp(), index.commit, before)


def is_visible(index: IndexRow) -> bool:
    """Say whether an index is of the files as they lie: not of a commit, nor of a repository elsewhere, nor one
    that a job is changing.
    """
    is_local = index.ref is None and index.source.startswith("/")
    return is_local and index.indexed_at is not None and not index.is_changing


def _state_of(index: IndexRow) -> _State:
    return index.indexed_at, index.job_id, index.job_state


def _open(
    folder: Path,
    boundary: Path,
    stored: StoredFiles,
    since: float,
    commit: str | None,
    before: WorkingTree | None,
) -> WorkingTree:
    return WorkingTree(folder, stored.unpack(), since, git_dir_of(folder, boundary), commit).after(before)


def _timed_look(tree: WorkingTree) -> tuple[Newer | None, float]:
    started_at = time.thread_time()
    newer = tree.look()
    return newer, time.thread_time() - started_at
