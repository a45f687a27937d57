"""A repository as it lies on disk: its folders, and the commits that its references name. No git is run.

All of it is written by whoever owns the repository, so git never works in it: what is needed is read here,
bounded, and only from beneath the roots.
"""

import errno
import logging
import os
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Final

from codebase_index.api.source_policy import ABSENT_ERRNOS, Root, SourceRefused, SourceUnreadable
from codebase_index.beneath import is_path_traversal
from codebase_index.repository.roots import Roots

log = logging.getLogger(__name__)

_POINTER_BYTES: Final = 8192
PACKED_REFS_BYTES: Final = 256 * 2**20
_CONFIG_BYTES: Final = 2**20
_MAX_HOPS: Final = 5
"""Symbolic references one after another: git's own limit."""

_HASH: Final = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_RULES: Final = ("{}", "refs/{}", "refs/tags/{}", "refs/heads/{}", "refs/remotes/{}", "refs/remotes/{}/HEAD")
"""Where a short name is looked for, in this order (gitrevisions)."""

_OF_WORKTREE: Final = ("HEAD", "refs/bisect/", "refs/worktree/", "refs/rewritten/")


@dataclass(frozen=True)
class Repository:
    """The folders of a repository: `common_dir` differs from `git_dir` in linked worktrees; `top` has files."""

    top: Path
    git_dir: Path
    common_dir: Path
    roots: Roots = field(compare=False)


def find_repository(
    folder: Path, boundary: Path, roots: Sequence[Root] = (), *, strict: bool = False
) -> Repository | None:
    """Return the repository that a folder belongs to, not looking above `boundary`. None: it is in none.

    What it points to must lie beneath one of `roots`, by default the boundary alone; otherwise the folder counts
    as one without a repository, or SourceRefused is raised if this is `strict`. Raises SourceUnreadable where the
    disk does not say: without its repository a folder has other files, and nobody's word for what was deleted.
    """
    within = Roots(roots or [Root(PurePosixPath(boundary), boundary)])
    for top in (folder, *folder.parents):
        if not top.is_relative_to(boundary):
            return None
        if stat_of(top / ".git", follow=False):
            try:
                return _open(top, within)
            except SourceUnreadable:
                raise
            except SourceRefused as error:
                if strict:
                    raise SourceRefused(
                        f"the repository {top.name} is refused: its .git leads to {error}"
                    ) from error
                log.warning("indexed without its repository: .git leads out", extra={"error": str(error)})
                return None
            except OSError as error:
                if error.errno not in ABSENT_ERRNOS:
                    raise _unreadable(top / ".git", error) from error
                log.warning("indexed without its repository", extra={"error": str(error)})
                return None
    return None


def bare_repository(folder: Path, boundary: Path, roots: Sequence[Root] = ()) -> Repository | None:
    """Return the bare repository that a folder is. None: it is none. Raises SourceUnreadable."""
    within = Roots(roots or [Root(PurePosixPath(boundary), boundary)])
    if stat_of(folder / "HEAD") and _is_folder(folder / "objects") and _is_folder(folder / "refs"):
        return Repository(folder, folder, folder, within)
    return None


def head_commit(repository: Repository, packed_refs_bytes: int = PACKED_REFS_BYTES) -> str | None:
    """Return the commit that is checked out, None before the first one, or where HEAD leads out of the roots.

    Of packed references so many bytes are read. Raises SourceUnreadable.
    """
    try:
        return _resolve(repository, "HEAD", _MAX_HOPS, packed_refs_bytes)
    except SourceRefused as error:
        log.warning("HEAD leads out", extra={"error": str(error)})
        return None
    except OSError as error:
        if error.errno not in ABSENT_ERRNOS:
            raise _unreadable(repository.git_dir / "HEAD", error) from error
        return None


def commit_of(repository: Repository, name: str) -> str | None:
    """Return the hash that a branch, a tag, a full reference or a hash stands for. None: there is none.

    Raises SourceRefused for a reference that leads out of the roots, and OSError.
    """
    if _HASH.fullmatch(name):
        return name
    for rule in _RULES:
        full = rule.format(name)
        if (full == "HEAD" or full.startswith("refs/")) and (found := _resolve(repository, full, _MAX_HOPS)):
            return found
    return None


def is_sha256(repository: Repository) -> bool:
    """Say whether its objects are named by SHA-256."""
    config = repository.roots.read(repository.common_dir / "config", _CONFIG_BYTES) or b""
    return re.search(rb"(?im)^\s*objectformat\s*=\s*sha256\s*$", config) is not None


def has_reftable(repository: Repository) -> bool:
    """Say whether its references are in the format `reftable`, which is not read here."""
    return _is_folder(repository.common_dir / "reftable")


def stat_of(path: Path, *, follow: bool = True) -> os.stat_result | None:
    """Return what is known of a path, links followed if asked for. None: nothing is there.

    Raises SourceUnreadable when nobody can tell.
    """
    try:
        return os.stat(path, follow_symlinks=follow)  # noqa: PTH116 (one call for both)
    except ValueError:  # a NUL
        return None
    except OSError as error:
        if error.errno in ABSENT_ERRNOS:
            return None
        raise _unreadable(path, error) from error


def _is_folder(path: Path) -> bool:
    found = stat_of(path)
    return found is not None and stat.S_ISDIR(found.st_mode)


def _unreadable(path: Path, error: OSError) -> SourceUnreadable:
    advice = "bring its disk or share back, then start the job again"
    if error.errno in (errno.EACCES, errno.EPERM):
        advice = f"give the indexer (uid {os.getuid()}) read permission (chmod -R o+rX)"
    return SourceUnreadable(
        f"the repository cannot be read: {error.strerror} at {str(path)[:500]!r}, and nothing else says which "
        f"files belong to it; {advice}"
    )


def _open(top: Path, roots: Roots) -> Repository:
    """Follow `.git`; a worktree's or submodule's is a file that names the real folder."""
    git_dir = top / ".git"
    if not _is_folder(git_dir):
        text = roots.read(git_dir, _POINTER_BYTES)
        match = re.match(r"gitdir: (.+)", (text or b"").decode(errors="surrogateescape"))
        if not match:
            raise SourceRefused(f"{str(git_dir)!r}, which is neither a folder nor names one")
        git_dir = roots.follow(top, match[1].rstrip("\r"))
    git_dir = common_dir = roots.locate(git_dir)
    if pointer := roots.read(git_dir / "commondir", _POINTER_BYTES):
        common_dir = roots.follow(git_dir, pointer.decode(errors="surrogateescape").strip())
    if not (_is_folder(git_dir) and _is_folder(common_dir)):
        raise SourceRefused(f"{str(git_dir)!r}, which is no folder")
    return Repository(top, git_dir, common_dir, roots)


def _resolve(
    repository: Repository, full: str, hops: int, packed_refs_bytes: int = PACKED_REFS_BYTES
) -> str | None:
    """Return the hash of a reference by its full name."""
    if is_path_traversal(full.encode(errors="surrogateescape")) or not hops:
        return None
    folder = repository.git_dir if full.startswith(_OF_WORKTREE) else repository.common_dir
    text = repository.roots.read(folder / full, _POINTER_BYTES)
    if text is None:
        return _packed(repository, full, packed_refs_bytes)
    value = text.decode(errors="replace").strip()
    if value.startswith("ref:"):
        following = value.removeprefix("ref:").strip()
        if not following.startswith("refs/"):
            return None
        return _resolve(repository, following, hops - 1, packed_refs_bytes)
    return value if _HASH.fullmatch(value) else None


def _packed(repository: Repository, full: str, limit: int) -> str | None:
    packed = repository.roots.read(repository.common_dir / "packed-refs", limit) or b""
    name = re.escape(full.encode(errors="surrogateescape"))
    match = re.search(rb"(?m)^([0-9a-f]{40}(?:[0-9a-f]{24})?) %b$" % name, packed)
    return match[1].decode() if match else None
