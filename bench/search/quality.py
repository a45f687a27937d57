"""Search quality on a set of labelled queries: nDCG@10 in total, by category and by repository.

    .venv/bin/python -m bench.search.quality [FOLDER] [--json bench/results/search.json] [--markdown FILE]
    [--quick]

Each corpus of the set (see `bench.search.sets`; ours if no folder is given) is indexed by the indexer as it ships
into an embedded Postgres, and queried through the server's search service. Then the same candidates are ranked
again: with the features added one by one, with each left out, and with weights chosen on all other repositories.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from bench.figures import merge
from bench.postgres import postgres
from bench.search import ablation, sets
from codebase_index.api.resource import IndexingJob
from codebase_index.embedding import Embedder, factory
from codebase_index.lexical.words import terms
from codebase_index.store.catalog.indexes import Indexes
from codebase_index.store.database import Database
from codebase_index.store.jobs.jobs import Jobs
from codebase_index.store.query.hybrid_search import Search
from codebase_mcp.identity.access import VisibleIndexes
from codebase_mcp.ranking.query import Query
from codebase_mcp.search.answers import SearchResult
from codebase_mcp.search.modes.auto import CANDIDATES_PER_ARM
from codebase_mcp.search.request import SearchRequest
from codebase_mcp.search.service import SearchService


async def main() -> int:
    """Index, ask, and print the figures."""
    parser = argparse.ArgumentParser(prog="python -m bench.search.quality")
    parser.add_argument("folder", type=Path, nargs="?", default=sets.OWN_SET)
    parser.add_argument("--json", type=Path, help="merge the figures into this file")
    parser.add_argument("--markdown", type=Path, help="write the ablation as a table")
    parser.add_argument("--quick", action="store_true", help="only the figures of the shipped ranking")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-search-") as scratch:
        try:
            corpora = sets.corpora(arguments.folder, Path(scratch) / "corpora")
        except FileNotFoundError as error:
            print(error, file=sys.stderr)
            return 2
        with postgres() as dsn:
            figures, cases = await evaluate(corpora, dsn)
    written = summary(figures)
    if not arguments.quick:
        written |= {"leave_one_out": round(ablation.leave_one_out(cases), 4), "ablation": ablation.ablate(cases)}
    print(json.dumps(written, indent=2))
    if arguments.json:
        merge(arguments.json, written)
    if arguments.markdown and not arguments.quick:
        arguments.markdown.write_text(ablation.markdown(written["ablation"]) + "\n")
    return 0


def summary(figures: sets.Figures) -> dict[str, Any]:
    """Return the figures, rounded, for JSON."""
    return {
        "ndcg_at_10": round(figures.total, 4),
        "by_repository": {name: round(value, 3) for name, value in figures.by_repository.items()},
        "by_category": {name: round(value, 3) for name, value in figures.by_category.items()},
    }


async def evaluate(corpora: list[sets.Corpus], dsn: str) -> tuple[sets.Figures, list[ablation.Case]]:
    """Return the figures of the server's answers, and every query's candidates."""
    database = await Database.open(dsn, name="bench")
    await database.migrate()
    for corpus in corpora:
        await index(database, dsn, corpus.folder)
    service = SearchService.from_database(database, factory.by_name, VisibleIndexes.every(database))
    figures = await judge(
        service, corpora,
        lambda corpus, text: SearchRequest(text, repos=(str(corpus.folder),), limit=sets.TOP),
    )  # fmt: skip
    cases = [await _case(database, corpus, question) for corpus in corpora for question in corpus.questions]
    service.close()
    await database.close()
    return figures, cases


async def judge(
    service: SearchService,
    corpora: Sequence[sets.Corpus],
    request_of: Callable[[sets.Corpus, str], SearchRequest],
    path_of: Callable[[sets.Corpus, SearchResult], str] = lambda corpus, result: result.path,
) -> sets.Figures:
    """Score the answers to all questions. `path_of` gives a result's path in its corpus."""
    scores = []
    for corpus in corpora:
        for question in corpus.questions:
            answer = await service.search(request_of(corpus, question.text))
            found = [(path_of(corpus, r), r.start_line, r.end_line) for r in answer.results]
            scores.append((corpus.name, question.category, sets.ndcg(found, question.targets)))
    return sets.Figures.of(scores)


@lru_cache
def _embedder(model: str) -> Embedder:
    return factory.by_name(model)


async def _case(database: Database, corpus: sets.Corpus, question: sets.Question) -> ablation.Case:
    row = next(row for row in await Indexes(database).list() if row.source == str(corpus.folder))
    assert row.model is not None
    found = await Search(database).candidates(
        [row.id], vectors={row.model: _embedder(row.model).embed_query(question.text)},
        terms=list(dict.fromkeys(terms(question.text))), names=Query.of(question.text).target_names,
        limit=CANDIDATES_PER_ARM,
    )  # fmt: skip
    return ablation.Case.of(corpus.name, question, found.candidates)


async def index(database: Database, dsn: str, source: Path) -> None:
    """Index a folder with the indexer's own worker, as a pod would."""
    job = IndexingJob.parse(
        {
            "metadata": {
                "name": source.name, "namespace": "bench", "uid": str(uuid4()),
                "creationTimestamp": datetime.now(UTC).isoformat(),
            },
            "spec": {"source": {"path": str(source)}},
        }
    )  # fmt: skip
    jobs, job_id = Jobs(database), UUID(job.metadata.uid)
    await jobs.create(job)
    await jobs.fence(job_id, 1, failed=False, message="bench")
    environment = {
        **os.environ,
        "CODEBASE_DATABASE_URL": dsn,
        "CODEBASE_JOB_ID": str(job_id),
        "CODEBASE_ATTEMPT": "1",
        "CODEBASE_POD": "bench",
        "CODEBASE_JOB_SPEC": job.spec.model_dump_json(by_alias=True),
        "CODEBASE_ROOTS": json.dumps([{"path": str(source)}]),
        "CODEBASE_LOG_LEVEL": "WARNING",
    }
    await asyncio.to_thread(
        subprocess.run, [sys.executable, "-m", "codebase_indexer"], env=environment, check=True
    )


if __name__ == "__main__":
    raise SystemExit(asyncio.run(main()))
