"""Reuse of unchanged and renamed files of the index while a job freezes its list.

They are counted in the transaction that freezes the list, so that after any crash a job either has no list, or a
complete one with all reused files.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple
from uuid import UUID

import asyncpg

from codebase_index.store import queries

SQL = queries.load("reuse")

BULK_SECONDS = 120.0
"""Limit for each statement: they handle a million files at once."""


@dataclass(frozen=True)
class Reuse:
    """What may be reused: files of this index with equal content and this fingerprint.

    `same_kind` tells whether a file of equal content is indexed alike under a former and a new path. `unreadable`
    are files and folders that the scan could not check: no file is considered moved from there. `gone` maps former
    paths to whether the file was verified to be absent; None: the scan is trusted.
    """

    index_id: int
    fingerprint: str
    same_kind: Callable[[str, str], bool]
    unreadable: Collection[str] = frozenset()
    gone: Mapping[str, bool] | None = None


class UnverifiedMoves(Exception):
    """Files seem to have moved, but nobody has verified that they are absent from their former `paths`.

    Nothing is written. The caller checks the disk, adds the results to `Reuse.gone` and tries again: no
    transaction waits for a disk.
    """

    def __init__(self, paths: Sequence[str]) -> None:
        super().__init__(f"{len(paths)} files seem to have moved; verify that they are gone, then freeze again")
        self.paths = paths


class RenameCandidate(NamedTuple):
    """A file on either side of a rename: `id` is that of its row before, its number in the scan after."""

    id: int
    path: str
    blob: bytes
    size: int


@dataclass(frozen=True)
class ReusedFiles:
    """The number of reused files, and of their chunks."""

    files: int = 0
    chunks: int = 0

    def __add__(self, other: "ReusedFiles") -> "ReusedFiles":
        """Return both together."""
        return ReusedFiles(self.files + other.files, self.chunks + other.chunks)


async def reuse_files(connection: asyncpg.Connection, job_id: UUID, reuse: Reuse) -> ReusedFiles:
    """Remove unchanged and renamed files from the scan and mark them as seen. Raises UnverifiedMoves."""
    scope = (job_id, reuse.index_id, reuse.fingerprint)
    unchanged = await connection.fetchrow(SQL["reuse_unchanged"], *scope, timeout=BULK_SECONDS)
    former = [
        record
        for record in await connection.fetch(SQL["missing_files"], *scope, timeout=BULK_SECONDS)
        if not within(record["path"], reuse.unreadable)
    ]
    blobs = list({record["blob"] for record in former})
    new = await connection.fetch(SQL["new_files"], reuse.index_id, blobs, timeout=BULK_SECONDS) if blobs else []
    pairs = match_renames(
        (RenameCandidate(*r) for r in former), (RenameCandidate(*r) for r in new), reuse.same_kind
    )
    if reuse.gone is not None:
        if unverified := [old.path for old, _ in pairs if old.path not in reuse.gone]:
            raise UnverifiedMoves(unverified)
        pairs = [(old, now) for old, now in pairs if reuse.gone[old.path]]
    if not pairs:
        return ReusedFiles(**unchanged)
    moved = await connection.fetchrow(
        SQL["move_files"], job_id, [old.id for old, _ in pairs], [now.id for _, now in pairs],
        [now.path for _, now in pairs], timeout=BULK_SECONDS,
    )  # fmt: skip
    return ReusedFiles(**unchanged) + ReusedFiles(**moved)


def within(path: str, places: Collection[str]) -> bool:
    """Return whether a path is one of these files, or lies in one of these folders."""
    if not places:
        return False
    parts = path.split("/")
    return any("/".join(parts[:length]) in places for length in range(1, len(parts) + 1))


def match_renames(
    former: Iterable[RenameCandidate], new: Iterable[RenameCandidate], same_kind: Callable[[str, str], bool]
) -> list[tuple[RenameCandidate, RenameCandidate]]:
    """Match new files with missing ones of equal content and kind, each once, in the order given."""
    waiting: dict[tuple[bytes, int], list[RenameCandidate]] = defaultdict(list)
    for old in former:
        waiting[old.blob, old.size].append(old)
    pairs = []
    for now in new:
        candidates = waiting[now.blob, now.size]
        # Only the first of them: a thousand equal files must not be compared with each other.
        if candidates and same_kind(candidates[0].path, now.path):
            pairs.append((candidates.pop(0), now))
    return pairs
