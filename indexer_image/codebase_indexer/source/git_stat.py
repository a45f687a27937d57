"""Files that git knows to be unmodified: its index has their blob, and their stat data still match.

This is git's own test (`git status` reads no unmodified file either): size, times and inode of the index entry
equal those of the file, and the entry is not "racily clean", that is, the file was not written in the instant in
which the index was, or later (Documentation/technical/racy-git.txt). The owner, which git compares too, says
nothing about content, and differs between a node and a container with mapped users.

How far to trust it: the author of a repository also writes its index, and may name any blob in it. Within the same
repository that can only preserve rows which an earlier job made after hashing the files itself (`files.blob` is
never a mere claim): an author can keep his own former text in the index, as he could by not starting a job, until
`force_reindex`. So an unchanged file need not be read. Rows of other repositories are copied only for files that
`verify_blobs` has read and hashed, or that this job fetched itself.
"""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from codebase_index.beneath import Tree
from codebase_index.blob import blob_id
from codebase_index.store.ingest.work import ScanEntry

INDEX_FORMAT = ("-z", "--cached", "--stage", "--debug")
"""Arguments that make `git ls-files` print an index with its stat data, whatever its version and form."""

_ENTRY = re.compile(
    rb"(\d+) ([0-9a-f]+) (\d)\t([^\0]*)\0"
    rb"  ctime: (\d+):(\d+)\n  mtime: (\d+):(\d+)\n  dev: \d+\tino: (\d+)\n  uid: \d+\tgid: \d+\n"
    rb"  size: (\d+)\tflags: ([0-9a-f]+)\n"
)
_REGULAR = (b"100644", b"100755")
_SHA1_DIGITS = 40

# In-memory flags of an entry (read-cache.h): assume-unchanged, intent to add, skip-worktree. git then does not
# look at the file, or has no blob of it.
_SKIP_WORKTREE = 1 << 30
_UNCHECKED = 0x8000 | 1 << 29 | _SKIP_WORKTREE
_HIGH_FLAGS = re.compile(rb"\tflags: [4-7c-f][0-9a-f]{7}\n")

_SECOND = 1_000_000_000
_32_BITS = 0xFFFF_FFFF  # what an index entry keeps of seconds and inode
_ERA = _SECOND << 32  # after which its times, in ns, begin again


@dataclass(frozen=True, slots=True)
class GitStatEntry:
    """An entry of git's index: the blob, and the file's stat data at that time: (mtime, ctime, inode, size)."""

    blob: bytes
    stat: tuple[int, int, int, int]

    def blob_if_unmodified(self, found: os.stat_result) -> bytes | None:
        """Return the blob if the stat data say that the file is unmodified, else None: then it must be read."""
        now = (found.st_mtime_ns % _ERA, found.st_ctime_ns % _ERA, found.st_ino & _32_BITS, found.st_size)
        return self.blob if now == self.stat else None


def parse_index(listing: bytes, written_ns: int) -> dict[bytes, GitStatEntry | None]:
    """Return the trusted entry of every path of an index printed with INDEX_FORMAT.

    `written_ns` is when the index file was written. None stands for conflicts, links, submodules, entries that git
    itself does not check, racily clean ones, and blobs of SHA-256 repositories: our own ids are SHA-1.
    Raises ValueError for an unknown format.
    """
    found = _ENTRY.findall(listing)
    # Every entry has one NUL: another format must not make files disappear.
    if len(found) != listing.count(b"\0"):
        raise ValueError("this version of git prints its index in an unknown format")
    entries: dict[bytes, GitStatEntry | None] = {}
    for mode, blob, stage, path, *numbers, flags in found:
        ctime, ctime_ns, mtime, mtime_ns, inode, size = map(int, numbers)
        modified = mtime * _SECOND + mtime_ns
        trusted = (
            stage == b"0"
            and mode in _REGULAR
            and len(blob) == _SHA1_DIGITS
            and not int(flags, 16) & _UNCHECKED
            and _was_written_before(modified, written_ns)
        )
        stat = (modified, ctime * _SECOND + ctime_ns, inode, size)
        entries[path] = GitStatEntry(bytes.fromhex(blob.decode()), stat) if trusted else None
    return entries


def sparse_paths(listing: bytes) -> frozenset[bytes]:
    """Return the paths of an index, printed as for parse(), that a sparse checkout leaves out."""
    if not _HIGH_FLAGS.search(listing):
        return frozenset()
    return frozenset(entry[4] for entry in _ENTRY.finditer(listing) if int(entry[11], 16) & _SKIP_WORKTREE)


def verify_blobs(folder: Path, boundary: Path, entries: Iterable[ScanEntry]) -> list[ScanEntry]:
    """Read and hash files; return the entries whose file has the blob that they name."""
    try:
        with Tree(folder, boundary) as tree:
            return [entry for entry in entries if entry.blob is not None and _read_blob(tree, entry) == entry.blob]
    except OSError:
        return []  # the folder is not there: nothing is proven


def _read_blob(tree: Tree, entry: ScanEntry) -> bytes | None:
    try:
        return blob_id(tree.read(os.fsencode(entry.path), entry.size + 1))
    except OSError:
        return None


def _was_written_before(modified_ns: int, written_ns: int) -> bool:
    """Say whether a file was last written before the index; file systems without fractions count in seconds."""
    if written_ns % _SECOND == 0:
        return modified_ns // _SECOND < written_ns // _SECOND
    return modified_ns < written_ns
