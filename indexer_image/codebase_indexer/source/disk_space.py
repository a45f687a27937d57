"""How much of its node's disk a job may fill: by the volume for clones, before it is written and meanwhile.

A commit of a few kB can stand for terabytes: one blob under a million names. The kubelet evicts a pod that
outgrows its volume, and the next one would do the same, so what cannot fit is refused before it is written.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from codebase_indexer.confinement.bounded_process import BoundExceeded
from codebase_indexer.source import git

VOLUME_BYTES: Final = 10 * 2**30
"""The chart's indexer.workSizeLimit, for whoever is not told another one."""

USABLE: Final = 0.9
"""Of the volume. The kubelet measures every ten seconds or so, and git writes its index beside the files."""

MAX_FILES: Final = 1_000_000
"""Three times those of the largest public repositories. A node has only so many inodes for all of its pods."""

_BLOCK: Final = 4096
"""Bytes: what the smallest file takes on the disk."""

_NEARLY: Final = 0.95
"""Of the room: when git fails with so much of it used, that is why."""

_WATCH_SHARE: Final = 20
"""After a look at the disk, so many times its duration pass until the next: a twentieth of a processor at most."""


class RepositoryTooLarge(Exception):
    """The checkout does not fit. The message says what it needs, what there is, and what to set."""


class _Full(BoundExceeded):
    """git was stopped because the room is used up."""


@dataclass(frozen=True)
class Usage:
    """What lies in a folder, as the disk counts it."""

    bytes: int
    files: int


@dataclass(frozen=True)
class Room:
    """Room for one checkout with the pack that it comes from, in a volume of so many bytes, `taken` by others."""

    volume: int = VOLUME_BYTES
    files: int = MAX_FILES
    taken: int = 0

    @property
    def bytes(self) -> int:
        """What may be filled."""
        return max(0, int(self.volume * USABLE) - self.taken)

    def beside(self, folder: Path) -> "Room":
        """Return the room that is left beside what a folder of the same volume holds."""
        return replace(self, taken=self.taken + usage_of(folder, self).bytes)

    def check(self, folder: Path, commit: str) -> None:
        """Refuse a commit whose files do not fit beside what `folder` holds.

        Raises RepositoryTooLarge; GitFailed when the commit cannot be listed.
        """
        needed = self._of_tree(folder, commit)
        there = usage_of(folder, self)
        if needed.files > self.files or there.bytes + needed.bytes > self.bytes:
            raise self.too_large(f"the checkout of {commit[:12]} takes {_said(needed)}")

    def _of_tree(self, folder: Path, commit: str) -> Usage:
        # A size a line, and no more lines than may be: a tree of trees can list for ever.
        listing = ["-C", str(folder), "ls-tree", "-r", "-z", "--format=%(objectsize)", commit]
        try:
            output = git.run(listing, max_output_bytes=16 * self.files).data
        except git.OutputTooLong as error:
            raise self.too_large(f"the checkout of {commit[:12]} has more than {self.files:,} files") from error
        sizes = [int(size) for size in output.split(b"\0") if size.isdigit()]
        return Usage(sum(-(-size // _BLOCK) * _BLOCK for size in sizes), len(sizes))

    def watch(self, folder: Path) -> Callable[[], None]:
        """Return what raises BoundExceeded when a folder has outgrown the room; to be called again and again."""
        due = 0.0

        def look() -> None:
            nonlocal due
            begin = time.monotonic()
            if begin < due:
                return
            used = usage_of(folder, self)
            due = time.monotonic() + _WATCH_SHARE * (time.monotonic() - begin)
            if used.bytes > self.bytes or used.files > 2 * self.files:
                raise _Full(f"has written {_said(used)}")

        return look

    def explained(self, error: git.GitFailed, folder: Path) -> Exception:
        """Return the refusal that a failure of git stands for, when it has filled the room, else the failure."""
        if isinstance(error.__cause__, _Full):
            return self.too_large(str(error))
        # A pack that reaches its limit ends git by a signal, of which nothing is said but that it is incomplete.
        if usage_of(folder, self).bytes > _NEARLY * self.bytes:
            return self.too_large("the pack alone, with all objects of the commit, does not fit")
        return error

    def too_large(self, what: str) -> RepositoryTooLarge:
        """Return the refusal, with what to do."""
        return RepositoryTooLarge(
            f"{what}, and there is room for {_size(self.bytes)} and {self.files:,} files: have "
            "indexer.workSizeLimit raised in the chart, or put a checkout under a repository root and index it "
            "there without a ref"
        )


def usage_of(folder: Path, room: Room) -> Usage:
    """Measure a folder that somebody writes to; beyond the room it is not counted further."""
    used = files = 0
    pending = [str(folder)]
    while pending and used <= room.bytes and files <= 2 * room.files:
        try:
            with os.scandir(pending.pop()) as entries:
                for entry in entries:
                    files += 1
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(entry.path)
                    else:
                        used += 512 * entry.stat(follow_symlinks=False).st_blocks
        except OSError:
            continue  # gone meanwhile
    return Usage(used, files)


def _said(usage: Usage) -> str:
    return f"{_size(usage.bytes)} in {usage.files:,} files"


def _size(count: int) -> str:
    return f"{count / 2**30:,.1f} GiB" if count >= 2**30 else f"{count / 2**20:,.1f} MiB"
