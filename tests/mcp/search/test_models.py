"""Search over indexes of several models: while a job changes it, after that ended early, and when one is away.

Real workers and a real embedding service on loopback. The questions share no word with what they ask for, so that
only vectors can find it.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from codebase_index.api.job import JobState
from codebase_index.api.resource import IndexingJob
from codebase_index.embedding import factory
from codebase_index.store.catalog.indexes import Indexes
from codebase_index.store.database import Database
from codebase_mcp.identity.access import VisibleIndexes
from codebase_mcp.search.answers import SearchAnswer
from codebase_mcp.search.query_vectors import query_model
from codebase_mcp.search.request import SearchRequest
from codebase_mcp.search.service import SearchService
from tests.store.harness import WorkerHarness
from tests.support.embedding_service import MODEL, NAME, EmbeddingService, embedding_service

OTHER = {"provider": "ollama", "model": MODEL}
STATIC = factory.name_of("static")

TOPICS = {
    "warehouse": ("shelves_remaining(article)", "articles left on the shelves of the warehouse",
                  "how much inventory do we still have in store"),
    "password": ("check_password(user, secret)", "compare the hashed password of the user and refuse wrong ones",
                 "authentication of accounts by their credentials at login"),
    "thumbnail": ("make_thumbnail(image)", "resize the image to small pixels and crop its border",
                  "shrink pictures or photos to a preview graphic"),
    "postage": ("postage_for(parcel)", "price of posting a parcel by its weight to a country",
                "cost to ship packages by mail delivery"),
    "garbage": ("sweep_dead(heap)", "free the memory of dead objects on the heap",
                "reclaim RAM which nothing references: allocation collector"),
    "thermometer": ("celsius(sensor)", "temperature of the room in degrees from the sensor",
                    "heat measurement fahrenheit climate weather reading"),
}  # fmt: skip
"""By the file's name: a function, what it does, and a question in other words."""

FILES = 48


@pytest.fixture
def bench(database: Database, dsn: str, tmp_path: Path) -> WorkerHarness:
    (tmp_path / "roots").mkdir()
    return WorkerHarness(database, dsn, tmp_path / "roots")


def write(folder: Path, files: int, letter: str = "f") -> None:
    """Write the topics' files, spread among others. With another letter, they are no copies of the first ones."""
    folder.mkdir()
    names = [f"{letter}{n:02}_filler" for n in range(files)]
    for number, topic in enumerate(TOPICS):
        place = (2 * number + 1) * files // (2 * len(TOPICS))
        names[place] = f"{letter}{place:02}_{topic}"
    for number, name in enumerate(names):
        filler = (f"filler_{number}(x)", f"return column {number} of the table", "")
        function, text, _ = TOPICS.get(name[4:], filler)
        (folder / f"{name}.py").write_text(f'def {function}:\n    """{text}"""\n    return {letter}({number})\n')


@pytest.fixture
def service() -> Iterator[EmbeddingService]:
    with embedding_service() as service:
        yield service


@pytest.fixture
async def search(
    database: Database, service: EmbeddingService, bench: WorkerHarness
) -> AsyncIterator[SearchService]:
    bench.env = {"OLLAMA_URL": service.url}
    search = SearchService.from_database(
        database, lambda name: factory.by_name(name, bench.env), VisibleIndexes.every(database)
    )
    yield search
    search.close()


async def found_by_meaning(search: SearchService, **more: Any) -> tuple[list[str], set[str | None]]:
    """The topics whose question has them among the first three answers, and what the answers said."""
    found, said = [], set()
    for topic, (*_, question) in TOPICS.items():
        answer = await search.search(SearchRequest(question, limit=3, **more))
        if any(result.path.endswith(f"_{topic}.py") for result in answer.results):
            found.append(topic)
        said.add(None if is_doubt(answer.message) else answer.message)
    return found, said


def is_doubt(message: str | None) -> bool:
    """Whether a message only doubts that anything fits: these questions have no word of what they look for."""
    return message is not None and message.startswith("Perhaps nothing fits: ")


async def models(database: Database) -> set[str]:
    return {model for row in await Indexes(database).list() for model in row.models}


async def begun(
    bench: WorkerHarness, service: EmbeddingService, files: int
) -> tuple[IndexingJob, asyncio.subprocess.Process]:
    """A job by the other model that stands still when it has done about so many files."""
    service.answer_with(200)
    job = await bench.job("shop", embedding=OTHER)
    process = await bench.start(job)
    await bench.until(job, lambda row: row.files_indexed >= files)
    service.answer_with(None)
    return job, process


ALL = (list(TOPICS), {None})


async def test_an_index_is_found_by_meaning_at_every_moment_of_a_change_of_its_model(
    bench: WorkerHarness, search: SearchService, service: EmbeddingService, database: Database
) -> None:
    write(bench.root / "shop", FILES)
    code, _ = await bench.run(await bench.job("shop"))
    assert code == 0 and await models(database) == {STATIC}
    assert await found_by_meaning(search) == ALL

    # Half of it is done.
    job, process = await begun(bench, service, FILES // 2)
    assert (await bench.row(job)).files_indexed < FILES
    assert await models(database) == {STATIC, NAME}
    assert await found_by_meaning(search) == ALL

    # Cancelled.
    await bench.jobs.cancel(UUID(job.metadata.uid))
    service.answer_with(503)
    await asyncio.wait_for(process.wait(), 60)
    assert await models(database) == {STATIC, NAME}
    assert await found_by_meaning(search) == ALL
    (row,) = await Indexes(database).list()
    assert (row.model, row.job_state) == (STATIC, JobState.CANCELLED)

    # Failed: what the job before did is kept, and a part of the rest is done.
    job, process = await begun(bench, service, FILES * 3 // 4)
    service.answer_with(401)
    await asyncio.wait_for(process.wait(), 60)
    ended = await bench.row(job)
    assert ended.state is JobState.FAILED and ended.files_indexed < FILES
    assert await models(database) == {STATIC, NAME}
    assert await found_by_meaning(search) == ALL

    # Completed.
    service.answer_with(200)
    code, _ = await bench.run(await bench.job("shop", embedding=OTHER))
    assert code == 0 and await models(database) == {NAME}
    assert await found_by_meaning(search) == ALL
    (row,) = await Indexes(database).list()
    assert row.model == NAME

    # And back.
    code, _ = await bench.run(await bench.job("shop"))
    assert code == 0 and await models(database) == {STATIC}
    assert await found_by_meaning(search) == ALL


@pytest.fixture
async def two(bench: WorkerHarness, service: EmbeddingService) -> tuple[str, str]:
    """Two repositories with nearly the same files: one by the static model, one by the service's."""
    bench.env = {"OLLAMA_URL": service.url}
    specs: dict[str, dict[str, Any]] = {"shop": {}, "other": {"embedding": OTHER}}
    for folder, spec in specs.items():
        write(bench.root / folder, 12, folder[0])
        code, _ = await bench.run(await bench.job(folder, **spec))
        assert code == 0
    return "/repos/shop", "/repos/other"


def repositories(answer: SearchAnswer) -> set[str | None]:
    return {result.repository for result in answer.results}


async def test_scores_of_two_models_share_the_answer(search: SearchService, two: tuple[str, str]) -> None:
    """Every similarity by the second model is higher than the best one by the first."""
    for topic, (*_, question) in TOPICS.items():
        answer = await search.search(SearchRequest(question, limit=6))
        assert answer.message is None
        assert {r.repository for r in answer.results if r.path[4:-3] == topic} == set(two)


@pytest.mark.parametrize("status", [503, 401, None], ids=["away", "refuses", "hangs"])
async def test_when_one_index_s_service_does_not_answer_the_others_do_and_the_answer_says_so(
    status: int | None, search: SearchService, service: EmbeddingService, two: tuple[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(query_model, "EMBED_TIMEOUT_SECONDS", 1.0)
    service.answer_with(200, queries=status)
    question = TOPICS["warehouse"][-1]

    answer = await search.search(SearchRequest(question, limit=3))
    assert answer.results[0].path.endswith("_warehouse.py") and answer.results[0].repository == two[0]
    assert answer.message is not None and answer.message.startswith(
        "The search by meaning is missing for /repos/other, whose results come from words alone: "
    )

    # Its own words find it, in that index alone, too.
    answer = await search.search(SearchRequest("articles on the shelves", repos=(two[1],), limit=3))
    assert answer.results[0].path.endswith("_warehouse.py")
    assert answer.message is not None and "The search by meaning is missing for /repos/other" in answer.message
    # Nothing is found where only meaning would: that is said, too.
    answer = await search.search(SearchRequest("zzyzx", repos=(two[1],)))
    assert not answer.results and answer.message is not None
    assert answer.message.startswith("No match: ") and "The search by meaning is missing" in answer.message

    # The index that has no part in it answers as ever.
    answer = await search.search(SearchRequest(question, repos=(two[0],), limit=1))
    assert answer.results[0].path.endswith("_warehouse.py") and "is missing" not in str(answer.message)


@pytest.mark.parametrize("dimension", [319, 128], ids=["as many words of codes", "fewer words"])
async def test_vectors_of_another_length_are_not_compared_and_the_answer_says_so(
    dimension: int, search: SearchService, service: EmbeddingService, two: tuple[str, str]
) -> None:
    service.dimension = dimension
    answer = await search.search(SearchRequest("articles on the shelves of the warehouse", limit=2))
    assert {r.path[4:-3] for r in answer.results} == {"warehouse"}
    assert repositories(answer) == set(two)
    assert answer.message is not None and "/repos/other" in answer.message
    assert f"the model {NAME} gives vectors of another length than the index has" in answer.message
    answer = await search.search(SearchRequest("zzyzx", repos=(two[1],)))
    assert "vectors of another length" in str(answer.message)


async def test_a_job_refuses_to_mix_vectors_of_two_lengths(
    bench: WorkerHarness, service: EmbeddingService, two: tuple[str, str]
) -> None:
    service.dimension = 256
    _, row = await bench.run(await bench.job("other", embedding=OTHER, forceReindex=True))
    assert (row.state, row.error_type) == (JobState.FAILED, "EmbeddingRefused")
    assert "returns vectors of 256 dimensions, but the index has 320" in str(row.error_message)


@pytest.mark.parametrize("codes", ["", "\\x00", "\\x" + "00" * 1000])
async def test_codes_that_cannot_be_read_leave_the_words(
    codes: str, search: SearchService, database: Database, two: tuple[str, str]
) -> None:
    async with database.connection() as connection:
        for table in ("segments", "pending_batches"):
            await connection.execute(f"UPDATE {table} SET codes = $1::text::bytea WHERE model = $2", codes, NAME)
    answer = await search.search(SearchRequest("articles on the shelves of the warehouse", limit=2))
    assert {r.path[4:-3] for r in answer.results} == {"warehouse"}
    assert repositories(answer) == set(two)
    assert "The search by meaning is missing for /repos/other" in str(answer.message)


async def test_a_vector_that_is_missing_leaves_the_words(
    search: SearchService, database: Database, two: tuple[str, str]
) -> None:
    async with database.connection() as connection:
        await connection.execute("DELETE FROM embeddings WHERE model = $1", NAME)
    answer = await search.search(SearchRequest("articles on the shelves of the warehouse", limit=2))
    assert repositories(answer) == set(two)


async def test_more_models_than_are_asked_leave_the_words_of_the_smallest(
    search: SearchService, database: Database, two: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("codebase_mcp.search.modes.auto.MAX_MODELS", 1)
    answer = await search.search(SearchRequest("articles on the shelves of the warehouse", limit=2))
    assert repositories(answer) == set(two)
    assert "2 models are indexed and 1 are asked; name repositories in repo" in str(answer.message)
