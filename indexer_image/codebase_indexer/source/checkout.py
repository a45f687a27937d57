"""Opens what a job names: a folder under a repository root, or a git repository that is fetched.

A path without a ref is read where it lies, work in progress included. A path with a ref, and a bare
repository, are fetched from disk like a URL from the network: what is checked out there does not matter, and
nothing is written into the user's repository.
"""

import logging
import os
import re
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from codebase_index.api.resource import IndexingJobSpec
from codebase_index.api.source_policy import Root, SourcePolicy
from codebase_index.beneath import Tree
from codebase_index.repository.repository import (
    Repository,
    bare_repository,
    commit_of,
    find_repository,
    has_reftable,
    head_commit,
    is_sha256,
    stat_of,
)
from codebase_indexer.source import git, remote
from codebase_indexer.source.disk_space import DiskQuota
from codebase_indexer.source.listing import create_git_dir
from codebase_indexer.source.objects import borrow_objects

log = logging.getLogger(__name__)

FETCH_TIMEOUT = 1800.0
"""Seconds for a fetch: a shallow one of the largest public repositories takes a few minutes."""

CHECKOUT_CPU_SECONDS = 600
"""Of processor time: 20 GiB take a minute or two, the rest is for attributes of many patterns."""

RETRY_DELAYS = (2.0, 5.0)
"""Seconds before a fetch is retried after a network error."""

_SHA256_DIGITS = 64

_TRANSIENT = ("could not resolve host", "timed out", "early eof", "connection reset", "rpc failed", "error: 5",
              "connection refused", "unexpected disconnect", "temporary failure")  # fmt: skip


STALE_LOCK_SECONDS = 600.0
"""Age from which a lock of git's index is stale: the git that held it was killed."""


class SourceChanged(Exception):
    """The source disappeared or was replaced while a job read it. The message says how, and what to do."""


class CloneFailed(Exception):
    """The repository could not be fetched. The message says why and what to do."""


@dataclass(frozen=True)
class Checkout:
    """A folder to index. Nothing above `boundary` belongs to it; `commit` is None outside of git.

    `roots` are where its repository may lie, besides the boundary. `is_fetched` says that this job checked it out
    from a commit: then git's index was written here, from objects that were hashed on their way, and nothing
    changes it. `identity` is device and inode of a folder that was not fetched. `mark` identifies its state for
    later comparison, also by another attempt: which folder it is, its commit, and when HEAD last moved. `busy`:
    git was changing the files, so their state is temporary and has no mark.
    """

    folder: Path
    boundary: Path
    commit: str | None
    roots: Sequence[Root] = ()
    is_fetched: bool = False
    identity: tuple[int, int] | None = None
    mark: str | None = None
    busy: bool = False

    def is_unchanged(self) -> bool:
        """Say whether the folder is still the one that was opened, and readable."""
        if self.is_fetched:
            return True
        try:
            found = self.folder.stat()
        except OSError:
            return False
        return (found.st_dev, found.st_ino) == self.identity and os.access(self.folder, os.R_OK | os.X_OK)


def open_source(
    spec: IndexingJobSpec,
    policy: SourcePolicy,
    work_dir: Path,
    commit: str | None,
    sleep: Callable[[float], None] = time.sleep,
    quota: DiskQuota | None = None,
) -> Checkout:
    """Make the job's source ready to read; `commit` is the one that an earlier attempt indexed, if it said so.

    `work_dir` takes what is fetched, within `quota`; a complete checkout of an earlier start is reused.
    Raises SourceRefused, SourceNotFound, SourceUnreadable, RepositoryTooLarge or CloneFailed.
    """
    quota = quota or DiskQuota()
    fetch = partial(_fetch, sleep=sleep)
    if spec.source.git is not None:
        url = policy.check_git_url(spec.source.git.url)
        folder = work_dir / "repository"
        found = fetch(url, "https:ssh", commit or spec.ref or "HEAD", folder, quota=quota)
        return Checkout(folder, folder, found, is_fetched=True)
    path = spec.source.path or ""
    opened = policy.open_path(path)
    boundary = _mount_of(opened, policy)
    repository = bare_repository(opened, boundary, policy.roots)
    if repository is None:
        repository = find_repository(opened, boundary, policy.roots, strict=spec.ref is not None)
        if spec.ref is None:
            return _open_in_place(opened, boundary, repository, policy.roots)
    if repository is None:
        raise CloneFailed(f"ref {spec.ref} of {path}: this is not a git repository; leave the ref out")
    folder = work_dir / "repository"
    found = _fetch_path(repository, path, commit or spec.ref or "HEAD", folder, fetch, quota)
    inside = opened.relative_to(repository.top)
    if not _has_folder(folder, inside):
        raise CloneFailed(f"ref {spec.ref} of {path}: the commit {found[:12]} has no folder {inside}")
    return Checkout(folder / inside, folder, found, is_fetched=True)


def reopen(spec: IndexingJobSpec, policy: SourcePolicy, work_dir: Path, checkout: Checkout) -> Checkout:
    """Return the source as it is now. A fetched one never changes.

    Raises SourceRefused, SourceNotFound or SourceUnreadable.
    """
    return checkout if checkout.is_fetched else open_source(spec, policy, work_dir, None)


def _open_in_place(folder: Path, boundary: Path, repository: Repository | None, roots: Sequence[Root]) -> Checkout:
    """Open a folder where it lies."""
    found = folder.stat()
    # First of all: a HEAD that moves from here on is noticed.
    moved = _head_times(repository.git_dir) if repository else ""
    commit = head_commit(repository) if repository else None
    busy = repository is not None and _is_busy(repository.git_dir)
    # By the number that the file system has for itself: that of a device differs from mount to mount.
    mark = f"{os.statvfs(folder).f_fsid:x}/{found.st_ino:x} {commit} {moved}"
    return Checkout(
        folder,
        boundary,
        commit,
        roots,
        identity=(found.st_dev, found.st_ino),
        mark=None if busy else mark,
        busy=busy,
    )


def _head_times(git_dir: Path) -> str:
    """Return when HEAD last moved: after a switch there and back the commit is the same again."""
    found = (stat_of(git_dir / name, follow=False) for name in ("HEAD", "logs/HEAD"))
    return "/".join(f"{entry.st_mtime_ns:x}" if entry else "" for entry in found)


def _is_busy(git_dir: Path) -> bool:
    """Say whether git is changing the files of a working tree; it moves HEAD only at the end."""
    lock = stat_of(git_dir / "index.lock", follow=False)
    # The clock of a share may be ahead of ours, but a lock of the far future is as old as any.
    return lock is not None and abs(time.time() - lock.st_mtime) < STALE_LOCK_SECONDS


def _has_folder(checkout: Path, inside: Path) -> bool:
    """Say whether a commit has a folder; a link to one may lead anywhere."""
    with Tree(checkout) as tree:
        try:
            os.close(tree.directory(b"" if inside == Path() else os.fsencode(inside)))
        except OSError:
            return False
    return True


def _mount_of(folder: Path, policy: SourcePolicy) -> Path:
    mounts = (root.mount.resolve() for root in policy.roots)
    return max((mount for mount in mounts if folder.is_relative_to(mount)), key=lambda mount: len(mount.parts))


def _fetch_path(
    repository: Repository, path: str, ref: str, folder: Path, fetch: Callable[..., str], quota: DiskQuota
) -> str:
    """Check out a commit of a repository on disk. A repository of ours borrows its objects for git."""
    if _is_complete(folder, ref):
        return ref
    found = commit_of(repository, ref)
    if found is None and not _SHORT_HASH.fullmatch(ref):
        raise CloneFailed(_explain(path, ref, _NO_REFTABLE if has_reftable(repository) else _NO_REF))
    borrower = folder.with_name("borrower")
    shutil.rmtree(borrower, ignore_errors=True)  # of an attempt that was killed
    borrower.parent.mkdir(parents=True, exist_ok=True)
    try:
        create_git_dir(borrower, is_sha256(repository))
        with borrow_objects(repository, borrower, quota.bytes):
            found = found or _whole_hash(borrower, path, ref)
            # file:// lets git copy objects instead of linking them, and check each against its name.
            return fetch(
                borrower.as_uri(), "file", found, folder, quota=quota.beside(borrower), display=(path, ref)
            )
    finally:
        shutil.rmtree(borrower, ignore_errors=True)


_SHORT_HASH = re.compile(r"[0-9a-f]{4,63}")


def _whole_hash(git_dir: Path, path: str, short: str) -> str:
    """Return the hash of the one commit that begins so. Raises CloneFailed."""
    try:
        found = git.run(["-C", git_dir, "rev-parse", "--verify", "--quiet", f"{short}^{{commit}}"])
    except git.GitFailed as failure:
        raise CloneFailed(_explain(path, short, _NO_REF)) from failure
    return found.data.decode().strip()


_NO_REF = "couldn't find remote ref"
_NO_REFTABLE = "reftable"


def _is_complete(folder: Path, commit: str) -> bool:
    mark = _marker_of(folder)
    return mark.is_file() and mark.read_text() == commit


def _marker_of(folder: Path) -> Path:
    return folder.with_name(folder.name + ".commit")  # written last: what it names is complete


def _fetch(
    url: str,
    protocols: str,
    ref: str,
    folder: Path,
    sleep: Callable[[float], None],
    quota: DiskQuota,
    display: tuple[str, str] | None = None,
) -> str:
    """Check out one commit, without history, into `folder`. Return its hash.

    `display` is the source and the ref named in errors, by default those that are fetched.
    """
    if _is_complete(folder, ref):
        return ref
    mark = _marker_of(folder)
    for delay in (*RETRY_DELAYS, None):
        shutil.rmtree(folder, ignore_errors=True)
        mark.unlink(missing_ok=True)
        try:
            commit = _fetch_once(url, protocols, ref, folder, quota)
            mark.write_text(commit)
            return commit
        except git.GitFailed as failure:
            error = quota.explain(failure, folder)
            if not isinstance(error, git.GitFailed):
                raise error from failure
            if remote.was_redirected(str(error)) and (moved := remote.redirected(url)) is not None:
                log.info("redirected", extra={"url": url, "to": moved})
                url = moved
                continue
            if delay is None or not any(sign in str(error).lower() for sign in _TRANSIENT):
                raise CloneFailed(_explain(*(display or (url, ref)), str(error))) from error
            log.warning("fetch failed, trying again", extra={"url": url, "error": str(error), "delay": delay})
            sleep(delay)
    raise CloneFailed(f"could not fetch {ref} of {url}: the server redirects too often; use the final address")


def _fetch_once(url: str, protocols: str, ref: str, folder: Path, quota: DiskQuota) -> str:
    folder.parent.mkdir(parents=True, exist_ok=True)
    is_local = protocols == "file"
    env = git.environment(protocols) if is_local else remote.environment(folder.parent, protocols)
    inside: list[str | Path] = ["-C", folder]
    watch = quota.watch(folder)
    named_by = "sha256" if len(ref) == _SHA256_DIGITS else "sha1"  # branches of SHA-256 repositories are not known
    git.run(["init", "--quiet", "--template=", f"--object-format={named_by}", folder], env=env)
    # fetch and not clone: a branch, a tag and the hash of a commit are all welcome.
    git.run(
        [*inside, "fetch", "--quiet", "--depth=1", "--no-tags", "--no-recurse-submodules", "--", url, ref],
        env=env, timeout=FETCH_TIMEOUT, max_file_bytes=quota.bytes, local=False, watch=watch,
    )  # fmt: skip
    commit = git.run([*inside, "rev-parse", "--verify", "FETCH_HEAD^{commit}"], env=env).data.decode().strip()
    quota.check(folder, commit)
    # Watched all the same: .gitattributes may ask for line ends or an encoding that make files longer.
    git.run(
        [*inside, "checkout", "--quiet", "--detach", commit],
        env=env, timeout=FETCH_TIMEOUT, cpu_seconds=CHECKOUT_CPU_SECONDS, watch=watch,
    )  # fmt: skip
    return commit


def _explain(url: str, ref: str, error: str) -> str:
    """Return git's error with the next step."""
    lowered = error.lower()
    if "couldn't find remote ref" in lowered or "not our ref" in lowered:
        advice = f"the repository has no ref {ref}: give a branch, a tag or a commit's full hash"
    elif error == _NO_REFTABLE:
        advice = "its references are in the format reftable; run `git refs migrate --ref-format=files` in it"
    elif "host key verification failed" in lowered:
        advice = (
            "ssh does not know this host's key: add it to the chart's repositories.sshKnownHosts, or as "
            "known_hosts to the Secret in git.secretRef (ssh-keyscan HOST prints it; compare it with what the "
            "host publishes)"
        )
    elif remote.was_redirected(lowered):
        advice = "the server redirects to another host, which is not followed; use that address"
    elif any(sign in lowered for sign in ("authentication failed", "could not read", "permission denied")):
        advice = (
            "give credentials: a Secret with username and password, or ssh-privatekey, named in git.secretRef; on "
            "one machine, start the server with --allow-user-credentials"
        )
    elif "not found" in lowered or "does not exist" in lowered:
        advice = "check the spelling; a private repository needs credentials in git.secretRef"
    elif "no space left" in lowered:
        advice = (
            "the disk of the node is full: free room there, or let the job run elsewhere (indexer.nodeSelector)"
        )
    elif any(sign in lowered for sign in _TRANSIENT):
        advice = "check that the cluster's network reaches this host, then start the job again"
    else:
        advice = "check that `git fetch` of this repository works elsewhere, then start the job again"
    return f"could not fetch {ref} of {url}: {advice} (git: {error})"
