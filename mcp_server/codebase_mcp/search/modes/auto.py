"""mode=auto: the best places by meaning and by words, ranked."""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Final

from codebase_index import untrusted_text
from codebase_index.definitions import Definitions
from codebase_index.embedding import Embedder
from codebase_index.lexical.words import terms
from codebase_index.store.catalog.indexes import IndexRow
from codebase_index.store.query.definitions import DefinitionSearch
from codebase_index.store.query.hybrid_search import Candidate, CandidateSet, Search
from codebase_mcp.limits.fair_semaphore import Permit
from codebase_mcp.ranking.fit import BEST, FLOOR, fit, is_measured
from codebase_mcp.ranking.query import Query
from codebase_mcp.ranking.ranking import Ranked, rank
from codebase_mcp.search.answers import SearchResult
from codebase_mcp.search.budget import allot_characters
from codebase_mcp.search.cursor import Cursor
from codebase_mcp.search.excerpt import excerpt
from codebase_mcp.search.naming import named, older_index_note
from codebase_mcp.search.page import Hit, Page, join_sentences
from codebase_mcp.search.query_vectors.query_embedding import QueryEmbedder, QueryVectors
from codebase_mcp.search.repositories import result_sources
from codebase_mcp.search.request import SearchRequest
from codebase_mcp.selection.repositories import describe_indexes

CANDIDATES_PER_ARM: Final = 70
"""Each costs the server CPU time, and between 50 and 140 the quality is the same within noise."""

FEW_DISTINCT: Final = 1.5
"""Candidates for each different text, above which more are asked for: the refs of a repository repeat its code."""

MAX_COPIES: Final = 4
"""How many times as many are asked for at most."""

MAX_LISTED_COPIES: Final = 5
"""Further places of the same code that a result names; the others are counted."""

_DOUBT: Final = (
    "Perhaps nothing fits: the nearest places have few of the query's words and little of its meaning (below "
    f"{FLOOR}); use words or names that occur in the code, or mode=text for a literal"
)

MAX_MODELS: Final = 4
"""Models that embed a query, those with the most chunks first: each is a vector arm of its own."""


class AutoMode:
    """Searches with both arms of the store. Chunks whose vector arm is missing are found by words, with a note.

    `open_embedder` opens the embedder of a model by name, once for each model.
    """

    def __init__(
        self, search: Search, definitions: DefinitionSearch, open_embedder: Callable[[str], Embedder]
    ) -> None:
        self._search, self._definitions = search, definitions
        self._query_embedder = QueryEmbedder(open_embedder)

    def close(self) -> None:
        """Stop the embedding threads."""
        self._query_embedder.close()

    async def page(
        self, request: SearchRequest, indexes: Sequence[IndexRow], cursor: Cursor, permit: Permit
    ) -> Page:
        """Return the candidates after the cursor's offset, best first."""
        query, ids = Query.of(request.query), [index.id for index in indexes]
        models = _models(indexes)
        query_vectors = await self._query_embedder.embed(
            list(models)[:MAX_MODELS], request.query, permit.lend, permit.caller
        )
        found = await self._candidates(request, ids, query, query_vectors)
        end = cursor.offset + request.limit
        ranked = rank(query, _with_comparable_scores(found, query_vectors), end + 1)
        scale, is_fit = _scale(query, ranked, found)
        more, ranked = len(ranked) > end, ranked[cursor.offset : end]
        chunk_ids = [r.candidate.id for r in ranked]
        definitions = await self._definitions.of_chunks(chunk_ids)
        results = _results(ranked, scale, indexes, query.terms, definitions)
        hits = [
            Hit(result, replace(cursor, offset=number), r.candidate)
            for number, (r, result) in enumerate(zip(ranked, results, strict=True), start=cursor.offset + 1)
        ]
        missing = join_sentences(
            *_missing_arm_notes(models, query_vectors, found, indexes), older_index_note(definitions, chunk_ids)
        )
        doubt = None if is_fit or missing else _DOUBT
        return Page(
            hits, hits[-1].after if hits and more else None, join_sentences(missing, doubt),
            join_sentences(request.no_match_message, missing),
        )  # fmt: skip

    async def _candidates(
        self, request: SearchRequest, ids: Sequence[int], query: Query, query_vectors: QueryVectors
    ) -> CandidateSet:
        """Return the candidates. Where copies of the same code take the places of other code, ask for more."""
        find = partial(
            self._search.candidates, ids,
            vectors={model: query.vector for model, query in query_vectors.vectors.items()},
            terms=list(dict.fromkeys(terms(request.query))), names=query.target_names, filters=request.filters,
        )  # fmt: skip
        found = await find(limit=CANDIDATES_PER_ARM)
        distinct = len({candidate.text for candidate in found.candidates})
        copies = -(-len(found.candidates) // max(distinct, 1))  # rounded up
        if len(ids) > 1 and distinct * FEW_DISTINCT < len(found.candidates):
            found = await find(limit=CANDIDATES_PER_ARM * min(copies, MAX_COPIES))
        return found


def _models(indexes: Sequence[IndexRow]) -> dict[str, set[int]]:
    """Return the models with the indexes that have their vectors; those with the most chunks first."""
    chunks: Counter[str] = Counter()
    index_ids: dict[str, set[int]] = defaultdict(set)
    for index in indexes:
        chunks.update(index.models)
        for model in index.models:
            index_ids[model].add(index.id)
    return {model: index_ids[model] for model in sorted(index_ids, key=lambda model: (-chunks[model], model))}


def _with_comparable_scores(found: CandidateSet, query_vectors: QueryVectors) -> list[Candidate]:
    """Return the candidates with vector scores that are comparable across models."""
    vectors = query_vectors.vectors
    if len(vectors) <= 1:
        return found.candidates
    return [
        c if c.vector_score is None or c.model is None
        else c._replace(vector_score=vectors[c.model].standardize(c.vector_score))
        for c in found.candidates
    ]  # fmt: skip


def _missing_arm_notes(
    models: Mapping[str, Collection[int]],
    query_vectors: QueryVectors,
    found: CandidateSet,
    indexes: Sequence[IndexRow],
) -> Iterator[str]:
    """Yield a note for each model without a vector arm: for which indexes, why, and what to do."""
    for number, (model, index_ids) in enumerate(models.items()):
        where = describe_indexes([index for index in indexes if index.id in index_ids])
        if len(index_ids) == len(indexes):
            where = "what was searched" if len(indexes) > 1 else where
        prefix = f"The search by meaning is missing for {where}, whose results come from words alone: "
        if model in query_vectors.missing:
            yield prefix + untrusted_text.line(query_vectors.missing[model].reason)  # it holds text of a service
        elif number >= MAX_MODELS:
            yield (
                prefix + f"{len(models)} models are indexed and {MAX_MODELS} are asked; name repositories in repo"
            )
        elif model in found.incomparable:
            yield prefix + (
                f"the model {model} gives vectors of another length than the index has; bring back the model that "
                "was behind this name, or index again with force_reindex"
            )


def _scale(query: Query, ranked: Sequence[Ranked], found: CandidateSet) -> tuple[float, bool]:
    """Return the factor that makes the first one's points its fit, and whether that is above the floor.

    Where a part of the similarities cannot be compared with the floor, nothing is said to be below it.
    """
    if not ranked or ranked[0].score <= 0:
        return 0.0, True
    weight_of = {term: weight for term, weight in found.term_weights.items() if term in query.terms}
    value = fit([r.candidate for r in ranked[:BEST]], found.candidates, weight_of)
    return value / ranked[0].score, value >= FLOOR or not is_measured(found.candidates)


def _results(
    ranked: Sequence[Ranked], scale: float, indexes: Sequence[IndexRow], query_terms: frozenset[str],
    definitions: Mapping[int, Definitions],
) -> list[SearchResult]:  # fmt: skip
    """Return the results, each with its share of the answer's length, and named after its best line."""
    sources, of_id = result_sources(indexes), {index.id: index for index in indexes}
    whole = [
        SearchResult(
            repository=sources[c.index_id], path=c.path, start_line=c.start_line, end_line=c.end_line,
            symbol=c.symbol, language=c.language, score=round(scale * r.score, 3), text=c.text,
            text_start_line=c.start_line, also_in=_other_places(r, of_id) or None,
        )
        for r in ranked
        for c in (r.candidate,)
    ]  # fmt: skip
    results = []
    for r, result, room in zip(ranked, whole, allot_characters(whole), strict=True):
        shown = excerpt(result.text, query_terms, room)
        of_file = definitions.get(r.candidate.id)
        inside = of_file.innermost(result.start_line + shown.best) if of_file else None
        part = {"text": shown.text, "text_start_line": result.start_line + shown.first}
        results.append(named(result.model_copy(update=part), inside))
    return results


def _other_places(ranked: Ranked, indexes: Mapping[int, IndexRow]) -> list[str]:
    """Name the further places of a result's code: another ref or repository, and the path where it is another."""
    own, names = ranked.candidate, []
    for copy in ranked.copies:
        index = indexes[copy.index_id]
        is_other = copy.index_id != own.index_id
        name = index.source + f"@{index.ref}" * bool(index.ref) if is_other else ""
        path = "" if is_other and copy.path == own.path else f"{copy.path}:{copy.start_line}"
        names.append(":".join(filter(None, (name, path))))
    names = list(dict.fromkeys(names))
    left_out = len(names) - MAX_LISTED_COPIES
    return [*names[:MAX_LISTED_COPIES], f"and {left_out} more"] if left_out > 0 else names
