"""mode=auto: the best places by meaning and by words."""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from codebase_index import untrusted_text
from codebase_index.embedding import Embedder
from codebase_index.lexical.words import terms
from codebase_index.store.catalog.indexes import IndexRow
from codebase_index.store.query.hybrid_search import Candidate, CandidateSet, Search
from codebase_mcp.limits.fair_semaphore import Permit
from codebase_mcp.models import SearchResult
from codebase_mcp.ranking.query import Query
from codebase_mcp.ranking.ranking import Ranked, rank
from codebase_mcp.search.budget import shares
from codebase_mcp.search.cursor import Cursor
from codebase_mcp.search.excerpt import excerpt
from codebase_mcp.search.page import Hit, Page, joined
from codebase_mcp.search.query_vectors.query_embedding import Embedded, QueryEmbedding
from codebase_mcp.search.repositories import listed, sources_of
from codebase_mcp.search.request import SearchRequest

CANDIDATES_OF_EACH_ARM: Final = 70
"""Each costs the server CPU time, and between 50 and 140 the quality is the same within noise."""

MAX_MODELS: Final = 4
"""Models that a query is embedded by, those of the most chunks first: each is a vector arm of its own."""


class RankedPages:
    """Answers from both arms of the store. What a vector arm is missing for is found by its words, and told.

    `embedder_of` gives the embedder for a model's name; it is asked once for each model.
    """

    def __init__(self, search: Search, embedder_of: Callable[[str], Embedder]) -> None:
        self._search = search
        self._embedding = QueryEmbedding(embedder_of)

    def close(self) -> None:
        """Stop the embedding threads."""
        self._embedding.close()

    async def page(
        self, request: SearchRequest, searched: Sequence[IndexRow], cursor: Cursor, permit: Permit
    ) -> Page:
        """Return the next best places after the cursor's offset, of as many as the arms find."""
        query, ids = Query.of(request.query), [index.id for index in searched]
        models = _models(searched)
        embedded = await self._embedding.embed(
            list(models)[:MAX_MODELS], request.query, permit.lend, permit.caller
        )
        found = await self._search.candidates(
            ids, vectors={model: query.vector for model, query in embedded.vectors.items()},
            terms=list(dict.fromkeys(terms(request.query))), names=query.target_names, filters=request.filters,
            limit=CANDIDATES_OF_EACH_ARM,
        )  # fmt: skip
        ranked = rank(request.query, _comparable(found, embedded), cursor.offset + request.limit)[cursor.offset :]
        results = _results(ranked, sources_of(searched), query.terms)
        hits = [
            Hit(result, replace(cursor, offset=number), r.candidate)
            for number, (r, result) in enumerate(zip(ranked, results, strict=True), start=cursor.offset + 1)
        ]
        more = hits and cursor.offset + len(hits) < len(found.candidates)
        missing = joined(*_missing(models, embedded, found, searched))
        return Page(hits, hits[-1].after if more else None, missing, joined(request.no_match, missing))


def _models(searched: Sequence[IndexRow]) -> dict[str, set[int]]:
    """Return the models that indexes have vectors of, and which indexes: those of the most chunks first."""
    chunks: Counter[str] = Counter()
    having: dict[str, set[int]] = defaultdict(set)
    for index in searched:
        chunks.update(index.models)
        for model in index.models:
            having[model].add(index.id)
    return {model: having[model] for model in sorted(having, key=lambda model: (-chunks[model], model))}


def _comparable(found: CandidateSet, embedded: Embedded) -> list[Candidate]:
    """Return the candidates with vector scores that can be compared, whichever models they are by."""
    vectors = embedded.vectors
    if len(vectors) <= 1:
        return found.candidates
    return [
        c if c.vector_score is None or c.model is None
        else c._replace(vector_score=vectors[c.model].comparable(c.vector_score))
        for c in found.candidates
    ]  # fmt: skip


def _missing(
    models: Mapping[str, Collection[int]], embedded: Embedded, found: CandidateSet, searched: Sequence[IndexRow]
) -> Iterator[str]:
    """Say for each model that has no vector arm where that is missing, why, and what to do."""
    for number, (model, having) in enumerate(models.items()):
        where = listed([index for index in searched if index.id in having])
        if len(having) == len(searched):
            where = "what was searched" if len(searched) > 1 else where
        words_alone = f"The search by meaning is missing for {where}, whose results come from words alone: "
        if model in embedded.missing:
            yield words_alone + untrusted_text.line(embedded.missing[model].reason)  # services' words are in it
        elif number >= MAX_MODELS:
            yield (
                words_alone
                + f"{len(models)} models are indexed and {MAX_MODELS} are asked; name repositories in repo"
            )
        elif model in found.incomparable:
            yield words_alone + (
                f"the model {model} gives vectors of another length than the index has; bring back the model that "
                "was behind this name, or index again with force_reindex"
            )


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
