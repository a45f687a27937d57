"""What a scan finds in the index already: files that need no work, taken over while a job freezes its list.

They are counted in the transaction that freezes the list, so that after any crash a job either has no list, or a
whole one with all that it took over.
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
    """The index that a job fills, and what may stay in it: files of equal content, done with this fingerprint.

    `same_kind` says of a former and a new path whether a file of equal content is indexed alike under both.
    `unreadable` are files and folders of which the scan does not know whether they are there: nothing moved away
    from them. `gone` says of a former path whether a look has proven that nothing is there; None: the scan's word
    is enough.
    """

    index_id: int
    fingerprint: str
    same_kind: Callable[[str, str], bool]
    unreadable: Collection[str] = frozenset()
    gone: Mapping[str, bool] | None = None


class Unproven(Exception):
    """Files seem to have moved, and nobody has looked whether they are gone from where they were: `paths`.

    Nothing is written. Whoever can look says so in `Reuse.gone`, and tries again: no transaction waits for a disk.
    """

    def __init__(self, paths: Sequence[str]) -> None:
        super().__init__(f"{len(paths)} files seem to have moved; look whether they are gone, then freeze again")
        self.paths = paths


class Named(NamedTuple):
    """A file on either side of a rename: `id` is its row's before, its place in the scan after."""

    id: int
    path: str
    blob: bytes
    size: int


@dataclass(frozen=True)
class Taken:
    """How many files, with how many chunks, the index holds already."""

    files: int = 0
    chunks: int = 0

    def __add__(self, other: "Taken") -> "Taken":
        """Return both together."""
        return Taken(self.files + other.files, self.chunks + other.chunks)


async def take(connection: asyncpg.Connection, job_id: UUID, reuse: Reuse) -> Taken:
    """Take unchanged and renamed files off the scan and mark them as seen. Raises Unproven."""
    scope = (job_id, reuse.index_id, reuse.fingerprint)
    unchanged = await connection.fetchrow(SQL["take_unchanged"], *scope, timeout=BULK_SECONDS)
    former = [
        record
        for record in await connection.fetch(SQL["vanished_files"], *scope, timeout=BULK_SECONDS)
        if not within(record["path"], reuse.unreadable)
    ]
    blobs = list({record["blob"] for record in former})
    new = await connection.fetch(SQL["new_files"], reuse.index_id, blobs, timeout=BULK_SECONDS) if blobs else []
    pairs = pair((Named(*r) for r in former), (Named(*r) for r in new), reuse.same_kind)
    if reuse.gone is not None:
        if unproven := [old.path for old, _ in pairs if old.path not in reuse.gone]:
            raise Unproven(unproven)
        pairs = [(old, now) for old, now in pairs if reuse.gone[old.path]]
    if not pairs:
        return Taken(**unchanged)
    moved = await connection.fetchrow(
        SQL["move_files"], job_id, [old.id for old, _ in pairs], [now.id for _, now in pairs],
        [now.path for _, now in pairs], timeout=BULK_SECONDS,
    )  # fmt: skip
    return Taken(**unchanged) + Taken(**moved)


def within(path: str, places: Collection[str]) -> bool:
    """Say whether a path is one of these files, or lies in one of these folders."""
    if not places:
        return False
    parts = path.split("/")
    return any("/".join(parts[:length]) in places for length in range(1, len(parts) + 1))


def pair(
    former: Iterable[Named], new: Iterable[Named], same_kind: Callable[[str, str], bool]
) -> list[tuple[Named, Named]]:
    """Say which new file is which vanished one: equal content and kind, each used once, in the order given."""
    waiting: dict[tuple[bytes, int], list[Named]] = defaultdict(list)
    for old in former:
        waiting[old.blob, old.size].append(old)
    pairs = []
    for now in new:
        candidates = waiting[now.blob, now.size]
        # Only the first of them: a thousand equal files must not be compared with each other.
        if candidates and same_kind(candidates[0].path, now.path):
            pairs.append((candidates.pop(0), now))
    return pairs
