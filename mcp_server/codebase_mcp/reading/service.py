"""The reading service: code of files, lists of files and of repositories, from the indexes."""

import contextlib
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

from codebase_index.api.source_policy import SourcePolicy
from codebase_index.store.database import Database
from codebase_index.store.ingest.work import Work
from codebase_index.store.query.files import Files, FileSnapshot
from codebase_index.store.query.filters import Filters
from codebase_index.untrusted_text import quoted
from codebase_mcp.errors import NotIndexed, UserError
from codebase_mcp.freshness.own import OwnRepositories
from codebase_mcp.identity.access import VisibleIndexes
from codebase_mcp.limits.admission import admit
from codebase_mcp.limits.fair_semaphore import FairSemaphore
from codebase_mcp.reading.answers import FileList, ReadAnswer, RepositoryList
from codebase_mcp.reading.definitions import read_outline, read_symbol
from codebase_mcp.reading.file_lookup import FileLookup
from codebase_mcp.reading.listing import describe_repository, list_files
from codebase_mcp.reading.reader import read_lines
from codebase_mcp.reading.requests import ListFilesRequest, ListRepositoriesRequest, ReadRequest
from codebase_mcp.selection import folders
from codebase_mcp.selection.paths import lines_of
from codebase_mcp.selection.scope import Scope, scopes_of

TIMEOUT_SECONDS: Final = 8.0
"""Timeout of a whole call, as that of a search."""

MAX_CONCURRENT: Final = 2
"""Calls at once, with permits of their own: listing a large repository must not delay a search."""

_NOTHING: Final = "nothing is indexed yet; index a repository with start_indexing_background"


class ReadingService:
    """Reads and lists what indexes hold. Raises UserError and StoreUnavailable."""

    def __init__(self, indexes: VisibleIndexes, files: Files, work: Work, own: OwnRepositories) -> None:
        self._indexes, self._files, self._own = indexes, files, own
        self._lookup = FileLookup(work)
        self._semaphore = FairSemaphore(MAX_CONCURRENT)

    @classmethod
    def from_database(
        cls, database: Database, indexes: VisibleIndexes, own: OwnRepositories | None = None
    ) -> "ReadingService":
        """Return the service for the visible indexes of a database."""
        own = own or OwnRepositories(SourcePolicy())
        return cls(indexes, Files(database), Work(database), own)

    async def read(self, request: ReadRequest, caller: str = "") -> ReadAnswer:
        """Return definitions, lines of a file or its outline, as much as fits an answer."""
        async with self._admitted(caller, "ask for fewer lines"):
            *nearer, last = await self._scopes(request.repos)
            async with self._files.snapshot() as snapshot:
                for scope in nearer:
                    with contextlib.suppress(UserError):  # the others may have it; the last one's error is all's
                        return await self._read(snapshot, scope, request)
                return await self._read(snapshot, last, request)

    async def _read(self, snapshot: FileSnapshot, scope: Scope, request: ReadRequest) -> ReadAnswer:
        if request.symbol and not request.outline:
            answer = await self._read_symbol(snapshot, scope, request.symbol, request.path)
        elif request.path:
            answer = await self._read_file(snapshot, scope, request, request.path)
        else:
            raise UserError("validation: neither path nor symbol is given", path="<path of a file>")
        return answer.with_notes(scope.notes)

    async def _read_file(
        self, snapshot: FileSnapshot, scope: Scope, request: ReadRequest, path: str
    ) -> ReadAnswer:
        file, note = await self._lookup.find(snapshot, scope.indexes, path)
        read = read_outline if request.outline else read_lines
        first, last = request.start_line, request.end_line
        if (first, last) == (1, None) and file.path != path:
            first, last = lines_of(path) or (first, last)
        answer = await read(snapshot, scope.indexes, file, first, last)
        return answer.with_notes([note] if note else [])

    async def _read_symbol(
        self, snapshot: FileSnapshot, scope: Scope, symbol: str, path: str | None
    ) -> ReadAnswer:
        notes: list[str] = []
        indexes, filters = scope.indexes, scope.filters
        if path:
            file, note = await self._lookup.find(snapshot, indexes, path)
            notes = [note] if note else []
            indexes = [index for index in indexes if index.id == file.index_id]
            filters = Filters(path=f"^{re.escape(file.path)}$")
        answer = await read_symbol(snapshot, indexes, filters, symbol)
        if answer is None:
            where = f" in {quoted(path)}" if path else ""
            raise UserError(
                f"not found: no definition of {quoted(symbol)} is indexed{where}; search_code shows uses "
                "with mode=symbol, and what resembles it with mode=auto"
            )
        return answer.with_notes(notes)

    async def list_files(self, request: ListFilesRequest, caller: str = "") -> FileList:
        """Return the files that match, by path: a page of them, or all as a tree."""
        async with self._admitted(caller, "narrow it with repo or path"):
            scopes = await self._scopes(request.repos, request.paths, request.languages)
            async with self._files.snapshot() as snapshot:
                for scope in scopes:
                    answer = await list_files(snapshot, scope, request)
                    if answer.total_count:
                        break
        return answer.with_notes(scope.notes)

    async def list_repositories(self, request: ListRepositoriesRequest, caller: str = "") -> RepositoryList:
        """Return the indexed repositories, by path or URL and ref."""
        part = (request.part or "").lower()
        async with self._admitted(caller, "ask for fewer with limit"):
            indexes = await self._indexes.list()
            matching = [i for i in indexes if part in i.source.lower() or part in (i.name or "").lower()]
            page = matching[request.offset : request.offset + request.limit]
            async with self._files.snapshot() as snapshot:
                file_counts = await snapshot.file_counts([index.id for index in page], Filters())
        end = request.offset + len(page)
        with_names = self._indexes.are_named
        none_named = f"None of the {len(indexes)} indexed has {quoted(part)} in its path, URL or name"
        return RepositoryList(
            repositories=[describe_repository(index, file_counts, with_name=with_names) for index in page],
            total_count=len(matching),
            message=None if matching else none_named if indexes else _NOTHING.capitalize(),
            next_offset=end if page and end < len(matching) else None,
        )

    async def _scopes(
        self, repos: Sequence[str], paths: Sequence[str] = (), languages: Sequence[str] = ()
    ) -> list[Scope]:
        """Return the scopes to try: the caller's own repositories first, where none is named."""
        indexes = await self._indexes.list()
        if not indexes:
            raise NotIndexed(f"{_NOTHING}, then ask again")
        own = await self._own.of(folders.current(), indexes)
        return scopes_of(indexes, repos, paths, languages, own)

    @asynccontextmanager
    async def _admitted(self, caller: str, narrower: str) -> AsyncIterator[None]:
        async with admit(
            self._semaphore, caller, seconds=TIMEOUT_SECONDS, what=("call", "calls"), narrower=narrower
        ):
            yield
