"""What git lists of a folder, and which files it knows to be unmodified. Nothing that a repository configures
runs.

git works in a scratch git directory of ours, which holds a copy of the repository's index, `info/exclude` and
`info/attributes`. A folder without a repository is listed the same way with an empty index, so `.gitignore` files
mean the same everywhere.
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
from codebase_index.beneath import NotRegular, Tree, is_path_traversal
from codebase_index.repository.repository import Repository, is_sha256
from codebase_indexer.source import git
from codebase_indexer.source.git_stat import INDEX_FORMAT, GitStatEntry, parse_index, sparse_paths
from codebase_indexer.source.objects import borrow_objects

log = logging.getLogger(__name__)

MCPIGNORE = ".mcpignore"
GITIGNORE = ".gitignore"

_INDEX_BYTES = 512 * 2**20
"""An index of a million files has 150 MB."""

_RULES_BYTES = 2**20
"""Of one file of patterns or attributes: ten thousand lines."""

_SHARED_INDEX = re.compile(r"sharedindex\.[0-9a-f]{40,64}")

_UNREADABLE_DIRECTORY = re.compile(
    r"^warning: could not open directory '(.*?)/': [^\n]*$", re.MULTILINE | re.DOTALL
)
_UNREADABLE_IGNORE_FILE = re.compile(
    r"^warning: unable to access '(.*?\.gitignore)': (?!Permission denied|Too many levels of symbolic)([^\n]*)$",
    re.MULTILINE | re.DOTALL,
)
"""Not where git follows no link, as it should, nor what `_check_ignore_files` finds by itself: git cannot read the
ignore file of a folder whose names it may read and whose files it may not, either."""


class RuleFileUnusable(git.GitFailed):
    """A file of patterns or attributes was not read to its end. The message says why and what to do."""


@dataclass(frozen=True)
class Listing:
    """What git lists, relative to the folder.

    `paths` are sorted; nested repositories end with a slash. `unreadable` are directories that it could not enter.
    `path_traversals` name no file of the folder, as a crafted index can. `stat_entries` are the index entries of
    files whose bytes are those of their blob while they are unmodified. `sparse_paths` are in the index, but left
    out of the working tree by a sparse checkout.
    """

    paths: list[bytes]
    unreadable: list[str]
    path_traversals: list[bytes] = field(default_factory=list)
    stat_entries: Mapping[bytes, GitStatEntry] = field(default_factory=dict)
    sparse_paths: frozenset[bytes] = frozenset()


@dataclass(frozen=True)
class _ScratchRepository:
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
        create_git_dir(git_dir)
        return _add_untracked(tree, _ScratchRepository(git_dir, tree.folder), {})
    create_git_dir(git_dir, is_sha256(repository))
    with repository.roots.tree(repository.common_dir) as common:
        for name in ("exclude", "attributes"):
            _copy(common, f"info/{name}", git_dir, _RULES_BYTES)
    with repository.roots.tree(repository.git_dir) as own:
        written = _copy(own, "index", git_dir, _INDEX_BYTES)
        for name in filter(_SHARED_INDEX.fullmatch, map(os.fsdecode, own.names())):
            _copy(own, name, git_dir, _INDEX_BYTES)
    scratch_git = _ScratchRepository(git_dir, repository.top)
    with contextlib.ExitStack() as stack:
        if _is_sparse(git_dir / "index"):
            stack.enter_context(borrow_objects(repository, git_dir))  # it names folders by their tree object
        try:
            index = scratch_git.run(tree.folder, "ls-files", *INDEX_FORMAT).data
            tracked = parse_index(index, written)
        except ValueError as error:
            raise git.GitFailed(str(error)) from error
    listing = _add_untracked(tree, scratch_git, tracked, repository)
    if not listing.paths and _is_ignored(scratch_git, tree.folder):
        # A job for a folder that the repository around it ignores means the folder by itself.
        return list_files(tree, None, scratch / "alone")
    return replace(listing, sparse_paths=sparse_paths(index))


def apply_filters(
    tree: Tree, paths: list[bytes], include: Sequence[str], exclude: Sequence[str], scratch: Path
) -> list[bytes]:
    """Return the paths that pass the .mcpignore files and the job's patterns; git itself does the matching.

    The paths become the index of a second scratch directory, since `ls-files --cached --ignored` answers
    exactly the question which of them match. Its work tree holds nothing but copies of the .mcpignore files.
    """
    rules = _read_rule_files(tree, directories(paths), MCPIGNORE)
    if not (include or exclude or rules):
        return paths
    top = scratch / "rules"
    for directory, text in rules.items():
        folder = top / os.fsdecode(directory)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / MCPIGNORE).write_bytes(text)
    top.mkdir(exist_ok=True)
    scratch_git = _ScratchRepository(scratch / "filtering", top)
    create_git_dir(scratch_git.git_dir)
    rows = b"".join(
        b"%d %s\t%s\0" % (160000 if path.endswith(b"/") else 100644, b"1" * 40, path.rstrip(b"/"))
        for path in paths
    )
    scratch_git.run(top, "update-index", "-z", "--replace", "--index-info", data=rows)

    def matching(*patterns: str) -> set[bytes]:
        listed = scratch_git.run(top, "ls-files", "-z", "--cached", "--ignored", *patterns)
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


def _read_rule_files(tree: Tree, within: set[bytes], name: str) -> dict[bytes, bytes]:
    """Return the text of each rule file (ignore or attributes) of this name, by its directory.

    Raises RuleFileUnusable.
    """
    last = b"/" + os.fsencode(name)
    texts = ((directory, _read_rule_file(tree, (directory + last).lstrip(b"/"))) for directory in within)
    return {directory: text for directory, text in texts if text is not None}


def _read_rule_file(tree: Tree, path: bytes) -> bytes | None:
    """Return the text of a rule file; None: there is none. Like git, it follows no links; pipes are not read.

    Raises RuleFileUnusable for an unreadable one, since it may exclude what must not be indexed, and for one that
    is too large.
    """
    if not tree.may_have(path):
        return None
    name = os.fsdecode(path)
    try:
        text = tree.read(path, _RULES_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        if isinstance(error, NotRegular) or error.errno == errno.ELOOP:
            log.warning("ignore file skipped: not a regular file", extra={"path": name})
            return None
        raise _unreadable_rules(name, error.strerror or str(error)) from error
    if len(text) > _RULES_BYTES:
        raise RuleFileUnusable(f"{name} is larger than {_RULES_BYTES >> 20} MiB; shorten it")
    return text


def _unreadable_rules(name: str, why: str) -> RuleFileUnusable:
    return RuleFileUnusable(f"{name} cannot be read ({why}), so nobody knows what it excludes; make it readable")


def _check_ignore_files(tree: Tree, repository: Repository | None, paths: Sequence[bytes], warnings: str) -> None:
    """Make sure that git read every ignore file that has a say in what it listed.

    Where it cannot read one, git warns at best and goes on as if there were none. Raises RuleFileUnusable.
    """
    if warning := _UNREADABLE_IGNORE_FILE.search(warnings):
        raise _unreadable_rules(warning[1], warning[2])
    _read_rule_files(tree, directories(paths), GITIGNORE)
    if repository:
        _rules_above(tree, repository, GITIGNORE)


def _add_untracked(
    tree: Tree,
    scratch_git: _ScratchRepository,
    tracked: dict[bytes, GitStatEntry | None],
    repository: Repository | None = None,
) -> Listing:
    """Return the tracked files, and the untracked ones that are not ignored."""
    output = scratch_git.run(tree.folder, "ls-files", "-z", "--others", "--exclude-standard")
    inside = "" if tree.folder == scratch_git.top else f"{tree.folder.relative_to(scratch_git.top)}/"
    # Listed paths are relative to the folder, those of warnings to the top.
    unreadable = [path.removeprefix(inside) for path in _UNREADABLE_DIRECTORY.findall(output.warnings)]
    listed = sorted({*tracked, *filter(None, output.data.split(b"\0"))})
    paths: list[bytes] = []
    path_traversals: list[bytes] = []
    for path in listed:
        # Of a nested repository git lists the folder, with a slash at its end.
        (path_traversals if is_path_traversal(path.removesuffix(b"/")) else paths).append(path)
    _check_ignore_files(tree, repository, paths, output.warnings)
    stat_entries = {path: entry for path, entry in tracked.items() if entry}
    if stat_entries and repository:
        for path in _paths_with_filters(tree, scratch_git, paths, repository):
            stat_entries.pop(path, None)
    return Listing(paths, unreadable, path_traversals, stat_entries)


_CONVERSIONS = ("filter", "working-tree-encoding")
"""Attributes that may change a file's bytes, compared with its blob, without changing its size.

Line ends and `ident` change the size whenever they change anything, and sizes are compared.
"""


def _paths_with_filters(
    tree: Tree, scratch_git: _ScratchRepository, paths: list[bytes], repository: Repository
) -> list[bytes]:
    """Return the paths that git converts by a filter or an encoding between blob and working tree.

    All paths if the attributes are unreadable: then each file is read.
    """
    name = ".gitattributes"
    own = scratch_git.git_dir / "info" / "attributes"
    try:
        rules = _read_rule_files(tree, directories(paths), name)
        above = _rules_above(tree, repository, name)
    except (OSError, git.GitFailed) as error:
        log.warning("attributes are not readable; every file is read", extra={"error": str(error)})
        return paths
    texts = [*rules.values(), own.read_bytes() if own.is_file() else b"", *above]
    last = os.fsencode(name)
    named = (path.rpartition(b"/") for path in paths if path.endswith(last))
    listed = {directory for directory, _, own_name in named if own_name == last}
    gone = not listed <= rules.keys()
    if not gone and not any(word.encode() in text for text in texts for word in _CONVERSIONS):
        return []
    asked = b"".join(path + b"\0" for path in paths if not path.endswith(b"/"))
    with contextlib.ExitStack() as stack:
        if gone:  # of a tracked one that is not checked out git takes the blob
            try:
                stack.enter_context(borrow_objects(repository, scratch_git.git_dir))
            except (SourceRefused, OSError):
                return paths
        fields = scratch_git.run(tree.folder, "check-attr", "-z", "--stdin", *_CONVERSIONS, data=asked).data.split(
            b"\0"
        )
    answers = zip(fields[0::3], fields[2::3], strict=False)
    return [path for path, value in answers if value not in (b"unspecified", b"unset")]


def _rules_above(tree: Tree, repository: Repository, name: str) -> list[bytes]:
    """Return the texts of the rule files above the folder, up to the repository's top.

    Raises RuleFileUnusable, OSError and SourceRefused.
    """
    texts = []
    for folder in tree.folder.parents:
        if folder.is_relative_to(repository.top):
            with repository.roots.tree(folder) as above:
                texts.append(_read_rule_file(above, os.fsencode(name)))
    return [text for text in texts if text]


def _is_ignored(scratch_git: _ScratchRepository, folder: Path) -> bool:
    """Whether the rules of a repository exclude a whole folder in it."""
    if folder == scratch_git.top:
        return False
    try:
        scratch_git.run(scratch_git.top, "check-ignore", "-q", "--", folder)
    except git.GitFailed:
        return False
    return True


def create_git_dir(git_dir: Path, sha256: bool = False) -> None:
    """Create an empty git directory of ours. Raises GitFailed."""
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
