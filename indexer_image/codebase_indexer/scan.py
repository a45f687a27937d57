"""Lists a repository's files with git's own semantics: tracked, and untracked unless ignored.

git does the listing, but never with the repository's configuration, which could start programs: it runs on a
scratch git directory of ours that holds a copy of the repository's index and `info/exclude`. A folder without
a repository goes the same way with an empty index, so `.gitignore` files mean the same everywhere. On top,
`.mcpignore` files (same syntax, at every level, for tracked files too) and the job's include and exclude
patterns take files away. Submodules and nested repositories are not entered: each is listed as skipped.
"""

import os
import re
import shutil
import stat
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from codebase_index.store.work import Entry
from codebase_indexer import git
from codebase_indexer.skipping import MAX_PATH_BYTES, Skip, by_name, by_size

MCPIGNORE = ".mcpignore"

REPORT_EVERY = 1000
"""Files between two reports of progress."""

Report = Callable[[int, int], None]
"""Called with (files looked at, files listed)."""


class ScanFailed(Exception):
    """git could not list the files. The message says why and what to do."""


@dataclass(frozen=True)
class Repository:
    """A repository as it lies on disk: `common_dir` differs from `git_dir` in linked worktrees."""

    top: Path
    git_dir: Path
    common_dir: Path


def scan(
    folder: Path,
    *,
    boundary: Path,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    report: Report = lambda looked, listed: None,
) -> list[Entry]:
    """Return every file under `folder` that git would list, in path order, with the reason for each skipped one.

    `folder` and `boundary` are resolved; nothing above `boundary` is looked at. `include` and `exclude` are
    patterns in the syntax of .gitignore. Raises ScanFailed.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="scan-") as scratch:
            paths, unreadable = _list(folder, find_repository(folder, boundary), Path(scratch))
            paths = _filter(folder, paths, include, exclude, Path(scratch))
    except (git.GitFailed, OSError) as error:
        raise ScanFailed(
            f"the files of {folder} could not be listed: {error}; check that it is readable and, "
            "if it is a git repository, that `git status` works in it"
        ) from error
    entries = [Entry(path, 0, Skip.UNREADABLE) for path in unreadable]
    judge = _Judge(folder)
    for number, path in enumerate(paths):
        if number % REPORT_EVERY == 0:
            report(number, len(paths))
        entries.append(judge.entry(path))
    report(len(paths), len(paths))
    return entries


def find_repository(folder: Path, boundary: Path) -> Repository | None:
    """Return the repository that a folder belongs to, not looking above `boundary`. None: it is in none."""
    for top in (folder, *folder.parents):
        if not top.is_relative_to(boundary):
            return None
        if (top / ".git").exists():
            return _open(top, boundary)
    return None


def head_commit(repository: Repository) -> str | None:
    """Return the commit that is checked out, None before the first one."""
    where = [f"--git-dir={repository.git_dir}", "rev-parse", "--verify", "--quiet", "HEAD^{commit}"]
    try:
        return git.run(where).data.decode().strip() or None
    except git.GitFailed:
        return None


def _open(top: Path, boundary: Path) -> Repository | None:
    """Follow `.git`; a worktree's or submodule's is a file that names the real folder."""
    git_dir = top / ".git"
    if git_dir.is_file():
        match = re.match(r"gitdir: (.+)\n?$", git_dir.read_bytes()[:4096].decode(errors="replace"))
        git_dir = (top / match[1]).resolve() if match else git_dir
    git_dir = git_dir.resolve()
    common_dir = git_dir
    if (pointer := git_dir / "commondir").is_file():
        common_dir = (git_dir / pointer.read_text(errors="replace").strip()).resolve()
    # A pointer may name any folder of the machine: what lies outside is not ours to read.
    if not all(part.is_dir() and part.is_relative_to(boundary) for part in (git_dir, common_dir)):
        return None
    return Repository(top, git_dir, common_dir)


def _list(folder: Path, repository: Repository | None, scratch: Path) -> tuple[list[bytes], list[str]]:
    """Return the paths that git lists, relative to `folder`, and the directories that it could not enter.

    Nested repositories end with a slash.
    """
    git_dir = scratch / "listing"
    env = git.environment()
    if repository is None:
        _make(git_dir)
        top = folder
    else:
        _make(git_dir, "sha256" if _is_sha256(repository) else "sha1")
        _copy(repository.common_dir / "info" / "exclude", git_dir / "info" / "exclude")
        for index in (repository.git_dir / "index", *repository.git_dir.glob("sharedindex.*")):
            _copy(index, git_dir / index.name)
        # A sparse index names folders by their tree object.
        env["GIT_ALTERNATE_OBJECT_DIRECTORIES"] = str(repository.common_dir / "objects")
        top = repository.top
    output = git.run(
        ["-C", folder, f"--git-dir={git_dir}", f"--work-tree={top}", "ls-files", "-z",
         "--cached", "--others", "--exclude-standard", "--deduplicate"],
        env=env,
    )  # fmt: skip
    if repository and not output.data and _ignores(git_dir, top, folder):
        # Whoever asks for a folder that the repository around it ignores wants it for itself.
        return _list(folder, None, scratch / "alone")
    unreadable = re.findall(r"^warning: could not open directory '(.*)/': ", output.warnings, re.MULTILINE)
    return [path for path in output.data.split(b"\0") if path], unreadable


def _ignores(git_dir: Path, top: Path, folder: Path) -> bool:
    """Whether the rules of a repository exclude a whole folder in it."""
    if folder == top:
        return False
    try:
        git.run(["-C", top, f"--git-dir={git_dir}", f"--work-tree={top}", "check-ignore", "-q", "--", folder])
    except git.GitFailed:
        return False
    return True


def _filter(
    folder: Path, paths: list[bytes], include: Sequence[str], exclude: Sequence[str], scratch: Path
) -> list[bytes]:
    """Take away what .mcpignore files and the job's patterns exclude; git itself does the matching.

    The paths become the index of a second scratch directory, since `ls-files --cached --ignored` answers
    exactly the question which of them match.
    """
    git_dir = scratch / "filtering"
    _make(git_dir)
    where = [f"--git-dir={git_dir}", f"--work-tree={folder}"]
    rows = b"".join(
        b"%d %s\t%s\0" % (160000 if path.endswith(b"/") else 100644, b"1" * 40, path.rstrip(b"/"))
        for path in paths
    )
    git.run(["-C", folder, *where, "update-index", "-z", "--replace", "--index-info"], data=rows)

    def matching(*patterns: str) -> set[bytes]:
        asked: list[str | Path] = ["-C", folder, *where, "ls-files", "-z", "--cached", "--ignored", *patterns]
        return set(git.run(asked).data.split(b"\0"))

    ignored = matching(f"--exclude-per-directory={MCPIGNORE}")
    if exclude:
        ignored |= matching(*(f"--exclude={pattern}" for pattern in exclude))
    included = matching(*(f"--exclude={pattern}" for pattern in include)) if include else None
    return [
        path
        for path in paths
        if (name := path.rstrip(b"/")) not in ignored and (included is None or name in included)
    ]


class _Judge:
    """Looks at each listed path on disk."""

    def __init__(self, folder: Path) -> None:
        self._folder = os.fsencode(folder) + b"/"
        self._plain: dict[bytes, bool] = {}

    def entry(self, raw: bytes) -> Entry:
        """Return the entry of a listed path."""
        name = raw.rstrip(b"/")
        path = name.decode(errors="backslashreplace")
        if name.decode(errors="ignore").encode() != name:
            return Entry(path, 0, Skip.BAD_PATH)
        if len(name) > MAX_PATH_BYTES:
            return Entry(path[:MAX_PATH_BYTES], 0, Skip.LONG_PATH)
        if not self._is_plain(name.rpartition(b"/")[0]):
            return Entry(path, 0, Skip.BEHIND_SYMLINK)
        try:
            found = os.lstat(self._folder + name)
        except PermissionError:
            return Entry(path, 0, Skip.UNREADABLE)
        except OSError:
            return Entry(path, 0, Skip.VANISHED)
        return Entry(path, found.st_size, _by_mode(found.st_mode) or by_name(path) or by_size(found.st_size))

    def _is_plain(self, directory: bytes) -> bool:
        """Say whether no part of a directory's path is a symbolic link, which may lead anywhere."""
        if not directory:
            return True
        known = self._plain.get(directory)
        if known is None:
            known = self._is_plain(directory.rpartition(b"/")[0]) and not _is_link(self._folder + directory)
            self._plain[directory] = known
        return known


def _is_link(path: bytes) -> bool:
    try:
        return stat.S_ISLNK(os.lstat(path).st_mode)
    except OSError:
        return False  # what is below it will be found missing or unreadable


def _by_mode(mode: int) -> Skip | None:
    if stat.S_ISREG(mode):
        return None
    if stat.S_ISLNK(mode):
        return Skip.SYMLINK
    return Skip.NESTED_REPOSITORY if stat.S_ISDIR(mode) else Skip.NOT_REGULAR


def _make(git_dir: Path, object_format: str = "sha1") -> None:
    git.run(["init", "--quiet", "--bare", "--template=", f"--object-format={object_format}", git_dir])
    (git_dir / "info").mkdir(exist_ok=True)


def _copy(source: Path, target: Path) -> None:
    # A link could lead to a file of the pod instead of the repository.
    if source.is_file() and not source.is_symlink():
        shutil.copyfile(source, target)


def _is_sha256(repository: Repository) -> bool:
    config = repository.common_dir / "config"
    pattern = rb"(?im)^\s*objectformat\s*=\s*sha256\s*$"
    return config.is_file() and re.search(pattern, config.read_bytes()) is not None
