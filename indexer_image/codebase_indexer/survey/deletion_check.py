"""Which files an index may lose: those that the source lacks for certain, and none if a list is far too short."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from codebase_index.store.ingest.chunks import Writer
from codebase_index.store.ingest.relist import Relist
from codebase_index.store.ingest.sweep import Sweep, UnseenFile
from codebase_index.store.ingest.work import ScanEntry
from codebase_indexer.content.skipping import UNCERTAIN, Skip
from codebase_indexer.database_retry import retry_while_unavailable
from codebase_indexer.source.checkout import SourceChanged
from codebase_indexer.source.deletions import (
    Presence,
    ScanResult,
    count_files,
    find_deleted,
    is_mass_deletion,
    is_uncertain,
    may_miss_files,
)
from codebase_indexer.survey.open_source import INTACT, OpenSource

MAX_RECHECKED_FILES = 10_000
"""Unreadable files up to which each is tried again; if there are more, the source is listed again."""

RETRYABLE = UNCERTAIN - {Skip.STALLED, Skip.CRASHED}
"""Reasons worth a second try. A file that crashed its parser would do so again, and one whose disk does not answer
costs half a minute each time: those are left to the next job."""


@dataclass
class DeletionCheck:
    """Checks what the list of an attempt lacks. `may_sweep`: unseen files may be removed."""

    source: OpenSource
    relist: Relist
    sweep: Sweep
    may_sweep: bool
    unseen: list[UnseenFile] = field(default_factory=list)
    """The indexed files that the list lacks."""
    confirmed: int | None = None
    """Files to index that the user confirmed by force_reindex, whatever the index has: those of the first list."""

    async def list_unseen(self, writer: Writer) -> None:
        """Find out which indexed files the list lacks now."""
        if self.may_sweep:
            self.unseen = await retry_while_unavailable("list unseen files", lambda: self.sweep.unseen(writer))

    async def find_deleted(self, scan_result: ScanResult | None) -> tuple[list[UnseenFile], int]:
        """Return the unseen files that were deleted from the source, and how many others stay.

        Raises SourceInterrupted when the source changed meanwhile.
        """
        if not self.unseen:
            return [], 0
        removable = list(find_deleted(self.unseen, await self._probe(), scan_result))
        await self.source.check()  # what was looked at is what was opened
        return removable, len(self.unseen) - len(removable)

    async def needs_recheck(self, writer: Writer, *, listed_here: bool) -> bool:
        """Say whether the list may lack a file, or has one as unreadable that can be read now.

        `listed_here`: this attempt made the list.
        """
        lost = await retry_while_unavailable(
            "find lost files", lambda: self.relist.lost(writer.job_id, RETRYABLE, MAX_RECHECKED_FILES)
        )
        await self.list_unseen(writer)
        if len(lost) == MAX_RECHECKED_FILES or (self.unseen and not listed_here):
            return True
        unreadable = [path for path, reason in lost.items() if reason == Skip.UNREADABLE]
        if len(unreadable) < len(lost):
            return True  # what vanished may be elsewhere now
        if await self.source.any_readable(unreadable):
            return True
        # What nobody can tell of now a second list would not tell either: it stays, without one in every job.
        hopeless = {file.path for file in self.unseen if file.skip_reason in UNCERTAIN - RETRYABLE}
        hopeless.update(unreadable)
        presences = await self._probe()
        return any(presence is Presence.PRESENT for path, presence in presences.items() if path not in hopeless)

    async def refuse_mass_deletion(self, writer: Writer, entries: Sequence[ScanEntry]) -> None:
        """Raise SourceChanged for a list that is much shorter than the index without a confirmation."""
        commit = self.source.checkout.commit
        if not self.may_sweep or not may_miss_files(entries, commit):
            return
        expected = await retry_while_unavailable("count files", lambda: self.sweep.count(writer.index_id))
        had = "its index has"
        if self.confirmed is not None and self.confirmed < expected:
            expected, had = self.confirmed, "when this job began it held"
        if is_mass_deletion(entries, commit, expected):
            raise SourceChanged(
                f"{self.source.job.source} holds {count_files(entries):,} files to index, and {had} {expected:,}: "
                f"more than half is missing, and git does not say that it was deleted{INTACT}; bring the files "
                "back or, if they were deleted on purpose, start a job with force_reindex"
            )

    async def _probe(self) -> dict[str, Presence]:
        """Probe the unseen files whose current content is unknown."""
        return await self.source.probe([file.path for file in self.unseen if is_uncertain(file)])
