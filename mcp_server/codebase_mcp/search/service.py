"""The search service: which indexes are meant, a page of what the mode finds in them, and what is said of both."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final, Protocol

from codebase_index.embedding import Embedder
from codebase_index.store.catalog.indexes import Indexes, IndexRow
from codebase_index.store.database import Database
from codebase_index.store.query.hybrid_search import Search
from codebase_index.store.query.symbol_search import SymbolSearch
from codebase_index.store.query.text_search import TextSearch
from codebase_mcp.errors import UserError
from codebase_mcp.limits.fair_semaphore import FairSemaphore, Overloaded, Permit
from codebase_mcp.models import SearchAnswer, SearchResult
from codebase_mcp.search.cursor import Cursor, decode, digest
from codebase_mcp.search.modes.auto import RankedPages
from codebase_mcp.search.modes.symbol import SymbolPages
from codebase_mcp.search.modes.text import TextPages
from codebase_mcp.search.page import CHANGED, Hit, Page, joined
from codebase_mcp.search.repositories import LISTED_INDEXES, chosen, freshness, percent_of, state_of
from codebase_mcp.search.request import Mode, SearchRequest

SEARCH_PATIENCE_SECONDS = 8.0
"""Bound of a whole search, well below the shortest limit of any client (30 s)."""

RANKED_AT_ONCE: Final = 2
"""Of mode auto: one computes while the other waits for the database. Further ones wait for a turn: side by side,
each would take as long as all of them."""

LOOKED_UP_AT_ONCE: Final = 2
"""Of the other modes, whose work is the database's: regular expressions that take all the time that they may have
hold up no question. Both together have half of the database's connections, so that the other tools find one."""

CONTEXT_CHARACTERS: Final = 800


class Pages(Protocol):
    """A way to search."""

    async def page(
        self, request: SearchRequest, searched: Sequence[IndexRow], cursor: Cursor, permit: Permit, /
    ) -> Page:
        """Return the results after the cursor, at most `request.limit`; lend the turn while waiting for others."""


class SearchService:
    """Answers queries. Raises UserError and StoreUnavailable."""

    def __init__(
        self,
        indexes: Indexes,
        search: Search,
        symbols: SymbolSearch,
        text: TextSearch,
        embedder_of: Callable[[str], Embedder],
    ) -> None:
        self._indexes = indexes
        self._search = search
        lookups = FairSemaphore(LOOKED_UP_AT_ONCE)
        self._semaphores: dict[Mode, FairSemaphore] = {
            "auto": FairSemaphore(RANKED_AT_ONCE), "symbol": lookups, "text": lookups, "regex": lookups,
        }  # fmt: skip
        self._ranked = RankedPages(search, embedder_of)
        lines = TextPages(text)
        self._pages: dict[Mode, Pages] = {
            "auto": self._ranked, "symbol": SymbolPages(symbols, lines), "text": lines, "regex": lines,
        }  # fmt: skip

    @classmethod
    def over(
        cls, database: Database, embedder_of: Callable[[str], Embedder], namespaces: Sequence[str] | None = None
    ) -> "SearchService":
        """Return the service over the indexes of some namespaces of a database; None: of all.

        `embedder_of` gives the embedder for a model's name.
        """
        indexes = Indexes(database, namespaces)
        return cls(indexes, Search(database), SymbolSearch(database), TextSearch(database), embedder_of)

    def close(self) -> None:
        """Stop the embedding thread."""
        self._ranked.close()

    async def search(self, request: SearchRequest, caller: str = "") -> SearchAnswer:
        """Return the best places for a query, and which state of the code they are from.

        Callers who ask at the same time have equal shares.
        """
        try:
            async with (
                asyncio.timeout(SEARCH_PATIENCE_SECONDS),
                self._semaphores[request.mode].permit(caller) as permit,
            ):
                return await self._answer(request, permit)
        except Overloaded as busy:
            raise UserError(
                f"busy: more searches wait than this server can answer in time, {busy.waiting} of them yours; try "
                f"again in {busy.retry_seconds} s, with fewer at once"
            ) from busy
        except TimeoutError as error:
            raise UserError(
                f"unavailable: the search did not end within {SEARCH_PATIENCE_SECONDS:g} s; the database may be "
                "busy with indexing, or many search at once; try again in a minute, or narrow it with repo, path "
                "or language"
            ) from error

    async def _answer(self, request: SearchRequest, permit: Permit) -> SearchAnswer:
        searched = chosen(await self._indexes.list(), request.repos)
        cursor = _cursor(request, searched)
        now = replace(cursor, state=_state(searched))
        page = await self._pages[request.mode].page(request, searched, now, permit) if searched else Page([], None)
        if request.detail == "full":
            page = replace(page, hits=await self._in_full(page.hits))
        page = page.within_budget()
        changed = CHANGED if cursor.state != now.state else None
        message = page.note if page.hits else await self._why_nothing(request, searched, page)
        return answer(page, searched, joined(message, changed))

    async def _in_full(self, hits: Sequence[Hit]) -> list[Hit]:
        """Show the whole chunks, and what stands around them.

        From the neighbouring chunks in the index, never from the disk: it shows the state that was searched.
        """
        around = await self._search.neighbours([hit.chunk.id for hit in hits])
        full = []
        for hit in hits:
            before, after = around.get(hit.chunk.id, (None, None))
            shown = {
                "text": hit.chunk.text, "text_start_line": hit.chunk.start_line,
                "context_before": before[-CONTEXT_CHARACTERS:] if before else None,
                "context_after": after[:CONTEXT_CHARACTERS] if after else None,
            }  # fmt: skip
            full.append(replace(hit, result=hit.result.model_copy(update=shown)))
        return full

    async def _why_nothing(self, request: SearchRequest, searched: Sequence[IndexRow], page: Page) -> str:
        if not searched:
            return "Nothing is indexed yet; index a repository with start_indexing_background, then search again"
        busy = [index for index in searched if state_of(index) == "indexing"]
        if await self._search.has_files([index.id for index in searched]):
            if request.cursor and not page.end:
                return "There are no more results"
            still = "; indexing is still under way, so search again when it has ended" if busy else ""
            return (page.nothing or request.no_match) + still
        if busy:
            return (
                f"Nothing is stored yet: indexing is at {percent_of(busy[0])} %; search again in a few seconds, "
                "results appear while it runs"
            )
        return (
            "The index is empty: its last job ended before it stored anything; get_indexing_status says why; "
            "start_indexing_background starts again"
        )


def _cursor(request: SearchRequest, searched: Sequence[IndexRow]) -> Cursor:
    """Return where to begin. Raises UserError for a cursor that is none, or that points elsewhere."""
    if request.cursor is None:
        return Cursor(request.identity, _state(searched))
    cursor = decode(request.cursor, request.identity)
    if cursor.place and cursor.place.index_id not in {index.id for index in searched}:
        raise UserError(
            "validation: cursor points into an index that is gone or no longer searched; leave cursor out to "
            "begin anew"
        )
    return cursor


def _state(searched: Sequence[IndexRow]) -> str:
    """A digest of what the indexes hold: each committed batch of a job changes it, and so does its end."""
    return digest(*((i.id, i.indexed_at, i.job_id, i.job_state, i.job_files_done) for i in searched))


def answer(page: Page, searched: Sequence[IndexRow], message: str | None) -> SearchAnswer:
    """Put an answer together."""
    results: list[SearchResult] = [hit.result for hit in page.hits]
    found = {result.repository for result in results}
    shown = sorted(searched, key=lambda index: index.source not in found)[:LISTED_INDEXES]  # stable
    indexes = [freshness(index) for index in shown]
    only = indexes[0] if len(searched) == 1 else None
    return SearchAnswer(
        results=results, message=message, next_cursor=page.end.encode() if page.end else None,
        repository=only.repository if only else None, commit=only.commit if only else None,
        indexed_at=only.indexed_at if only else None, index_state=only.state if only else None,
        index_percent_complete=only.percent_complete if only else None, indexes=indexes,
        indexes_searched=len(searched),
    )  # fmt: skip
