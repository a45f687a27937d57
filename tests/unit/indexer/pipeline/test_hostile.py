"""More than two hundred files made to harm, through the scan and a real parser process: each is accounted for."""

import asyncio
from pathlib import Path

import pytest

from codebase_index.store.ingest.batch import FileResult, IndexedFile, PackedFile, SkippedFile, WorkItem
from codebase_indexer.content.skipping import Skip
from codebase_indexer.pipeline import pool as pool_module
from codebase_indexer.pipeline.parser_protocol import ParseRequest, ParserSettings
from codebase_indexer.pipeline.pool import ParserPool
from codebase_indexer.source.scan import scan
from tests.fixtures import hostile

Results = dict[str, FileResult | PackedFile | Skip]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hostile")
    assert hostile.write(folder) >= 200
    return folder


@pytest.fixture(scope="module")
def results(corpus: Path) -> Results:
    """What became of each entry. The product's own time limits hold; no process dies of these files."""
    entries = list(scan(corpus, boundary=corpus))
    found: Results = {e.path: Skip(e.skip_reason) for e in entries if e.skip_reason}
    items = [WorkItem(seq, e.path, e.size) for seq, e in enumerate(entries)]
    items = [i for i in items if i.path not in found and i.path not in hostile.DEFEAT_THE_PARSER]
    pool = ParserPool(1, ParserSettings(corpus, corpus, "1:test", None))

    async def run() -> None:
        for start in range(0, len(items), 8):
            some = items[start : start + 8]
            answers = (await pool.process(ParseRequest(some, {}))).results
            found.update(zip([item.path for item in some], answers, strict=True))

    try:
        asyncio.run(run())
    finally:
        pool.close()
    return found


def test_every_file_is_indexed_or_skipped_with_a_reason(
    corpus: Path, results: dict[str, FileResult | PackedFile | Skip]
) -> None:
    # A pipe is nothing that git would list.
    there = {p.relative_to(corpus).as_posix() for p in corpus.rglob("*") if p.is_symlink() or p.is_file()}
    assert results.keys() == there - hostile.DEFEAT_THE_PARSER.keys()
    indexed = [result for result in results.values() if isinstance(result, IndexedFile)]
    assert len(indexed) > 200
    assert all(result.chunks for result in indexed)
    assert {result.reason for result in results.values() if isinstance(result, SkippedFile)} <= set(Skip)


def test_no_file_is_fatal(results: Results) -> None:
    crashed = [path for path, result in results.items() if getattr(result, "reason", None) == Skip.CRASHED]
    assert crashed == []


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("huge.py", Skip.TOO_LARGE),
        ("loop.py", Skip.SYMLINK),
        ("outside.py", Skip.SYMLINK),
        ("binary/zip.py", Skip.BINARY),
        ("binary/empty.py", Skip.EMPTY),
        ("endless/data.json", Skip.LARGE_DATA),
        ("endless/line.py", Skip.MINIFIED),
    ],
)
def test_what_is_no_text_is_named(path: str, reason: Skip, results: Results) -> None:
    result = results[path]
    assert (result.reason if isinstance(result, SkippedFile) else result) == reason


@pytest.mark.parametrize("path", hostile.DEFEAT_THE_PARSER)
async def test_a_file_that_defeats_the_parser_ends_its_worker_and_is_skipped(
    path: str, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = ParserPool(1, ParserSettings(corpus, corpus, "1:test", None))
    try:
        await pool.process(ParseRequest([WorkItem(0, "text/crlf.py", 1)], {}))
        monkeypatch.setattr(pool_module, "FILE_SECONDS", 2.0)
        (result,) = (await pool.process(ParseRequest([WorkItem(1, path, 1)], {}))).results
    finally:
        pool.close()
    assert result == SkippedFile(1, Skip.CRASHED)
