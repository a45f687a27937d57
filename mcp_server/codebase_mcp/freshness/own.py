"""Which repository a folder belongs to: the one that a caller means who names none."""

import asyncio
from collections.abc import Sequence
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Final

from codebase_index.api.source_policy import SourcePolicy, SourceRefused
from codebase_index.store.catalog.indexes import IndexRow
from codebase_mcp.errors import NotIndexed, UserError
from codebase_mcp.selection.repositories import find_repository
from codebase_mcp.selection.scope import is_every

MAX_DEPTH: Final = 64
"""Folders above a caller's own that may be the top of its repository."""


class OwnRepositories:
    """Finds the repositories of folders, by what is indexed and by what lies under the roots of this process."""

    def __init__(self, policy: SourcePolicy) -> None:
        self._policy = policy

    async def of(self, folders: Sequence[str], indexes: Sequence[IndexRow]) -> list[str]:
        """Return the repositories that these folders are in, indexed or not; each once."""
        if not folders:
            return []
        tops = await asyncio.to_thread(lambda: [self._top_of(folder) for folder in folders])
        found = [_nearest(folder, top, indexes) for folder, top in zip(folders, tops, strict=True)]
        return list(dict.fromkeys(source for source in found if source is not None))

    async def unindexed(self, repos: Sequence[str], indexes: Sequence[IndexRow]) -> list[str]:
        """Return the repositories at paths that are given as repo, and of which nothing is indexed."""
        paths = [repo.strip() for repo in repos if repo.strip().startswith("/") and not is_every(repo)]
        missing = [path for path in paths if not _is_indexed(path, indexes)]
        tops = await asyncio.to_thread(lambda: [self._top_of(path) for path in missing])
        return list(dict.fromkeys(top for top in tops if top is not None))

    def _top_of(self, folder: str) -> str | None:
        """Return the top of the working tree that a folder lies in; None: it is in none that may be indexed.

        Only what is under git is taken: a home folder, or one of many repositories, is nothing that anybody
        means to index by searching. A home folder is none, either, where it is under git itself.
        """
        path = PurePosixPath(folder)
        for top in islice((path, *path.parents), MAX_DEPTH):
            try:
                clean = self._policy.normalise_path(str(top))
                found = self._policy.open_path(clean)
                if (found / ".git").exists():
                    return None if _is_home(found) else clean
            except (SourceRefused, OSError):
                continue
        return None


def _is_home(folder: Path) -> bool:
    try:
        return folder == Path.home().resolve()
    except RuntimeError:  # the user has none, as in a pod
        return False


def _nearest(folder: str, top: str | None, indexes: Sequence[IndexRow]) -> str | None:
    """Return the innermost of the repositories around a folder: one on disk, or the source of an index."""
    path = PurePosixPath(folder)
    around = {
        index.source for index in indexes if index.source.startswith("/") and path.is_relative_to(index.source)
    }
    return max([*around, *([top] if top else [])], key=len, default=None)


def _is_indexed(path: str, indexes: Sequence[IndexRow]) -> bool:
    try:
        find_repository(indexes, path)
    except NotIndexed:
        return False
    except UserError:  # it means several
        return True
    return True
