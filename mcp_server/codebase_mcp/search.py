"""The search service: which indexes are meant, candidates from the store, their order, a bounded answer."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

from codebase_index.embedding import Embedder, Vectors
from codebase_index.job import FINAL, JobState
from codebase_index.store.indexes import Indexes, IndexRow
from codebase_index.store.search import Candidate, Filters, Search
from codebase_index.text import terms
from codebase_mcp.errors import UserError
from codebase_mcp.excerpt import excerpt
from codebase_mcp.models import IndexFreshness, IndexState, SearchAnswer, SearchResult
from codebase_mcp.ranking import Ranked, rank

CANDIDATES_OF_EACH_ARM = 100
"""Recall at 100 of either arm is above 0.85, and ranking that many costs a few milliseconds."""

SEARCH_PATIENCE_SECONDS = 8.0
"""Bound of a whole search, well below the shortest limit of any client (30 s)."""

MAX_ANSWER_CHARACTERS = 40_000
"""Bound of an answer's code: about 10,000 tokens. What is beyond is left out, and the message says so."""

CONTEXT_CHARACTERS = 800
LISTED_INDEXES = 20


@dataclass(frozen=True)
class SearchRequest:
    """What search_code is asked for."""

    query: str
    repo: str | None = None
    path: str | None = None
    language: str | None = None
    limit: int = 10
    detail: Literal["concise", "full"] = "concise"

    @property
    def filters(self) -> Filters:
        """The filters in the spelling of the store: paths are relative, languages are in lower case."""
        path = (self.path or "").removeprefix("./").lstrip("/")
        return Filters(path or None, self.language.lower() if self.language else None)


class SearchService:
    """Answers queries. Raises UserError, StoreUnavailable and EmbeddingUnavailable.

    `embedder_of` gives the embedder for a model's name; it is asked once for each model.
    """

    def __init__(self, indexes: Indexes, search: Search, embedder_of: Callable[[str], Embedder]) -> None:
        self._indexes = indexes
        self._search = search
        self._embedder_of = embedder_of
        self._embedders: dict[str, Embedder] = {}
        # One thread: embedders are not safe for several at once, and a query takes a millisecond.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="embed")

    def close(self) -> None:
        """Stop the embedding thread."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def search(self, request: SearchRequest) -> SearchAnswer:
        """Return the best places for a query, and which state of the code they are from."""
        try:
            async with asyncio.timeout(SEARCH_PATIENCE_SECONDS):
                return await self._answer(request)
        except TimeoutError as error:
            raise UserError(
                f"unavailable: the search did not end within {SEARCH_PATIENCE_SECONDS:g} s; the database may be "
                "busy with indexing; try again in a minute, or narrow it with repo, path or language"
            ) from error

    async def _answer(self, request: SearchRequest) -> SearchAnswer:
        searched = chosen(await self._indexes.list(), request.repo)
        ranked = rank(request.query, await self._candidates(request, searched), request.limit)
        results = await self._results(request, ranked, {index.id: index for index in searched})
        kept = within_budget(results)
        message = self._why_less(kept, results) if results else await self._why_nothing(request, searched)
        return answer(kept, searched, message)

    async def _candidates(self, request: SearchRequest, searched: Sequence[IndexRow]) -> list[Candidate]:
        of_model: dict[str, list[int]] = defaultdict(list)
        for index in searched:
            if index.model is not None:  # else nothing is stored in it yet
                of_model[index.model].append(index.id)
        found: list[Candidate] = []
        asked = list(dict.fromkeys(terms(request.query)))
        for model, ids in of_model.items():
            found += await self._search.candidates(
                ids, model=model, vector=await self._embed(model, request.query), terms=asked,
                filters=request.filters, limit=CANDIDATES_OF_EACH_ARM,
            )  # fmt: skip
        return found

    async def _embed(self, model: str, query: str) -> Vectors:
        def embed() -> Vectors:
            if model not in self._embedders:
                self._embedders[model] = self._embedder_of(model)
            return self._embedders[model].embed_query(query)

        return await asyncio.get_running_loop().run_in_executor(self._thread, embed)

    async def _results(
        self, request: SearchRequest, ranked: Sequence[Ranked], index_of: dict[int, IndexRow]
    ) -> list[SearchResult]:
        if request.detail == "concise":
            asked = frozenset(terms(request.query))
            return [_concise(r, index_of[r.candidate.index_id].source, asked) for r in ranked]
        around = await self._search.neighbours([r.candidate.id for r in ranked])
        return [
            _full(r, index_of[r.candidate.index_id].source, *around.get(r.candidate.id, (None, None)))
            for r in ranked
        ]

    def _why_less(self, kept: Sequence[SearchResult], results: Sequence[SearchResult]) -> str | None:
        if len(kept) == len(results):
            return None
        return (
            f"{len(results) - len(kept)} more results were left out, because the answer would be too long; "
            "ask with detail=concise, a smaller limit, or narrow it with path or language"
        )

    async def _why_nothing(self, request: SearchRequest, searched: Sequence[IndexRow]) -> str:
        if not searched:
            return "Nothing is indexed yet; index a repository with start_indexing_background, then search again"
        if any(await self._search.counts([index.id for index in searched])):
            return _no_match(request)
        busy = [index for index in searched if state_of(index) == "indexing"]
        if busy:
            return (
                f"Nothing is stored yet: indexing is at {percent_of(busy[0])} %; search again in a few seconds, "
                "results appear while it runs"
            )
        return (
            "The index is empty: its last job ended before it stored anything; get_indexing_status says why; "
            "start_indexing_background starts again"
        )


def chosen(indexes: Sequence[IndexRow], repo: str | None) -> list[IndexRow]:
    """Return the indexes that `repo` means: a path or URL, a name, or the last part of a path, each also with
    `@ref`; all of them for None. Raises UserError when it means none, or several repositories.
    """
    if repo is None:
        return list(indexes)
    wanted = repo.strip().rstrip("/").lower()
    for labels in (_exact_labels, _short_labels):  # a full path is never ambiguous with another's last part
        matching = [index for index in indexes if wanted in labels(index)]
        if len({index.source for index in matching}) > 1:
            raise UserError(f"ambiguous: repo {repo!r} means {_listed(matching)}; give one of these paths")
        if matching:
            without_ref = [index for index in matching if index.ref is None]
            return without_ref or matching
    if not indexes:
        return []
    raise UserError(
        f"not indexed: repo {repo!r}; indexed are {_listed(indexes)}; give one of these, leave repo out to search "
        "all, or index it with start_indexing_background"
    )


def _exact_labels(index: IndexRow) -> set[str]:
    return _with_ref(index, {index.source.rstrip("/").lower()})


def _short_labels(index: IndexRow) -> set[str]:
    last = index.source.rstrip("/").rsplit("/", 1)[-1].removesuffix(".git").lower()
    return _with_ref(index, {last} | ({index.name.lower()} if index.name else set()))


def _with_ref(index: IndexRow, labels: set[str]) -> set[str]:
    return labels | {f"{label}@{index.ref.lower()}" for label in labels if index.ref}


def _listed(indexes: Sequence[IndexRow]) -> str:
    labels = [f"{index.source}@{index.ref}" if index.ref else index.source for index in indexes]
    more = len(labels) - LISTED_INDEXES
    return ", ".join(labels[:LISTED_INDEXES]) + (f" and {more} more" if more > 0 else "")


def state_of(index: IndexRow) -> IndexState:
    """Say whether an index is whole: `partial` means that its last job ended early."""
    if index.job_state is not None and index.job_state not in FINAL:
        return "indexing"
    if index.job_state is JobState.COMPLETED or (index.job_state is None and index.indexed_at is not None):
        return "complete"
    return "partial"


def percent_of(index: IndexRow) -> int:
    """Return how much of the last job's work is in the index."""
    return 100 if state_of(index) == "complete" else int(index.job_percent or 0)


def within_budget(results: Sequence[SearchResult]) -> list[SearchResult]:
    """Return the first results that fit an answer, at least one."""
    kept: list[SearchResult] = []
    size = 0
    for result in results:
        size += len(result.text) + len(result.context_before or "") + len(result.context_after or "")
        if kept and size > MAX_ANSWER_CHARACTERS:
            break
        kept.append(result)
    return kept


def answer(results: list[SearchResult], searched: Sequence[IndexRow], message: str | None) -> SearchAnswer:
    """Put an answer together."""
    found = {result.repository for result in results}
    shown = sorted(searched, key=lambda index: index.source not in found)[:LISTED_INDEXES]
    indexes = [
        IndexFreshness(
            repository=index.source, name=index.name, ref=index.ref, commit=index.commit,
            indexed_at=index.indexed_at, state=state_of(index), percent_complete=percent_of(index),
        )
        for index in shown
    ]  # fmt: skip
    only = indexes[0] if len(searched) == 1 else None
    return SearchAnswer(
        results=results, message=message,
        repository=only.repository if only else None, commit=only.commit if only else None,
        indexed_at=only.indexed_at if only else None, index_state=only.state if only else None,
        index_percent_complete=only.percent_complete if only else None, indexes=indexes,
        indexes_searched=len(searched),
    )  # fmt: skip


def _concise(ranked: Ranked, repository: str, asked: frozenset[str]) -> SearchResult:
    first, text = excerpt(ranked.candidate.text, asked)
    return _result(ranked, repository, first, text, None, None)


def _full(ranked: Ranked, repository: str, before: str | None, after: str | None) -> SearchResult:
    c = ranked.candidate
    # From the neighbouring chunks in the index, never from the disk: it shows the state that was searched.
    above = before[-CONTEXT_CHARACTERS:] if before else None
    below = after[:CONTEXT_CHARACTERS] if after else None
    return _result(ranked, repository, 0, c.text, above, below)


def _result(
    ranked: Ranked, repository: str, first: int, text: str, before: str | None, after: str | None
) -> SearchResult:
    c = ranked.candidate
    return SearchResult(
        repository=repository, path=c.path, start_line=c.start_line, end_line=c.end_line, symbol=c.symbol,
        language=c.language, score=round(ranked.score, 4), text=text, text_start_line=c.start_line + first,
        context_before=before, context_after=after,
    )  # fmt: skip


def _no_match(request: SearchRequest) -> str:
    filters = [f"path prefix {request.path!r}" if request.path else "", f"language {request.language!r}"]
    given = " and ".join(f for f in filters[: 2 if request.language else 1] if f)
    if given:
        return f"No match with {given}: no indexed file fits; check the spelling, or leave it out"
    return "No match: no indexed chunk resembles the query; use other words, or names that occur in the code"
