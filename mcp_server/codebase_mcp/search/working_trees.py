"""Whether the files of a local repository are newer than its index, where this process sees them.

A file is newer if it was written after the index was complete and holds something else. New files are not looked
for: that would take git's rules of what is ignored. A check reads the times of the files that are indexed, and
goes on in the background where it takes long; it is kept for twenty times as long as it took, so that checks cost
a twentieth of a processor, however many searches come.
"""

import asyncio
import logging
import os
import stat
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from codebase_index.api.source_policy import SourcePolicy, SourceRefused
from codebase_index.blob import blob_id
from codebase_index.store.catalog.indexes import IndexRow, StoredFile
from codebase_index.store.errors import StoreError

log = logging.getLogger(__name__)

MAX_FILES: Final = 20_000
"""Of a larger repository nothing is said: the times of so many files are read in 0.1 s."""

MAX_COMPARED: Final = 50
"""Files written since then whose content is compared; of more, those after them count as newer."""

WAIT_SECONDS = 0.2
"""How long an answer waits for checks: without one it says nothing of newer files."""

_CONCURRENT: Final = 2
_SHARE: Final = 20
_ELSEWHERE_SECONDS: Final = 3.0
"""What cannot be seen is looked for once a minute."""

_MAX_FILE_BYTES: Final = 2 * 2**20


@dataclass(frozen=True)
class Newer:
    """Files that are newer than their index: how many, and the first of them."""

    count: int
    first: str


class _Check:
    """A check: under way until its task is done, and then valid for a time."""

    def __init__(self) -> None:
        self.task: asyncio.Task[None]
        self.result: Newer | None = None
        self.valid_until = float("inf")


_Key = tuple[int, datetime | None]


class WorkingTrees:
    """Checks the repositories that lie under the roots of this process. `files` reads the files of an index."""

    def __init__(self, policy: SourcePolicy, files: Callable[[int, int], Awaitable[Sequence[StoredFile]]]) -> None:
        self._policy = policy
        self._files = files
        self._checks: dict[_Key, _Check] = {}
        self._slots = asyncio.Semaphore(_CONCURRENT)

    async def newer(self, indexes: Sequence[IndexRow]) -> dict[int, Newer]:
        """Return those of these indexes, by id, whose files are newer; what cannot be seen in time is left out."""
        checks = {index.id: self._check(index) for index in indexes if _is_visible(index)}
        pending = [check.task for check in checks.values() if not check.task.done()]
        if pending:
            await asyncio.wait(pending, timeout=WAIT_SECONDS)
        return {index_id: newer for index_id, check in checks.items() if (newer := check.result)}

    def close(self) -> None:
        """End the checks that go on."""
        for check in self._checks.values():
            check.task.cancel()

    def _check(self, index: IndexRow) -> "_Check":
        now, key = time.monotonic(), (index.id, index.indexed_at)
        check = self._checks.get(key)
        if check is None or check.valid_until < now:
            self._checks = {k: c for k, c in self._checks.items() if c.valid_until >= now}
            check = self._checks[key] = _Check()
            check.task = asyncio.create_task(self._run(check, index))
        return check

    async def _run(self, check: "_Check", index: IndexRow) -> None:
        assert index.indexed_at is not None
        seconds = _ELSEWHERE_SECONDS
        try:
            async with self._slots:
                check.result, seconds = await self._compare(index.id, index.source, index.indexed_at.timestamp())
        except StoreError as error:
            log.warning("the files of an index were not compared: %s", error, extra={"index": index.id})
        finally:
            check.valid_until = time.monotonic() + _SHARE * seconds

    async def _compare(self, index_id: int, source: str, since: float) -> tuple[Newer | None, float]:
        """Return the newer files, and the seconds of processor time that it took to look."""
        try:
            folder = await asyncio.to_thread(self._policy.open_path, source)
        except SourceRefused:
            return None, _ELSEWHERE_SECONDS  # as for a server in a cluster
        files = await self._files(index_id, MAX_FILES + 1)
        if len(files) > MAX_FILES:
            return None, _ELSEWHERE_SECONDS
        return await asyncio.to_thread(_newer_files, folder, files, since)


def _is_visible(index: IndexRow) -> bool:
    """Say whether an index is of the files as they lie: not of a commit, nor of a repository elsewhere."""
    return index.indexed_at is not None and index.ref is None and index.source.startswith("/")


def _newer_files(folder: Path, files: Sequence[StoredFile], since: float) -> tuple[Newer | None, float]:
    started_at = time.thread_time()
    newer: list[str] = []
    compared = 0
    for file in files:
        path = folder / file.path
        try:
            found = os.lstat(path)
        except OSError:
            newer.append(file.path)  # it is gone
            continue
        if found.st_mtime <= since or not stat.S_ISREG(found.st_mode):
            continue
        compared += 1
        if compared > MAX_COMPARED or _blob_id_of(path, found.st_size) != file.blob:
            newer.append(file.path)
    return Newer(len(newer), newer[0]) if newer else None, time.thread_time() - started_at


def _blob_id_of(path: Path, size: int) -> bytes | None:
    """Return git's name for the content of a file; None if it is too large or cannot be read."""
    if size > _MAX_FILE_BYTES:
        return None
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as opened:  # noqa: PTH123
            data = opened.read(_MAX_FILE_BYTES)
    except OSError:
        return None
    return blob_id(data)
