"""Finds the one file that a caller means by a path."""

from collections.abc import Sequence
from typing import Final

from codebase_index.api.job import EMPTY, UNREADABLE, VANISHED
from codebase_index.store.catalog.indexes import IndexRow
from codebase_index.store.ingest.work import Work
from codebase_index.store.query.files import FileRow, FileSnapshot
from codebase_index.store.query.filters import Filters
from codebase_index.untrusted_text import line, named, parts_of_shown, quoted
from codebase_mcp.errors import UserError
from codebase_mcp.selection.paths import as_stored, exactly
from codebase_mcp.selection.repositories import describe_indexes, inside, repo_of

MAX_SIMILAR: Final = 20
"""Files of the same name that are considered where the path is not one of an index."""

_MAX_SHOWN: Final = 5

_INSTEAD: Final = {
    UNREADABLE: "give the user of the indexer the right to read it, and index again",
    EMPTY: "there is nothing to read",
}
"""What to do about a file that was left out, by the reason."""


class FileLookup:
    """Finds files by paths as callers write them."""

    def __init__(self, work: Work) -> None:
        self._work = work

    async def find(
        self, snapshot: FileSnapshot, indexes: Sequence[IndexRow], path: str
    ) -> tuple[FileRow, str | None]:
        """Return the file, and a note where its path is another than the one given. Raises UserError.

        A path that no index has may be longer or shorter at its beginning, as in a checkout or within a package.
        """
        held, rest = inside(indexes, as_stored(path))
        indexes, wanted = held or indexes, rest.strip("/")
        ids = [index.id for index in indexes]
        # As it is written first: a file's name may hold what a path as people write it means otherwise.
        found = await snapshot.at_path(ids, path) or await snapshot.at_path(ids, wanted)
        found = found or await self._shown_as(snapshot, ids, path)
        note = None
        if not found:
            similar = await snapshot.called(ids, wanted.rpartition("/")[2], MAX_SIMILAR)
            same = {other for _, other in similar if is_same_tail(other, wanted)}
            if len(same) != 1:
                paths = list(dict.fromkeys(other for _, other in similar))
                raise await self._not_found(snapshot, indexes, wanted, paths)
            (stored,) = same
            found = await snapshot.at_path(ids, stored)
            note = f"No file is at {quoted(wanted)}; this is {quoted(stored)}"
        if len(found) > 1:
            held = [index for index in indexes if index.id in {file.index_id for file in found}]
            raise UserError(
                f"ambiguous: {quoted(found[0].path)} is in {describe_indexes(held)}; give one of them as repo",
                repo=repo_of(held[0]),
            )
        return found[0], note

    async def _shown_as(self, snapshot: FileSnapshot, ids: Sequence[int], path: str) -> list[FileRow]:
        """Return the files whose path an answer shows like this, with characters that nobody sees escaped."""
        first, *others = parts = parts_of_shown(path)
        if others:
            likely = await snapshot.paths(ids, Filters(path=exactly(parts)), MAX_SIMILAR)
            first = next((stored for _, stored in likely if line(stored) == path), first)
        return await snapshot.at_path(ids, first) if first != path else []

    async def _not_found(
        self, snapshot: FileSnapshot, indexes: Sequence[IndexRow], path: str, similar: Sequence[str]
    ) -> UserError:
        where = f"the index of {describe_indexes(indexes)}" if len(indexes) == 1 else "any index"
        problem = f"not found: no file {quoted(path)} in {where}"
        if await snapshot.is_folder([index.id for index in indexes], path):
            return UserError(
                f"{problem}: it is a folder; list_files with path={quoted(path + '/')} shows its files"
            )
        for index in indexes:
            reason = await self._work.skip_reason(index.job_id, path) if index.job_id else None
            if reason == VANISHED:
                problem += ": it was gone when the repository was indexed last"
            elif reason:
                instead = _INSTEAD.get(reason, "read it from a checkout")
                return UserError(f"{problem}: it was left out ({reason}); {instead}")
        if similar:
            shown = ", ".join(map(named, similar[:_MAX_SHOWN]))
            return UserError(f"{problem}; files of this name are {shown}; give one of these", path=similar[0])
        return UserError(f"{problem}; list_files shows which there are, and search_code finds them by content")


def is_same_tail(stored: str, wanted: str) -> bool:
    """Say whether one of two paths ends with the other."""
    return f"/{stored}".endswith(f"/{wanted}") or f"/{wanted}".endswith(f"/{stored}")
