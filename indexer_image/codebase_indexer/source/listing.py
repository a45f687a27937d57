"""What git lists of a folder, and what it knows of the content; nothing that a repository configures is run.

git works on a scratch git directory of ours that holds a copy of the repository's index, `info/exclude` and
`info/attributes`. A folder without a repository goes the same way with an empty index, so `.gitignore` files mean
the same everywhere.
"""

import contextlib
import errno
import logging
import mmap
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from codebase_index.api.source_policy import SourceRefused
from codebase_indexer.confinement.beneath import NotRegular, Tree, leads_out
from codebase_indexer.source import git
from codebase_indexer.source.git_stat import INDEX_FORMAT, Vouched, parse, sparse
from codebase_indexer.source.objects import lent
from codebase_indexer.source.repository import Repository, is_sha256

log = logging.getLogger(__name__)

MCPIGNORE = ".mcpignore"

_INDEX_BYTES = 512 * 2**20
"""An index of a million files has 150 MB."""

_RULES_BYTES = 2**20
"""Of one file of patterns or attributes: ten thousand lines."""

_SHARED_INDEX = re.compile(r"sharedindex\.[0-9a-f]{40,64}")


@dataclass(frozen=True)
class Listing:
    """What git lists, relative to the folder.

    `paths` are sorted; nested repositories end with a slash. `unreadable` are directories that it could not enter.
    `leading_out` is what names no file of the folder, as an index that was made by hand can.
    `vouched` is what its index holds of files whose bytes are those of their blob, if they are unmodified.
    `sparse` are paths that are in the index and, by the wish of whoever checked out, not on disk.
    """

    paths: list[bytes]
    unreadable: list[str]
    leading_out: list[bytes] = field(default_factory=list)
    vouched: Mapping[bytes, Vouched] = field(default_factory=dict)
    sparse: frozenset[bytes] = frozenset()


@dataclass(frozen=True)
class _Scratch:
    """A scratch git directory of ours, and the work tree that it stands for."""

    git_dir: Path
    top: Path

    def run(self, folder: Path, *arguments: str | Path, data: bytes | None = None) -> git.Output:
        where: list[str | Path] = ["-C", folder, f"--git-dir={self.git_dir}", f"--work-tree={self.top}"]
        return git.run([*where, *arguments], data=data)


def list_files(tree: Tree, repository: Repository | None, scratch: Path) -> Listing:
    """Return what git lists of a folder. `scratch` is an empty directory.

    Raises GitFailed, OSError and SourceRefused.
    """
    git_dir = scratch / "listing"
    if repository is None:
        make_git_dir(git_dir)
        return _list_others(tree, _Scratch(git_dir, tree.folder), {})
    make_git_dir(git_dir, is_sha256(repository))
    with repository.roots.tree(repository.common_dir) as common:
        for name in ("exclude", "attributes"):
            _copy(common, f"info/{name}", git_dir, _RULES_BYTES)
    with repository.roots.tree(repository.git_dir) as own:
        written = _copy(own, "index", git_dir, _INDEX_BYTES)
        for name in filter(_SHARED_INDEX.fullmatch, map(os.fsdecode, own.names())):
            _copy(own, name, git_dir, _INDEX_BYTES)
    place = _Scratch(git_dir, repository.top)
    with contextlib.ExitStack() as stack:
        if _is_sparse(git_dir / "index"):
            stack.enter_context(lent(repository, git_dir))  # it names folders by their tree object
        try:
            index = place.run(tree.folder, "ls-files", *INDEX_FORMAT).data
            tracked = parse(index, written)
        except ValueError as error:
            raise git.GitFailed(str(error)) from error
    listing = _list_others(tree, place, tracked, repository)
    if not listing.paths and _ignores(place, tree.folder):
        # Whoever asks for a folder that the repository around it ignores wants it for itself.
        return list_files(tree, None, scratch / "alone")
    return replace(listing, sparse=sparse(index))


def take_away(
    tree: Tree, paths: list[bytes], include: Sequence[str], exclude: Sequence[str], scratch: Path
) -> list[bytes]:
    """Take away what .mcpignore files and the job's patterns exclude; git itself does the matching.

    The paths become the index of a second scratch directory, since `ls-files --cached --ignored` answers
    exactly the question which of them match. Its work tree holds nothing but copies of the .mcpignore files.
    """
    rules = _rules(tree, directories(paths), MCPIGNORE)
    if not (include or exclude or rules):
        return paths
    top = scratch / "rules"
    for directory, text in rules.items():
        folder = top / os.fsdecode(directory)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / MCPIGNORE).write_bytes(text)
    top.mkdir(exist_ok=True)
    place = _Scratch(scratch / "filtering", top)
    make_git_dir(place.git_dir)
    rows = b"".join(
        b"%d %s\t%s\0" % (160000 if path.endswith(b"/") else 100644, b"1" * 40, path.rstrip(b"/"))
        for path in paths
    )
    place.run(top, "update-index", "-z", "--replace", "--index-info", data=rows)

    def matching(*patterns: str) -> set[bytes]:
        listed = place.run(top, "ls-files", "-z", "--cached", "--ignored", *patterns)
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


def _rules(tree: Tree, within: set[bytes], name: str) -> dict[bytes, bytes]:
    """Return the text of each file of rules of this name, by the directory that it lies in.

    Links are not followed, as git does not; neither are pipes read. Raises OSError where one is not readable,
    since it may say what nobody is to see; and GitFailed for one that is too large.
    """
    found = {}
    last = b"/" + os.fsencode(name)
    for directory in within:
        path = directory + last if directory else last[1:]
        if not tree.may_have(path):
            continue
        try:
            text = tree.read(path, _RULES_BYTES + 1)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            if isinstance(error, NotRegular) or error.errno == errno.ELOOP:
                log.warning("rules are not read: no regular file", extra={"path": os.fsdecode(path)})
                continue
            raise
        if len(text) > _RULES_BYTES:
            raise git.GitFailed(f"{os.fsdecode(path)} is larger than {_RULES_BYTES >> 20} MiB")
        found[directory] = text
    return found


def _list_others(
    tree: Tree, place: _Scratch, tracked: dict[bytes, Vouched | None], repository: Repository | None = None
) -> Listing:
    """Add the untracked files that are not ignored."""
    output = place.run(tree.folder, "ls-files", "-z", "--others", "--exclude-standard")
    unreadable = re.findall(r"^warning: could not open directory '(.*)/': ", output.warnings, re.MULTILINE)
    listed = sorted({*tracked, *filter(None, output.data.split(b"\0"))})
    paths: list[bytes] = []
    leading_out: list[bytes] = []
    for path in listed:
        # Of a nested repository git lists the folder, with a slash at its end.
        (leading_out if leads_out(path.removesuffix(b"/")) else paths).append(path)
    vouched = {path: entry for path, entry in tracked.items() if entry}
    if vouched and repository:
        for path in _converted(tree, place, paths, repository):
            vouched.pop(path, None)
    return Listing(paths, unreadable, leading_out, vouched)


_CONVERTING = ("filter", "working-tree-encoding")
"""Attributes by which a file's bytes may differ from its blob's without a difference in size.

Line ends and `ident` change the size whenever they change anything, and sizes are compared.
"""


def _converted(tree: Tree, place: _Scratch, paths: list[bytes], repository: Repository) -> list[bytes]:
    """Return the paths that git passes through a filter or another encoding between blob and work tree.

    All of them where nobody can read which: then each file is read.
    """
    name = ".gitattributes"
    own = place.git_dir / "info" / "attributes"
    try:
        rules = _rules(tree, directories(paths), name)
        above = _above(tree, repository, name)
    except (OSError, git.GitFailed) as error:
        log.warning("git vouches for no file: attributes are not read", extra={"error": str(error)})
        return paths
    texts = [*rules.values(), own.read_bytes() if own.is_file() else b"", *above]
    last = os.fsencode(name)
    named = (path.rpartition(b"/") for path in paths if path.endswith(last))
    listed = {directory for directory, _, own_name in named if own_name == last}
    gone = not listed <= rules.keys()
    if not gone and not any(word.encode() in text for text in texts for word in _CONVERTING):
        return []
    asked = b"".join(path + b"\0" for path in paths if not path.endswith(b"/"))
    with contextlib.ExitStack() as stack:
        if gone:  # of a tracked one that is not checked out git takes the blob
            try:
                stack.enter_context(lent(repository, place.git_dir))
            except (SourceRefused, OSError):
                return paths
        fields = place.run(tree.folder, "check-attr", "-z", "--stdin", *_CONVERTING, data=asked).data.split(b"\0")
    answers = zip(fields[0::3], fields[2::3], strict=False)
    return [path for path, value in answers if value not in (b"unspecified", b"unset")]


def _above(tree: Tree, repository: Repository, name: str) -> list[bytes]:
    """Return the texts of the files of rules above the folder, up to the repository's top."""
    folders = [folder for folder in tree.folder.parents if folder.is_relative_to(repository.top)]
    return [text for folder in folders if (text := repository.roots.read(folder / name, _RULES_BYTES))]


def _ignores(place: _Scratch, folder: Path) -> bool:
    """Whether the rules of a repository exclude a whole folder in it."""
    if folder == place.top:
        return False
    try:
        place.run(place.top, "check-ignore", "-q", "--", folder)
    except git.GitFailed:
        return False
    return True


def make_git_dir(git_dir: Path, sha256: bool = False) -> None:
    """Make an empty git directory of ours. Raises GitFailed."""
    named_by = "sha256" if sha256 else "sha1"
    git.run(["init", "--quiet", "--bare", "--template=", f"--object-format={named_by}", git_dir])
    (git_dir / "info").mkdir(exist_ok=True)


def _copy(tree: Tree, name: str, git_dir: Path, limit: int) -> int:
    """Copy a file of a repository into a git directory of ours, if there is one. No link is followed.

    Return when it was last written, in ns; 0: there is none. Raises OSError; GitFailed for one that is too large.
    """
    try:
        descriptor = tree.open_file(os.fsencode(name))
    except OSError as error:
        if isinstance(error, NotRegular) or error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            return 0
        raise
    with os.fdopen(descriptor, "rb") as opened, (git_dir / name).open("wb") as copy:
        written = os.fstat(opened.fileno())  # before the copy: of this very file, whatever replaces it meanwhile
        while part := opened.read(2**20):
            copy.write(part)
            if copy.tell() > limit:
                raise git.GitFailed(f"{name} in .git is larger than {limit >> 20} MiB")
    return written.st_mtime_ns


def _is_sparse(index: Path) -> bool:
    """Say whether an index may have the extension of a sparse one."""
    if not index.exists() or not index.stat().st_size:
        return False
    with index.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as held:
        return held.find(b"sdir\0\0\0\0") >= 0
