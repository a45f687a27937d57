"""The repository roots, as this process sees them and as others name them, and what leads from place to place.

`.git` files, `commondir`, alternates and links name folders by paths of the machine that wrote them. In a pod the
same folders lie below a mount; nothing else may be reached.
"""

import errno
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from codebase_index.api.source_policy import ABSENT_ERRNOS, Root, SourceRefused
from codebase_index.beneath import NotRegular, Tree


class Roots:
    """Opens what lies beneath the roots, by whatever links beneath them, and refuses everything else."""

    def __init__(self, roots: Sequence[Root]) -> None:
        self._mounts = sorted({root.mount.resolve() for root in roots}, key=_depth, reverse=True)
        names = ((Path(name), root.mount.resolve()) for root in roots for name in (root.host, root.path) if name)
        # The longest first: of nested roots the inner one says how a path is named.
        self._named = sorted(names, key=lambda named: _depth(named[0]), reverse=True)

    def locate(self, path: Path) -> Path:
        """Return where a path leads, links resolved. Raises SourceRefused and OSError."""
        try:
            real = Path(os.path.realpath(path, strict=True))
        except ValueError as error:  # a NUL
            raise _outside(path) from error
        self._mount_of(real)
        return real

    def follow(self, place: Path, pointer: str) -> Path:
        """Return where a path leads that is written in the folder `place`, absolute or relative to it.

        It is read as the machine means it that wrote it, then as this process does. Raises SourceRefused, and
        OSError when something beneath the roots may be meant that cannot be read now.
        """
        unreadable: OSError | None = None
        for candidate in (*self._mounted(place, pointer), place / pointer):
            meant = Path(os.path.normpath(candidate))
            try:
                return self.locate(meant)
            except SourceRefused:
                continue
            except OSError as error:
                if error.errno not in ABSENT_ERRNOS and any(map(meant.is_relative_to, self._mounts)):
                    unreadable = error
        raise unreadable or _outside(pointer)

    def tree(self, folder: Path) -> Tree:
        """Return a folder to open files in, links to it resolved. Raises SourceRefused and OSError."""
        real = self.locate(folder)
        return Tree(real, self._mount_of(real), metadata=True)

    def read(self, file: Path, limit: int) -> bytes | None:
        """Return the first `limit` bytes of a file, links resolved. None: there is no such file.

        Raises SourceRefused and OSError.
        """
        try:
            real = self.locate(file)
            with self.tree(real.parent) as tree:
                return tree.read(os.fsencode(real.name), limit)
        except (FileNotFoundError, NotADirectoryError, NotRegular):
            return None
        except OSError as error:
            if error.errno == errno.ELOOP:  # a link to itself, or one that has just come
                return None
            raise

    def _mount_of(self, real: Path) -> Path:
        for mount in self._mounts:
            if real.is_relative_to(mount):
                return mount
        raise _outside(real)

    def _mounted(self, place: Path, pointer: str) -> Iterator[Path]:
        """Yield where a pointer leads as the machine means it that wrote it; it may have two names for a root."""
        for name, mount in self._named:
            if not place.is_relative_to(mount):
                continue
            meant = Path(os.path.normpath(name / place.relative_to(mount) / pointer))
            for other, where in self._named:
                if meant.is_relative_to(other):
                    yield where / meant.relative_to(other)
                    break


def _depth(path: Path) -> int:
    return len(path.parts)


def _outside(path: Path | str) -> SourceRefused:
    return SourceRefused(f"{str(path)[:500]!r} is not there, or outside every repository root")
