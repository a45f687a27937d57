"""Which commit HEAD is at, read from git's own files: starting git for each look would cost more than the look.

The files belong to an untrusted repository: what they hold is only compared, and reading is bounded.
"""

import os
import re
import stat
from pathlib import Path
from typing import Final

from codebase_index.beneath import read_at_most

_COMMIT: Final = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_REF: Final = re.compile(r"ref: (refs/[^\s\0]+)")
_POINTER_BYTES: Final = 4096
_PACKED_BYTES: Final = 4 * 2**20


def head_commit(git_dir: Path) -> str | None:
    """Return the commit that HEAD is at; None: it has none, or nobody can tell. See gitrepository-layout(5)."""
    head = _read(git_dir / "HEAD", _POINTER_BYTES)
    if _COMMIT.fullmatch(head):
        return head
    pointed = _REF.fullmatch(head)
    if pointed is None or ".." in pointed[1]:
        return None
    ref = pointed[1]
    # A linked worktree has its own HEAD, and the refs of the repository that it belongs to.
    common = git_dir / (_read(git_dir / "commondir", _POINTER_BYTES) or ".")
    for folder in (git_dir, common):
        if _COMMIT.fullmatch(loose := _read(folder / ref, _POINTER_BYTES)):
            return loose
    packed = re.search(
        rf"^({_COMMIT.pattern}) {re.escape(ref)}$", _read(common / "packed-refs", _PACKED_BYTES), re.M
    )
    return packed[1] if packed else None


def read_beginning(file: Path, limit: int) -> bytes:
    """Return the first bytes of a regular file; none of anything else: to open a pipe may take for ever."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except (OSError, ValueError):
        return b""
    try:
        return read_at_most(descriptor, limit) if stat.S_ISREG(os.fstat(descriptor).st_mode) else b""
    except OSError:
        return b""
    finally:
        os.close(descriptor)


def _read(file: Path, limit: int) -> str:
    return read_beginning(file, limit).decode(errors="surrogateescape").strip()
