"""The search service: selects the indexes, asks the mode for a page of results, and builds the answer."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol
from uuid import UUID

from codebase_index.api.source_policy import SourcePolicy
from codebase_index.embedding import Embedder
from codebase_index.store.catalog.indexes import IndexRow
from codebase_index.store.database import Database
from codebase_index.store.query.definitions import DefinitionSearch
from codebase_index.store.query.filters import Filters
from codebase_index.store.query.hybrid_search import Search
from codebase_index.store.query.symbol_search import SymbolSearch
from codebase_index.store.query.text_search import TextSearch
from codebase_mcp import metrics
from codebase_mcp.errors import NotIndexed, UserError
from codebase_mcp.freshness.own import OwnRepositories
from codebase_mcp.freshness.standing import Freshness, NotIndexedYet, Standing
from codebase_mcp.freshness.working_tree import Newer
from codebase_mcp.freshness.working_trees import WorkingTrees
from codebase_mcp.identity.access import VisibleIndexes
from codebase_mcp.limits.admission import admit
from codebase_mcp.limits.fair_semaphore import FairSemaphore, Permit
from codebase_mcp.search.answers import SearchAnswer, SearchResult
from codebase_mcp.search.cursor import Cursor, decode, digest
from codebase_mcp.search.excerpt import first_lines, last_lines
from codebase_mcp.search.modes.auto import AutoMode
from codebase_mcp.search.modes.symbol import SymbolMode
from codebase_mcp.search.modes.text import TextMode
from codebase_mcp.search.page import INDEX_CHANGED, Hit, Page, join_sentences
from codebase_mcp.search.repositories import (
    MAX_LISTED_INCOMPLETE,
    MAX_LISTED_INDEXES,
    index_status,
    percent_of,
    state_of,
)
from codebase_mcp.search.request import Mode, SearchRequest
from codebase_mcp.selection import folders
from codebase_mcp.selection.repositories import describe_indexes
from codebase_mcp.selection.scope import Scope, scopes_of

SEARCH_TIMEOUT_SECONDS = 8.0
"""Timeout of a whole search, well below the shortest one of any client (30 s)."""

STANDING_TIMEOUT_SECONDS = 4.0
"""How long an answer that is ready waits for what is said of the files beside the index."""

MAX_CONCURRENT_RANKINGS: Final = 2
"""Searches of mode auto at once: one computes while the other waits for the database. Further ones wait for a
permit: side by side, each would take as long as all of them."""

MAX_CONCURRENT_LOOKUPS: Final = 2
"""Searches of the other modes at once. They have permits of their own, so that slow regular expressions delay no
question. All together use half of the database connections and leave the rest to the other tools."""

CONTEXT_CHARACTERS: Final = 800

SEARCH_AGAIN: Final = "Search again in a few seconds"


class SearchMode(Protocol):
    """A mode of search_code."""

    async def page(
        self, request: SearchRequest, indexes: Sequence[IndexRow], cursor: Cursor, permit: Permit, /
    ) -> Page:
        """Return at most `request.limit` results after the cursor; lend the permit while waiting for others."""


@dataclass(frozen=True)
class _Found:
    """What was found in a scope. `changed` says so if the index is another than at the page before."""

    scope: Scope
    page: Page
    message: str | None
    changed: str | None

    @property
    def has_hits(self) -> bool:
        return bool(self.page.hits)

    @property
    def listed(self) -> list[IndexRow]:
        """The indexes that the answer describes."""
        return listed_indexes(self.page, self.scope.indexes)


class SearchService:
    """Answers queries. Raises UserError and StoreUnavailable."""

    def __init__(
        self,
        indexes: VisibleIndexes,
        search: Search,
        symbols: SymbolSearch,
        text: TextSearch,
        definitions: DefinitionSearch,
        open_embedder: Callable[[str], Embedder],
        freshness: Freshness,
    ) -> None:
        self._indexes = indexes
        self._freshness = freshness
        self._search = search
        lookups = FairSemaphore(MAX_CONCURRENT_LOOKUPS)
        self._semaphores: dict[Mode, FairSemaphore] = {
            "auto": FairSemaphore(MAX_CONCURRENT_RANKINGS), "symbol": lookups, "text": lookups, "regex": lookups,
        }  # fmt: skip
        self._auto = AutoMode(search, definitions, open_embedder)
        text_mode = TextMode(text, definitions)
        self._modes: dict[Mode, SearchMode] = {
            "auto": self._auto, "symbol": SymbolMode(symbols, text_mode), "text": text_mode, "regex": text_mode,
        }  # fmt: skip

    @classmethod
    def from_database(
        cls, database: Database, open_embedder: Callable[[str], Embedder], indexes: VisibleIndexes,
        policy: SourcePolicy = SourcePolicy(),  # noqa: B008 - frozen
        freshness: Freshness | None = None,
    ) -> "SearchService":  # fmt: skip
        """Return the service for the visible indexes of a database.

        `open_embedder` opens the embedder of a model by name; `policy` says where local repositories lie, for a
        `freshness` that starts nothing.
        """
        freshness = freshness or Freshness(OwnRepositories(policy), WorkingTrees(policy, indexes.files))
        return cls(
            indexes, Search(database), SymbolSearch(database), TextSearch(database), DefinitionSearch(database),
            open_embedder, freshness,
        )  # fmt: skip

    def close(self) -> None:
        """Stop the embedding threads, and what goes on in the background."""
        self._auto.close()
        self._freshness.close()

    async def search(self, request: SearchRequest, caller: str = "") -> SearchAnswer:
        """Return the best places for a query, and which state of the code they are from.

        Without repos, the caller's own come first. One that nobody has indexed is, and waited for; so is a job
        that is under way where nothing was found. Concurrent callers have equal shares.
        """
        refresher = self._freshness.refresher
        try:
            answer, jobs = await self._answer(request, await self._found(request, caller))
        except NotIndexedYet as missing:
            begun = await missing.refresher.first_indexes(missing.sources, caller)
            found = await self._found(request, caller, may_miss=True)
            answer, _ = await self._answer(request, found, begun)
        else:
            if not answer.results and jobs and refresher is not None and not request.cursor:
                await refresher.wait(jobs)
                answer, _ = await self._answer(request, await self._found(request, caller))
        return answer

    async def _found(self, request: SearchRequest, caller: str, *, may_miss: bool = False) -> Sequence["_Found"]:
        """Search with a permit; nobody waits for a look or a job with one. Return what each scope tried has.

        Raises NotIndexedYet, unless a repository `may_miss`.
        """
        permission = admit(
            self._semaphores[request.mode], caller, seconds=SEARCH_TIMEOUT_SECONDS, what=("search", "searches"),
            narrower="narrow the search with repo, path or language",
        )  # fmt: skip
        with metrics.SEARCH_SECONDS.labels(request.mode).time():
            async with permission as permit:
                tried = []
                for scope in await self._scopes(request, may_miss):
                    tried.append(await self._page(request, scope, permit))
                    if tried[-1].has_hits:
                        break
                return tried

    async def _scopes(self, request: SearchRequest, may_miss: bool) -> Sequence[Scope]:
        request.check()
        every = await self._indexes.list()
        own = await self._freshness.own(request.repos, folders.current(), every, may_miss=may_miss)
        try:
            scopes = scopes_of(every, request.repos, request.paths, request.languages, own)
        except NotIndexed:
            if not may_miss:
                raise
            scopes = [Scope([], Filters())]  # what was just begun has stored nothing yet
        return scopes_from(request, scopes)

    async def _page(self, request: SearchRequest, scope: Scope, permit: Permit) -> "_Found":
        """Return what a scope has."""
        request, indexes = replace(request, filters=scope.filters), scope.indexes
        cursor = _cursor(request, indexes)
        now = replace(cursor, state=digest_of(indexes))
        page = await self._modes[request.mode].page(request, indexes, now, permit) if indexes else Page([], None)
        if request.detail == "full":
            page = replace(page, hits=await self._with_context(page.hits))
        hits = [replace(hit, result=hit.result.with_cut(hit.chunk.end_line)) for hit in page.hits]
        page = replace(page, hits=hits).within_budget()
        message = page.note if page.hits else await self._explain_no_results(request, indexes, page)
        return _Found(scope, page, message, INDEX_CHANGED if cursor.state != now.state else None)

    async def _answer(
        self, request: SearchRequest, tried: Sequence["_Found"], begun: Sequence[str] = ()
    ) -> tuple[SearchAnswer, Sequence[UUID]]:
        """Return the answer of the last scope, and the jobs that are changing what was searched.

        `begun` says which repositories are indexed for the first time.
        """
        found = tried[-1]
        standing = await self._standing(tried)
        message = join_sentences(found.message, standing.message, found.changed)
        answer = build_answer(found.page, found.scope.indexes, found.listed, standing.newer, message)
        answer = answer.with_notes([*found.scope.notes, *request.notes])
        if found.has_hits and len(tried) > 1 and not request.cursor:
            answer = answer.with_notes([f"nothing is found in {describe_indexes(tried[0].scope.indexes)}"])
        if begun and not found.scope.indexes:  # nothing but what was just begun
            answer = answer.model_copy(update={"message": join_sentences(*begun, SEARCH_AGAIN)})
        elif begun:
            answer = answer.with_notes(begun)
        return answer, standing.jobs

    async def _standing(self, tried: Sequence["_Found"]) -> Standing:
        """Return how the files stand to what was searched; nothing, where that takes too long."""
        searched = {index.id: index for one in tried for index in one.listed}
        found_at_once = len(tried) == 1 and tried[0].has_hits
        try:
            async with asyncio.timeout(STANDING_TIMEOUT_SECONDS):
                return await self._freshness.standing(list(searched.values()), found=found_at_once)
        except TimeoutError:
            return Standing()

    async def _with_context(self, hits: Sequence[Hit]) -> list[Hit]:
        """Show whole chunks with the text around them.

        That comes from the neighbouring chunks in the index, never from the disk: that state was searched.
        """
        context = await self._search.neighbours([hit.chunk.id for hit in hits])
        full = []
        for hit in hits:
            before, after = context.get(hit.chunk.id, (None, None))
            shown = {
                "text": hit.chunk.text, "text_start_line": hit.chunk.start_line,
                **_context("context_before", before and last_lines(*before, CONTEXT_CHARACTERS)),
                **_context("context_after", after and first_lines(*after, CONTEXT_CHARACTERS)),
            }  # fmt: skip
            full.append(replace(hit, result=hit.result.model_copy(update=shown)))
        return full

    async def _explain_no_results(self, request: SearchRequest, indexes: Sequence[IndexRow], page: Page) -> str:
        if not indexes:
            return "Nothing is indexed yet; index a repository with start_indexing_background, then search again"
        in_progress = [index for index in indexes if state_of(index) == "indexing"]
        if await self._search.has_files([index.id for index in indexes]):
            if request.cursor and not page.end:
                return "There are no more results"
            hint = "; indexing is still under way, so search again when it has ended" if in_progress else ""
            return (page.empty_note or request.no_match_message) + hint
        if in_progress:
            return (
                f"Nothing is stored yet: indexing is at {percent_of(in_progress[0])} %; search again in a few "
                "seconds, results appear while it runs"
            )
        return (
            "The index is empty: its last job ended before it stored anything; get_indexing_status says why; "
            "start_indexing_background starts again"
        )


def _context(name: str, lines: tuple[int, str] | None) -> dict[str, int | str | None]:
    first, text = lines or (None, None)
    return {name: text, f"{name}_start_line": first}


def scopes_from(request: SearchRequest, scopes: Sequence[Scope]) -> Sequence[Scope]:
    """Return the scopes to try: of a further page, that which the page before was of."""
    if request.cursor is None or len(scopes) == 1:
        return scopes
    cursor = decode(request.cursor, request.identity)
    nearest, every = scopes
    # What is neither of them is one of both as it was: all holds the places of either.
    return [nearest] if cursor.state.startswith(_which(nearest.indexes)) else [every]


def _cursor(request: SearchRequest, indexes: Sequence[IndexRow]) -> Cursor:
    """Return the position to start from. Raises UserError for a cursor that is malformed or of another search."""
    if request.cursor is None:
        return Cursor(request.identity, digest_of(indexes))
    cursor = decode(request.cursor, request.identity)
    if cursor.position and cursor.position.index_id not in {index.id for index in indexes}:
        raise UserError(
            "validation: cursor points into an index that was removed or is not searched; leave cursor out to "
            "start again"
        )
    return cursor


def _which(indexes: Sequence[IndexRow]) -> str:
    """Return a digest of which indexes these are, however they stand."""
    return digest(*(index.id for index in indexes))


def digest_of(indexes: Sequence[IndexRow]) -> str:
    """Return digests of which indexes these are and of their state: each committed batch of a job changes it, and
    so does its end.
    """
    how = ((i.id, i.indexed_at, i.job_id, i.job_state, i.job_files_done) for i in indexes)
    return _which(indexes) + digest(*how)


def build_answer(
    page: Page, indexes: Sequence[IndexRow], listed: Sequence[IndexRow], newer: Mapping[int, Newer],
    message: str | None,
) -> SearchAnswer:  # fmt: skip
    """Build the answer from a page; `listed` are the indexes that it describes."""
    results: list[SearchResult] = [hit.result for hit in page.hits]
    incomplete = [index for index in indexes if state_of(index) != "complete"]
    counts = {index_id: files.count for index_id, files in newer.items() if files.stamps}
    described = [index_status(index).model_copy(update={"files_newer": counts.get(index.id)}) for index in listed]
    only = described[0] if len(indexes) == 1 else None
    return SearchAnswer(
        results=results, message=message, next_cursor=page.end.encode() if page.end else None,
        repository=only.repository if only else None, commit=only.commit if only else None,
        indexed_at=only.indexed_at if only else None, index_state=only.state if only else None,
        index_percent_complete=only.percent_complete if only else None, indexes=described,
        indexes_searched=len(indexes), indexes_incomplete=len(incomplete),
    )  # fmt: skip


def listed_indexes(page: Page, indexes: Sequence[IndexRow]) -> list[IndexRow]:
    """Return the indexes that an answer describes: where results are from, and where some may be missing."""
    is_one = len({index.source for index in indexes}) == 1
    sources = {hit.result.repository for hit in page.hits}
    incomplete = [index for index in indexes if state_of(index) != "complete"]
    with_results = [index for index in indexes if is_one or index.source in sources]
    others = [index for index in incomplete if index not in with_results][:MAX_LISTED_INCOMPLETE]
    return [*with_results[:MAX_LISTED_INDEXES], *others]
