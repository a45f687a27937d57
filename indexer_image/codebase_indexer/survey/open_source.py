"""The source of an attempt: opened, listed and asked in threads: a disk that hangs delays nothing else."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

from codebase_index.api.resource import IndexingJobSpec
from codebase_index.api.source_policy import SourceRefused, SourceUnreadable
from codebase_index.store.ingest.work import ScanEntry
from codebase_index.store.jobs.rows import JobRow
from codebase_indexer.settings import Settings
from codebase_indexer.source.checkout import Checkout, SourceChanged, open_source, reopen
from codebase_indexer.source.deletions import Presence, any_readable, probe
from codebase_indexer.source.disk_space import DiskQuota
from codebase_indexer.source.scan import Report, scan

log = logging.getLogger(__name__)

T = TypeVar("T")

MAX_ABSENCE_SECONDS = 15.0
"""How long a source may be away: a folder is replaced in an instant, a share is mounted again in seconds."""

DISK_TIMEOUT_SECONDS = 30.0
"""Time limit for one question to the disk, such as whether a folder exists."""

PROBE_TIMEOUT_SECONDS = 10 * DISK_TIMEOUT_SECONDS

DISK_THREADS = 4
"""Threads for questions to the disk alone, so that they and the embedding service never wait for each other."""

INTACT = "; the index keeps what it had"

_RETRY_SECONDS = 0.5


class SourceInterrupted(Exception):
    """What was just read may not belong to the folder that was opened, and must not be written."""


class DiskTimeout(SourceUnreadable):
    """The disk or share of a source does not answer."""


@dataclass
class OpenSource:
    """The source of one attempt, with the checkout that is read now."""

    settings: Settings
    spec: IndexingJobSpec
    job: JobRow
    checkout: Checkout = field(init=False)
    listed_at: float = field(default_factory=time.time, init=False)
    """When the last listing began."""
    _disk: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(DISK_THREADS, "disk"), init=False, repr=False
    )

    async def open(self, commit: str | None) -> None:
        """Open the source, or fetch it, at `commit` if it is known. Raises SourceRefused and CloneFailed."""
        settings = self.settings
        try:
            self.checkout = await self._ask(
                lambda: open_source(
                    self.spec, settings.policy, settings.work_dir, commit, quota=DiskQuota(settings.work_bytes)
                )
            )
        except OSError as error:
            raise self._unreadable(error) from error

    async def reopen(self, git_wait: float) -> Checkout:
        """Open the source again, waiting while it is away and, `git_wait` seconds at most, while git changes it.

        Raises SourceChanged or SourceUnreadable when it stays away.
        """
        began = time.monotonic()
        arguments = (self.spec, self.settings.policy, self.settings.work_dir, self.checkout)
        while True:
            elapsed = time.monotonic() - began
            try:
                now = await self._ask_with_timeout(lambda: reopen(*arguments))
            except (SourceUnreadable, OSError) as error:
                if elapsed > MAX_ABSENCE_SECONDS:
                    raise self._unreadable(error) from error
            except SourceRefused as error:
                if elapsed > MAX_ABSENCE_SECONDS:
                    raise SourceChanged(
                        f"{self.job.source} went away while it was read ({error}){INTACT}; bring it back, then "
                        "start the job again"
                    ) from error
            else:
                if not now.busy or elapsed >= git_wait:
                    self.checkout = now
                    return now
            await asyncio.sleep(_RETRY_SECONDS)

    async def check(self) -> None:
        """Make sure that what was just read belongs to the folder that was opened.

        Raises SourceInterrupted when it may not, and SourceUnreadable when the disk does not answer.
        """
        if not self.checkout.is_fetched and not await self._ask_with_timeout(self.checkout.is_unchanged):
            raise SourceInterrupted(f"{self.job.source} was replaced by another folder, or cannot be read")

    async def scan(self, report: Report) -> list[ScanEntry]:
        """List the files. Raises ScanFailed and SourceUnreadable."""
        spec, checkout = self.spec, self.checkout
        self.listed_at = time.time()
        entries = await self._ask(
            lambda: scan(
                checkout.folder, boundary=checkout.boundary, roots=checkout.roots,
                include=spec.include, exclude=spec.exclude, report=report,
                secrets=self.settings.secrets, name=self.job.source,
            )
        )  # fmt: skip
        log.info("scanned", extra={"files": len(entries)})
        return entries

    async def probe(self, paths: Sequence[str]) -> dict[str, Presence]:
        """Return whether each of these files is there. Raises SourceUnreadable."""
        folder, boundary, listed_at = self.checkout.folder, self.checkout.boundary, self.listed_at
        return await self._ask_with_timeout(
            lambda: probe(folder, boundary, paths, listed_at), PROBE_TIMEOUT_SECONDS
        )

    async def any_readable(self, paths: Sequence[str]) -> bool:
        """Return whether one of these files can be read now. Raises SourceUnreadable."""
        folder, boundary = self.checkout.folder, self.checkout.boundary
        return await self._ask_with_timeout(lambda: any_readable(folder, boundary, paths), PROBE_TIMEOUT_SECONDS)

    async def _ask_with_timeout(self, question: Callable[[], T], seconds: float = DISK_TIMEOUT_SECONDS) -> T:
        """Ask the disk in a thread: one that hangs must delay neither the heartbeat nor a cancel."""
        try:
            async with asyncio.timeout(seconds):
                return await self._ask(question)
        except TimeoutError as error:
            raise DiskTimeout(
                f"the disk or share of {self.job.source} has not answered for {seconds:.0f} s; bring it back, "
                f"then start the job again{INTACT}"
            ) from error

    async def _ask(self, question: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._disk, question)

    def _unreadable(self, error: Exception) -> SourceUnreadable:
        if isinstance(error, DiskTimeout):
            return error
        if isinstance(error, SourceUnreadable):
            return SourceUnreadable(f"{error}{INTACT}")
        # The text of an OSError names the path of the mount, which users do not know.
        reason = error.strerror if isinstance(error, OSError) else None
        return SourceUnreadable(
            f"{self.job.source} cannot be read ({reason or error}){INTACT}; bring its disk or share back, then "
            "start the job again"
        )
