"""The disk quota of a job: the size of the volume for clones, enforced before and while a checkout is written.

A commit of a few kB can expand to terabytes: one blob under a million names. The kubelet evicts a pod that
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
"""Default of the chart's indexer.workSizeLimit."""

USABLE_SHARE: Final = 0.9
"""Share of the volume that may be filled: the kubelet measures only every ten seconds or so, and git writes its
index beside the files."""

MAX_FILES: Final = 1_000_000
"""Three times the files of the largest public repositories. All pods of a node share its inodes."""

_BLOCK: Final = 4096
"""Bytes: what the smallest file takes on the disk."""

NEARLY_FULL_SHARE: Final = 0.95
"""Share of the quota above which a failure of git is explained by a full disk."""

_WATCH_SHARE: Final = 20
"""Times the duration of a measurement that pass before the next: a twentieth of a processor at most."""


class RepositoryTooLarge(Exception):
    """The checkout does not fit. The message says what it needs, what there is, and what to set."""


class _QuotaExceeded(BoundExceeded):
    """git was stopped because the quota is used up."""


@dataclass(frozen=True)
class Usage:
    """Disk usage of a folder."""

    bytes: int
    files: int


@dataclass(frozen=True)
class DiskQuota:
    """Quota for one checkout and its pack, in a volume of `volume` bytes of which `used_bytes` are taken."""

    volume: int = VOLUME_BYTES
    files: int = MAX_FILES
    used_bytes: int = 0

    @property
    def bytes(self) -> int:
        """Bytes that may still be written."""
        return max(0, int(self.volume * USABLE_SHARE) - self.used_bytes)

    def beside(self, folder: Path) -> "DiskQuota":
        """Return the quota that is left beside a folder of the same volume."""
        return replace(self, used_bytes=self.used_bytes + usage_of(folder, self).bytes)

    def check(self, folder: Path, commit: str) -> None:
        """Refuse a commit whose files do not fit beside what `folder` holds.

        Raises RepositoryTooLarge; GitFailed when the commit cannot be listed.
        """
        needed = self._of_tree(folder, commit)
        there = usage_of(folder, self)
        if needed.files > self.files or there.bytes + needed.bytes > self.bytes:
            raise self.too_large(f"the checkout of {commit[:12]} takes {_describe(needed)}")

    def _of_tree(self, folder: Path, commit: str) -> Usage:
        # A size a line, and no more lines than may be: a tree of trees can list for ever.
        listing = ["-C", str(folder), "ls-tree", "-r", "-z", "--format=%(objectsize)", commit]
        try:
            output = git.run(listing, max_output_bytes=16 * self.files).data
        except git.OutputLimitExceeded as error:
            raise self.too_large(f"the checkout of {commit[:12]} has more than {self.files:,} files") from error
        sizes = [int(size) for size in output.split(b"\0") if size.isdigit()]
        return Usage(sum(-(-size // _BLOCK) * _BLOCK for size in sizes), len(sizes))

    def watch(self, folder: Path) -> Callable[[], None]:
        """Return a function that raises BoundExceeded once a folder exceeds the quota; call it repeatedly."""
        due = 0.0

        def measure() -> None:
            nonlocal due
            begin = time.monotonic()
            if begin < due:
                return
            used = usage_of(folder, self)
            due = time.monotonic() + _WATCH_SHARE * (time.monotonic() - begin)
            if used.bytes > self.bytes or used.files > 2 * self.files:
                raise _QuotaExceeded(f"has written {_describe(used)}")

        return measure

    def explain(self, error: git.GitFailed, folder: Path) -> Exception:
        """Return the failure of git, or the refusal if the quota was used up."""
        if isinstance(error.__cause__, _QuotaExceeded):
            return self.too_large(str(error))
        # A pack that reaches its limit ends git by a signal, of which nothing is said but that it is incomplete.
        if usage_of(folder, self).bytes > NEARLY_FULL_SHARE * self.bytes:
            return self.too_large("the pack alone, with all objects of the commit, does not fit")
        return error

    def too_large(self, what: str) -> RepositoryTooLarge:
        """Return the refusal, with what to do."""
        return RepositoryTooLarge(
            f"{what}, and there is room for {_size(self.bytes)} and {self.files:,} files; raise "
            "indexer.workSizeLimit in the chart, or put a checkout under a repository root and index it there "
            "without a ref"
        )


def usage_of(folder: Path, quota: DiskQuota) -> Usage:
    """Measure a folder that is being written; counting stops beyond the quota."""
    used = files = 0
    pending = [str(folder)]
    while pending and used <= quota.bytes and files <= 2 * quota.files:
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


def _describe(usage: Usage) -> str:
    return f"{_size(usage.bytes)} in {usage.files:,} files"


def _size(count: int) -> str:
    return f"{count / 2**30:,.1f} GiB" if count >= 2**30 else f"{count / 2**20:,.1f} MiB"
