"""mode=auto: the best places by meaning and by words."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Final

from codebase_index.embedding import Embedder, Vectors, is_slow
from codebase_index.store.indexes import IndexRow
from codebase_index.store.search import Candidate, Search
from codebase_index.text import terms
from codebase_mcp.budget import shares
from codebase_mcp.cursor import Cursor
from codebase_mcp.excerpt import excerpt
from codebase_mcp.models import SearchResult
from codebase_mcp.pages import Hit, Page
from codebase_mcp.query import Query
from codebase_mcp.ranking import Ranked, rank
from codebase_mcp.repositories import sources_of
from codebase_mcp.request import SearchRequest

CANDIDATES_OF_EACH_ARM: Final = 70
"""Between 50 and 140 nDCG@10 differs by a hundredth, up and down; each costs the server 50 microseconds."""


class RankedPages:
    """Answers from both arms of the store. Raises EmbeddingUnavailable.

    `embedder_of` gives the embedder for a model's name; it is asked once for each model.
    """

    def __init__(self, search: Search, embedder_of: Callable[[str], Embedder]) -> None:
        self._search = search
        self._embedder_of = embedder_of
        self._embedders: dict[str, Embedder] = {}
        # One thread: embedders are not safe for several at once, and a query takes a millisecond.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="embed")

    def close(self) -> None:
        """Stop the embedding thread."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def page(self, request: SearchRequest, searched: Sequence[IndexRow], cursor: Cursor) -> Page:
        """Return the next best places after the cursor's offset, of as many as the arms find."""
        query = Query.of(request.query)
        found = await self._candidates(request, query, searched)
        ranked = rank(request.query, found, cursor.offset + request.limit)[cursor.offset :]
        results = _results(ranked, sources_of(searched), query.terms)
        hits = [
            Hit(result, replace(cursor, offset=number), r.candidate)
            for number, (r, result) in enumerate(zip(ranked, results, strict=True), start=cursor.offset + 1)
        ]
        more = hits and cursor.offset + len(hits) < len(found)
        return Page(hits, hits[-1].after if more else None)

    async def _candidates(
        self, request: SearchRequest, query: Query, searched: Sequence[IndexRow]
    ) -> list[Candidate]:
        of_model: dict[str, list[int]] = defaultdict(list)
        for index in searched:
            if index.model is not None:  # else nothing is stored in it yet
                of_model[index.model].append(index.id)
        found: list[Candidate] = []
        asked = list(dict.fromkeys(terms(request.query)))
        for model, ids in of_model.items():
            found += await self._search.candidates(
                ids, model=model, vector=await self._embed(model, request.query), terms=asked,
                names=query.sought, filters=request.filters, limit=CANDIDATES_OF_EACH_ARM,
            )  # fmt: skip
        return found

    async def _embed(self, model: str, query: str) -> Vectors:
        def embed() -> Vectors:
            if model not in self._embedders:
                self._embedders[model] = self._embedder_of(model)
            return self._embedders[model].embed_query(query)

        if model in self._embedders and not is_slow(self._embedders[model]):
            return embed()
        return await asyncio.get_running_loop().run_in_executor(self._thread, embed)


def _results(
    ranked: Sequence[Ranked], sources: Mapping[int, str | None], asked: frozenset[str]
) -> list[SearchResult]:
    """Describe candidates, each with as much of its text as it has a share of the answer."""
    whole = [
        SearchResult(
            repository=sources[c.index_id], path=c.path, start_line=c.start_line, end_line=c.end_line,
            symbol=c.symbol, language=c.language, score=round(r.score, 3), text=c.text,
            text_start_line=c.start_line,
        )
        for r in ranked
        for c in (r.candidate,)
    ]  # fmt: skip
    results = []
    for result, room in zip(whole, shares(whole), strict=True):
        first, text = excerpt(result.text, asked, room)
        results.append(result.model_copy(update={"text": text, "text_start_line": result.start_line + first}))
    return results
