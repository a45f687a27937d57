"""Borrows the objects of an untrusted repository for a git directory of ours.

git runs in ours, so that no configuration, hook, replacement or graft of the repository counts; and since it reads
only borrowed objects, no link and no alternate leads it out of the roots. Packs are borrowed through descriptors
that are already open, whatever becomes of their names; loose objects, small and many, are copied.
"""

import contextlib
import os
import re
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from codebase_index.api.source_policy import SourceRefused, SourceUnreadable
from codebase_index.beneath import Tree, read_at_most
from codebase_index.repository.repository import Repository

MAX_FOLDERS: Final = 32
"""Of objects, alternates included."""

MAX_DESCRIPTORS: Final = 4000
"""Descriptors: two for each pack."""

MAX_LOOSE_BYTES: Final = 4 * 2**30
"""Of all loose objects, each at least a block: a million. Those above MAX_COPIED_BYTES are linked."""

MAX_COPIED_BYTES: Final = 2**20

_BLOCK_BYTES: Final = 4096
_ALTERNATES_BYTES: Final = 2**16
_PACK: Final = re.compile(rb"pack-[0-9a-f]{40,64}\.(?:pack|idx)")
_FAN: Final = re.compile(rb"[0-9a-f]{2}")
_LOOSE: Final = re.compile(rb"[0-9a-f]{38}(?:[0-9a-f]{24})?")


@contextlib.contextmanager
def borrow_objects(repository: Repository, git_dir: Path, quota_bytes: int | None = None) -> Iterator[None]:
    """Give `git_dir`, a git directory of ours, the repository's objects for the duration of the context.

    Copies take at most `quota_bytes`, or MAX_LOOSE_BYTES.
    Raises SourceRefused where they lead out of the roots, and OSError.
    """
    with contextlib.ExitStack() as stack:
        max_bytes = MAX_LOOSE_BYTES if quota_bytes is None else min(quota_bytes, MAX_LOOSE_BYTES)
        borrower = _Borrower(git_dir / "objects", stack, max_bytes)
        for folder in _folders(repository):
            borrower.borrow(repository, folder)
        yield


class _Borrower:
    def __init__(self, objects: Path, stack: contextlib.ExitStack, max_bytes: int) -> None:
        self._objects = objects
        self._stack = stack
        self._descriptors = 0
        self._budget = max_bytes
        limit, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = MAX_DESCRIPTORS + 1000
        if limit < wanted <= hard:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))

    def borrow(self, repository: Repository, folder: Path) -> None:
        """Borrow the objects of one folder."""
        with repository.roots.tree(folder) as top:
            names = top.names()
        if b"pack" in names:
            with repository.roots.tree(folder / "pack") as tree:
                for name in filter(_PACK.fullmatch, tree.names()):
                    self._link_or_copy(tree, name, self._objects / "pack" / os.fsdecode(name))
        for fan in filter(_FAN.fullmatch, names):
            with repository.roots.tree(folder / os.fsdecode(fan)) as tree:
                (self._objects / os.fsdecode(fan)).mkdir(exist_ok=True)
                for name in filter(_LOOSE.fullmatch, tree.names()):
                    self._link_or_copy(
                        tree, name, self._objects / os.fsdecode(fan) / os.fsdecode(name), copies=True
                    )

    def _link_or_copy(self, tree: Tree, name: bytes, target: Path, *, copies: bool = False) -> None:
        if os.path.lexists(target):
            return  # an alternate holds the same
        try:
            descriptor = tree.open_file(name)
        except FileNotFoundError:
            return  # git packs meanwhile
        except PermissionError as error:
            raise SourceUnreadable(f"the repository's objects are not readable by the indexer: {error}") from error
        except OSError as error:
            raise SourceRefused(
                f"the repository is refused: its objects contain a link or something that is not a file ({error})"
            ) from error
        if copies and (size := os.fstat(descriptor).st_size) <= MAX_COPIED_BYTES:
            self._budget -= -(-size // _BLOCK_BYTES) * _BLOCK_BYTES
            with contextlib.closing(os.fdopen(descriptor, "rb")):
                target.write_bytes(read_at_most(descriptor, MAX_COPIED_BYTES))
        else:
            self._descriptors += 1
            self._stack.callback(os.close, descriptor)
            # Of this process, by its number: git starts others, which have other descriptors.
            target.symlink_to(f"/proc/{os.getpid()}/fd/{descriptor}")
        if self._descriptors > MAX_DESCRIPTORS or self._budget < 0:
            raise SourceRefused(
                "the repository has too many packs or loose objects; run `git gc` in it, then start the job again"
            )


def _folders(repository: Repository) -> list[Path]:
    """Return every folder of objects, alternates of alternates included."""
    roots = repository.roots
    try:
        found = [roots.locate(repository.common_dir / "objects")]
        for folder in found:  # which grows
            text = roots.read(folder / "info" / "alternates", _ALTERNATES_BYTES) or b""
            for line in filter(None, text.decode(errors="surrogateescape").split("\n")):
                if not line.startswith("#") and (other := roots.follow(folder, line)) not in found:
                    found.append(other)
            if len(found) > MAX_FOLDERS:
                raise SourceRefused(f"more than {MAX_FOLDERS} folders")
    except SourceRefused as error:
        raise SourceRefused(f"the repository is refused: its objects lead to {error}") from error
    return found
