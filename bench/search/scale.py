"""Search quality in a large index: the repositories of a set among 400,000 chunks of other code.

    .venv/bin/python -m bench.search.scale SET --data /tmp/latency [--json bench/results/search.json]

The corpora become one more repository, with a folder each, in the database that `bench.search.latency` made. Each
query runs with and without the folder as a filter, in that repository and in all indexes. Good answers from other
repositories count as wrong.
"""

import argparse
import asyncio
import json
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from bench.figures import merge
from bench.postgres import postgres
from bench.search import sets
from bench.search.quality import index, judge, summary
from codebase_index.embedding import factory
from codebase_index.store.catalog.indexes import Indexes
from codebase_index.store.database import Database
from codebase_mcp.identity.access import VisibleIndexes
from codebase_mcp.search.answers import SearchResult
from codebase_mcp.search.request import SearchRequest
from codebase_mcp.search.service import SearchService


async def main() -> None:
    """Index the set, unless that is done, ask, and print the figures."""
    parser = argparse.ArgumentParser(prog="python -m bench.search.scale")
    parser.add_argument("set", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--json", type=Path, help="merge the figures into this file")
    options = parser.parse_args()
    mixed = options.data.with_name(f"{options.data.name}-{options.set.name}")
    with tempfile.TemporaryDirectory() as scratch:
        corpora = sets.corpora(options.set, mixed if not mixed.exists() else Path(scratch))
    with postgres(options.data) as dsn:
        figures = await measure(corpora, mixed, dsn)
    print(json.dumps(figures, indent=2))
    if options.json:
        merge(options.json, {"among_others": figures})


async def measure(corpora: list[sets.Corpus], mixed: Path, dsn: str) -> dict[str, Any]:
    """Return the figures for each combination of repository and filter."""
    database = await Database.open(dsn, name="bench", timeout=600)
    if str(mixed) not in {row.source for row in await Indexes(database).list()}:
        await index(database, dsn, mixed)
    async with database.connection() as connection:
        chunks = await connection.fetchval("SELECT count(*) FROM chunks")
    service = SearchService.from_database(database, factory.by_name, VisibleIndexes.every(database))
    figures: dict[str, Any] = {"chunks": chunks}
    for name, repos, filtered in (
        ("its repository, filtered", (str(mixed),), True),
        ("its repository", (str(mixed),), False),
        ("everything, filtered", (), True),
        ("everything", (), False),
    ):
        asked = await judge(service, corpora, partial(_request, repos, filtered), partial(_path, str(mixed)))
        figures[name] = summary(asked)
        print(name, figures[name], flush=True)
    service.close()
    await database.close()
    return figures


def _request(repos: Sequence[str], filtered: bool, corpus: sets.Corpus, text: str) -> SearchRequest:
    paths = (f"{corpus.name}/",) if filtered else ()
    return SearchRequest(text, repos=tuple(repos), paths=paths, limit=sets.TOP)


def _path(mixed: str, corpus: sets.Corpus, result: SearchResult) -> str:
    """Return a result's path in its corpus; empty for those of other repositories, which count as wrong."""
    return result.path.removeprefix(f"{corpus.name}/") if result.repository in (None, mixed) else ""


if __name__ == "__main__":
    asyncio.run(main())
