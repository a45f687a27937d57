"""Exact search over many repositories at once: latency, completeness, and the same with ripgrep and codesearch.

    .venv/bin/python -m bench.search.exact --data /tmp/exact [--chunks 1000000] [--repositories 40] [--json FILE]

Each repository is a random choice of the real code that this machine has, in a folder beside --data, indexed by
the indexer as it ships into a Postgres that stays in --data for the next run. The queries are taken from the code:
texts that few lines hold, identifiers with about a thousand uses, names that are defined, expressions around
pieces of them. A query's lines are compared with those that ripgrep finds in the same files, where it is
installed.
"""

import argparse
import asyncio
import json
import random
import re
import statistics
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from bench.figures import merge
from bench.indexing.trees import copy, real_code
from bench.postgres import postgres
from bench.search import grep
from bench.search.latency import timed
from bench.search.quality import index
from codebase_index.embedding import factory
from codebase_index.pattern import Pattern, literal, regex
from codebase_index.store.catalog.indexes import Indexes
from codebase_index.store.database import Database
from codebase_index.store.query.filters import Filters
from codebase_index.store.query.text_search import TextQuery, TextResult, TextSearch
from codebase_mcp.identity.access import VisibleIndexes
from codebase_mcp.search.request import Mode, SearchRequest
from codebase_mcp.search.service import SearchService

MEGABYTES_A_CHUNK = 0.00126
"""Of the code that `real_code` finds."""

FEW, MANY = range(1, 6), range(300, 3000)
"""Lines that hold a rare text, and an identifier with many uses."""

SAMPLE_CHUNKS = 2_000
"""Chunks from which the queries are taken."""

_IDENTIFIER = re.compile(r"\b[A-Za-z_]\w{5,39}\b")


@dataclass(frozen=True)
class Query:
    """A query of a kind, and its pattern."""

    kind: str
    mode: Mode
    text: str

    @property
    def pattern(self) -> Pattern:
        """What it looks for."""
        return regex(self.text) if self.mode == "regex" else literal(self.text)


async def main() -> None:
    """Prepare, measure, print."""
    parser = argparse.ArgumentParser(prog="python -m bench.search.exact")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--chunks", type=int, default=1_000_000)
    parser.add_argument("--repositories", type=int, default=40)
    parser.add_argument("--queries", type=int, default=30, help="of each kind")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="merge the figures into this file")
    arguments = parser.parse_args()
    arguments.data.parent.mkdir(parents=True, exist_ok=True)
    with postgres(arguments.data) as dsn:
        database = await Database.open(dsn, name="bench", size=1, timeout=600)
        await database.migrate()
        folders = await prepare(database, dsn, arguments)
        figures = await measure(database, folders, arguments.queries, arguments.rounds)
        await database.close()
    print(json.dumps(figures, indent=2))
    if arguments.json:
        merge(arguments.json, {"exact": figures})


async def prepare(database: Database, dsn: str, arguments: argparse.Namespace) -> list[Path]:
    """Copy and index so many repositories, unless that is done; return their folders."""
    known = {row.source for row in await Indexes(database).list()}
    sources = real_code()
    megabytes = arguments.chunks * MEGABYTES_A_CHUNK / arguments.repositories / len(sources)
    folders = []
    for number in range(arguments.repositories):
        folder = arguments.data.with_name(f"{arguments.data.name}-code") / f"repository-{number:02}"
        folders.append(folder)
        if str(folder) in known:
            continue
        for name, (source, _) in sources.items():
            if not (folder / name).exists():
                copy(source, folder / name, megabytes, seed=number)
        began = time.perf_counter()
        await index(database, dsn, folder)
        print(f"indexed {folder} in {time.perf_counter() - began:.0f} s", flush=True)
    async with database.connection() as connection:
        for table in ("files", "chunks", "segments", "postings"):
            await connection.execute(f"VACUUM (ANALYZE) {table}")
    return folders


async def measure(database: Database, folders: Sequence[Path], count: int, rounds: int) -> dict[str, Any]:
    """Ask all queries; return the figures."""
    ids = [row.id for row in await Indexes(database).list()]
    search = TextSearch(database)
    queries = await choose(database, search, ids, count)
    service = SearchService.from_database(database, factory.by_name, VisibleIndexes.every(database))
    kinds: dict[str, list[Callable[[], Awaitable[Any]]]] = {}
    for query in queries:
        ask = partial(service.search, SearchRequest(query.text, mode=query.mode))
        kinds.setdefault(query.kind, []).append(ask)
    latency = await timed(database, kinds, rounds)
    found = {query: await find(search, ids, query.pattern) for query in queries if query.mode != "symbol"}
    for query, result in found.items():
        latency[query.kind]["complete"] = latency[query.kind].get("complete", 0) + (result.stopped_at is None)
    service.close()
    return {
        "size": await size(database),
        "latency_ms": {kind: {"queries": len(kinds[kind]), **figures} for kind, figures in latency.items()},
        **await beside_others(database, search, ids, folders, list(found)),
    }


async def find(search: TextSearch, ids: Sequence[int], pattern: Pattern, lines: int = 30) -> TextResult:
    """Search as the server does for a first page."""
    return await search.find(TextQuery(ids, pattern, Filters(), None, lines, 0.75))


async def choose(database: Database, search: TextSearch, ids: Sequence[int], count: int) -> list[Query]:
    """Return queries of each kind, the same ones in each run."""
    rng = random.Random(16)
    async with database.connection() as connection:
        chunks = await connection.fetchval("SELECT count(*) FROM chunks")
        rows = await connection.fetch(
            "SELECT text, symbol FROM chunks WHERE id % $1 = 0 ORDER BY id", max(chunks // SAMPLE_CHUNKS, 1)
        )
    texts = [row["text"] for row in rows]
    defined = sorted({row["symbol"].rsplit(".", 1)[-1] for row in rows if row["symbol"]})
    often = Counter(name for text in texts for name in set(_IDENTIFIER.findall(text)))
    seldom = [name for name, n in often.items() if n == 1]
    rng.shuffle(seldom)
    rare = await with_lines(search, ids, seldom, FEW, count)
    usual = await with_lines(search, ids, [name for name, n in often.most_common() if 2 <= n <= 30], MANY, count)
    queries = [Query("rare text", "text", name) for name in rare]
    queries += [Query("1,000 uses", "text", name) for name in usual]
    queries += [Query("common text", "text", name) for name, _ in often.most_common(10)]
    queries += [
        Query("no match", "text", a[: len(a) // 2] + b[::-1][:6]) for a, b in zip(rare, usual, strict=False)
    ]
    queries += [Query("expression", "regex", made) for made in expressions(rng, texts, rare, usual, count)]
    queries += [
        Query("three characters", "regex", rf"\b\w+{re.escape(name[2:5])}[A-Z_]\w+\(") for name in rare[:count]
    ]
    queries += [Query("no literal", "regex", r"\b[A-Z]{2}\d{3}[a-z]{2}\b"), Query("no literal", "regex", r"\d{9}")]
    queries += [Query("symbol", "symbol", name) for name in rng.sample(defined, min(count, len(defined)))]
    return queries


async def with_lines(
    search: TextSearch, ids: Sequence[int], names: Sequence[str], wanted: range, count: int
) -> list[str]:
    """Return the first names that so many lines hold."""
    found = []
    for name in names:
        result = await find(search, ids, literal(name))
        lines = sum(len(match.lines) for match in result.matches) + result.further_lines
        if result.stopped_at is None and lines in wanted:
            found.append(name)
        if len(found) == count:
            break
    return found


def expressions(
    rng: random.Random, texts: Sequence[str], rare: Sequence[str], usual: Sequence[str], count: int
) -> list[str]:
    """Return expressions with literals: beginnings of names, calls, alternatives, two words of a line, any
    case."""
    lines = [words for text in texts for line in text.split("\n") if len(words := _IDENTIFIER.findall(line)) > 1]
    made = []
    for number in range(count):
        a, b = rng.choice(rare), rng.choice(usual or rare)
        first, last = rng.choice(lines)[:2]
        made.append(
            (rf"\b{a[:6]}\w*\(", rf"{b}\s*\(", f"(?:{a}|{b})", rf"{first}\b.*\b{last}", f"(?i){b}")[number % 5]
        )
    return made


async def beside_others(
    database: Database, search: TextSearch, ids: Sequence[int], folders: Sequence[Path], queries: Sequence[Query]
) -> dict[str, Any]:
    """Compare times, and lines with ripgrep's, where the other programs are installed."""
    async with database.connection() as connection:
        rows = await connection.fetch(
            "SELECT i.source || '/' || f.path AS place FROM files f JOIN indexes i ON i.id = f.index_id"
        )
    indexed, sources = (
        {row["place"] for row in rows},
        {row.id: row.source for row in await Indexes(database).list()},
    )
    took: dict[str, dict[str, list[float]]] = {}
    compared, missed, surplus = 0, 0, 0
    with grep.programs(folders) as programs:
        for query in queries:
            for program in programs:
                seconds, lines = program.search(query.text, is_regex=query.mode == "regex")
                took.setdefault(program.name, {}).setdefault(query.kind, []).append(1000 * seconds)
                if program.name != "ripgrep" or query.kind in ("common text", "no literal"):
                    continue
                result = await search.find(TextQuery(ids, query.pattern, Filters(), None, 10**6, 60))
                ours = {(f"{sources[m.index_id]}/{m.path}", line) for m in result.matches for line in m.lines}
                theirs = {place for place in lines if place[0] in indexed}
                compared, missed = compared + len(theirs), missed + len(theirs - ours)
                surplus += len(ours - theirs)
    medians = {
        name: {kind: round(statistics.median(ms), 1) for kind, ms in of.items()} for name, of in took.items()
    }
    return {"others_p50_ms": medians, "lines": {"ripgrep": compared, "missed": missed, "surplus": surplus}}


async def size(database: Database) -> dict[str, float]:
    """Return how much is stored, and the bytes a chunk of what the search reads."""
    async with database.connection() as connection:
        chunks = await connection.fetchval("SELECT count(*) FROM chunks")
        figures = {
            "chunks": chunks,
            "repositories": await connection.fetchval("SELECT count(*) FROM indexes"),
            "segments": await connection.fetchval("SELECT count(*) FROM segments"),
            "bytes_of_grams": round(
                await connection.fetchval("SELECT sum(octet_length(grams)) FROM segments") / chunks
            ),
            "bytes_of_text": round(
                await connection.fetchval("SELECT sum(octet_length(text)) FROM chunks") / chunks
            ),
        }
        whole = await connection.fetchval("SELECT pg_database_size(current_database())")
        return {**figures, "bytes_of_everything": round(whole / chunks)}


if __name__ == "__main__":
    asyncio.run(main())
