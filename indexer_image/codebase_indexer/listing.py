"""What git lists of a folder, and what it knows of the content; nothing that a repository configures is run.

git works on a scratch git directory of ours that holds a copy of the repository's index, `info/exclude` and
`info/attributes`. A folder without a repository goes the same way with an empty index, so `.gitignore` files mean
the same everywhere.
"""

import os
import re
import shutil
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from codebase_indexer import git
from codebase_indexer.beneath import leads_out
from codebase_indexer.vouching import INDEX_FORMAT, Vouched, parse

MCPIGNORE = ".mcpignore"


@dataclass(frozen=True)
class Repository:
    """A repository as it lies on disk: `common_dir` differs from `git_dir` in linked worktrees."""

    top: Path
    git_dir: Path
    common_dir: Path


@dataclass(frozen=True)
class Listing:
    """What git lists, relative to the folder.

    `paths` are sorted; nested repositories end with a slash. `unreadable` are directories that it could not enter.
    `leading_out` is what names no file of the folder, as an index that was made by hand can.
    `vouched` is what its index holds of files whose bytes are those of their blob, if they are unmodified.
    """

    paths: list[bytes]
    unreadable: list[str]
    leading_out: list[bytes] = field(default_factory=list)
    vouched: Mapping[bytes, Vouched] = field(default_factory=dict)


@dataclass(frozen=True)
class _Scratch:
    """A scratch git directory of ours, and the work tree that it stands for."""

    git_dir: Path
    top: Path
    objects: Path | None = None

    def run(self, folder: Path, *arguments: str | Path, data: bytes | None = None) -> git.Output:
        env = git.environment()
        if self.objects:
            env["GIT_ALTERNATE_OBJECT_DIRECTORIES"] = str(self.objects)
        where: list[str | Path] = ["-C", folder, f"--git-dir={self.git_dir}", f"--work-tree={self.top}"]
        return git.run([*where, *arguments], env=env, data=data)


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


def list_files(folder: Path, repository: Repository | None, scratch: Path) -> Listing:
    """Return what git lists under a folder. `scratch` is an empty directory. Raises GitFailed, OSError."""
    git_dir = scratch / "listing"
    if repository is None:
        _make(git_dir)
        return _list_others(folder, _Scratch(git_dir, folder), {})
    _make(git_dir, "sha256" if _is_sha256(repository) else "sha1")
    for name in ("exclude", "attributes"):
        _copy(repository.common_dir / "info" / name, git_dir / "info" / name)
    written = _copy(repository.git_dir / "index", git_dir / "index")
    for shared in repository.git_dir.glob("sharedindex.*"):
        _copy(shared, git_dir / shared.name)
    # A sparse index names folders by their tree object; attributes of files that are not checked out are blobs.
    place = _Scratch(git_dir, repository.top, repository.common_dir / "objects")
    try:
        tracked = parse(place.run(folder, "ls-files", *INDEX_FORMAT).data, written)
    except ValueError as error:
        raise git.GitFailed(str(error)) from error
    listing = _list_others(folder, place, tracked)
    if not listing.paths and _ignores(place, folder):
        # Whoever asks for a folder that the repository around it ignores wants it for itself.
        return list_files(folder, None, scratch / "alone")
    return listing


def take_away(
    folder: Path, paths: list[bytes], include: Sequence[str], exclude: Sequence[str], scratch: Path
) -> list[bytes]:
    """Take away what .mcpignore files and the job's patterns exclude; git itself does the matching.

    The paths become the index of a second scratch directory, since `ls-files --cached --ignored` answers
    exactly the question which of them match.
    """
    if not (include or exclude or holding(folder, directories(paths), MCPIGNORE)):
        return paths
    place = _Scratch(scratch / "filtering", folder)
    _make(place.git_dir)
    rows = b"".join(
        b"%d %s\t%s\0" % (160000 if path.endswith(b"/") else 100644, b"1" * 40, path.rstrip(b"/"))
        for path in paths
    )
    place.run(folder, "update-index", "-z", "--replace", "--index-info", data=rows)

    def matching(*patterns: str) -> set[bytes]:
        listed = place.run(folder, "ls-files", "-z", "--cached", "--ignored", *patterns)
        return set(listed.data.split(b"\0"))

    ignored = matching(f"--exclude-per-directory={MCPIGNORE}")
    if exclude:
        ignored |= matching(*(f"--exclude={pattern}" for pattern in exclude))
    included = matching(*(f"--exclude={pattern}" for pattern in include)) if include else None
    return [
        path
        for path in paths
        if (name := path.rstrip(b"/")) not in ignored and (included is None or name in included)
    ]


def directories(paths: Sequence[bytes]) -> set[bytes]:
    """Return every directory above the paths: the top one, relative to itself, is empty."""
    found = {b""}
    for path in paths:
        directory = path.rstrip(b"/").rpartition(b"/")[0]
        while directory not in found:
            found.add(directory)
            directory = directory.rpartition(b"/")[0]
    return found


def holding(folder: Path, within: set[bytes], name: str) -> list[Path]:
    """Return the files of this name that lie in any of these directories, links to files included."""
    top, last = os.fsencode(folder), os.fsencode(name)
    paths = (b"/".join(filter(None, (top, directory, last))) for directory in within)
    return [Path(os.fsdecode(path)) for path in paths if os.path.lexists(path)]


def _list_others(folder: Path, place: _Scratch, tracked: dict[bytes, Vouched | None]) -> Listing:
    """Add the untracked files that are not ignored."""
    output = place.run(folder, "ls-files", "-z", "--others", "--exclude-standard")
    unreadable = re.findall(r"^warning: could not open directory '(.*)/': ", output.warnings, re.MULTILINE)
    listed = sorted({*tracked, *filter(None, output.data.split(b"\0"))})
    paths: list[bytes] = []
    leading_out: list[bytes] = []
    for path in listed:
        # Of a nested repository git lists the folder, with a slash at its end.
        (leading_out if leads_out(path.removesuffix(b"/")) else paths).append(path)
    vouched = {path: entry for path, entry in tracked.items() if entry}
    for path in _converted(folder, place, paths):
        vouched.pop(path, None)
    return Listing(paths, unreadable, leading_out, vouched)


_CONVERTING = ("filter", "working-tree-encoding")
"""Attributes by which a file's bytes may differ from its blob's without a difference in size.

Line ends and `ident` change the size whenever they change anything, and sizes are compared.
"""

_ATTRIBUTES_BYTES = 1_000_000
"""A file of attributes that is larger than this is left to git altogether."""


def _converted(folder: Path, place: _Scratch, paths: list[bytes]) -> list[bytes]:
    """Return the paths that git passes through a filter or another encoding between blob and work tree."""
    if not _has_converting(folder, place, paths):
        return []
    asked = b"".join(path + b"\0" for path in paths if not path.endswith(b"/"))
    fields = place.run(folder, "check-attr", "-z", "--stdin", *_CONVERTING, data=asked).data.split(b"\0")
    answers = zip(fields[0::3], fields[2::3], strict=False)
    return [path for path, value in answers if value not in (b"unspecified", b"unset")]


def _has_converting(folder: Path, place: _Scratch, paths: list[bytes]) -> bool:
    """Say whether any file of attributes names such an attribute, as most repositories' do not."""
    name = ".gitattributes"
    listed = [folder / os.fsdecode(path) for path in paths if path.rpartition(b"/")[2] == os.fsencode(name)]
    if not all(file.is_file() for file in listed):
        return True  # of a tracked one that is gone git takes the blob
    above = [parent / name for parent in folder.parents if parent.is_relative_to(place.top)]
    own = [place.git_dir / "info" / "attributes"]
    return any(map(_names_converting, [*holding(folder, directories(paths), name), *above, *own]))


def _names_converting(file: Path) -> bool:
    if not file.is_file() or file.is_symlink():
        return False  # git follows no link here either
    with file.open("rb") as opened:
        text = opened.read(_ATTRIBUTES_BYTES)
    return len(text) == _ATTRIBUTES_BYTES or any(word.encode() in text for word in _CONVERTING)


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


def _ignores(place: _Scratch, folder: Path) -> bool:
    """Whether the rules of a repository exclude a whole folder in it."""
    if folder == place.top:
        return False
    try:
        place.run(place.top, "check-ignore", "-q", "--", folder)
    except git.GitFailed:
        return False
    return True


def _make(git_dir: Path, object_format: str = "sha1") -> None:
    git.run(["init", "--quiet", "--bare", "--template=", f"--object-format={object_format}", git_dir])
    (git_dir / "info").mkdir(exist_ok=True)


def _copy(source: Path, target: Path) -> int:
    """Copy a file of the repository, if it is one. Return when it was last written, in ns; 0: there is none."""
    # A link could lead to a file of the pod instead of the repository.
    if not source.is_file() or source.is_symlink():
        return 0
    with source.open("rb") as opened, target.open("wb") as copy:
        written = os.fstat(opened.fileno())  # before the copy: of this very file, whatever replaces it meanwhile
        shutil.copyfileobj(opened, copy)
    return written.st_mtime_ns if stat.S_ISREG(written.st_mode) else 0


def _is_sha256(repository: Repository) -> bool:
    config = repository.common_dir / "config"
    pattern = rb"(?im)^\s*objectformat\s*=\s*sha256\s*$"
    return config.is_file() and re.search(pattern, config.read_bytes()) is not None
