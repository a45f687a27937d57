import numpy as np
import pytest
from numpy.typing import NDArray

from codebase_index.api.job import JobState
from codebase_index.store.catalog.indexes import Indexes
from codebase_index.store.database import Database
from codebase_index.store.ingest.batch import Chunk, IndexedFile
from codebase_index.store.ingest.chunks import Chunks
from codebase_index.store.ingest.work import ScanEntry, Work
from codebase_index.store.query.hybrid_search import Filters, Search
from codebase_index.symbols import Kind, Symbol
from tests.store.jobs.test_jobs import custom_resource, started, writer_for
from tests.support.terms import encode, packed

MODEL = "static/test"
DEFINES = {"src/tax.go": [Symbol("tax.Rate", "Rate", Kind.FUNCTION)]}


def unit(place: int) -> NDArray[np.float32]:
    return np.eye(1, 256, place, dtype=np.float32)


@pytest.fixture
async def index(database: Database) -> int:
    """Three files: their vectors point along axes 0, 1 and 2."""
    files = {
        "src/cart.py": ("python", "def add(item): basket.append(item)", {"add": 1, "item": 2, "basket": 1}),
        "src/tax.go": ("go", "func Rate() float64", {"func": 1, "rate": 1, "float64": 1}),
        "docs/it's.md": (None, "O'Reilly \\ backslash", {"o'reilly": 1, "back\\slash": 1}),
    }
    job_id = await started(database, custom_resource())
    await Work(database).freeze(job_id, 1, [ScanEntry(path, 1) for path in files])
    items = await Work(database).claim(job_id, 1, "p1", 9)
    writer = await writer_for(database, job_id, 1)
    results = [
        IndexedFile(i.seq, i.path, files[i.path][0], bytes(20),
                [Chunk(1, 9, "s", files[i.path][1], None, DEFINES.get(i.path, []))], unit(i.seq))
        for i in items
    ]  # fmt: skip
    terms = encode([files[i.path][2] for i in items])
    await Chunks(database).commit_batch(writer, packed(results, terms))
    await Chunks(database).complete(writer, "Complete")
    return writer.index_id


async def paths(database: Database, index: int, **query: object) -> list[str]:
    vector = query.pop("vector", unit(9)[0])
    arguments = {"vectors": {query.pop("model", MODEL): vector}, "terms": [], "limit": 1} | query
    found = await Search(database).candidates([index], **arguments)  # type: ignore[arg-type]
    return sorted(c.path for c in found.candidates)


async def test_the_vector_arm_finds_the_nearest_chunk(database: Database, index: int) -> None:
    assert await paths(database, index, vector=unit(1)[0]) == ["src/tax.go"]


async def test_the_lexical_arm_finds_a_term_that_the_vector_misses(database: Database, index: int) -> None:
    assert "src/tax.go" in await paths(database, index, vector=unit(0)[0], terms=["float64"])


async def test_a_definition_is_found_where_others_fit_the_words_better(database: Database, index: int) -> None:
    asked = {"vector": unit(0)[0], "terms": ["item", "rate"]}
    assert await paths(database, index, **asked) == ["src/cart.py"]
    assert await paths(database, index, **asked, names=["rate"]) == ["src/cart.py", "src/tax.go"]
    go, python = Filters(languages=("go",)), Filters(languages=("python",))
    assert await paths(database, index, **asked, names=["rate"], filters=go) == ["src/tax.go"]
    assert await paths(database, index, **asked, names=["rate"], filters=python) == ["src/cart.py"]
    assert await paths(database, index + 1, **asked, names=["rate"]) == []


@pytest.mark.parametrize(
    "term", ["o'reilly", "back\\slash", "'; DROP TABLE chunks; --", "a & !b | (", "\u2028", ":*", ""]
)
async def test_no_term_is_read_as_query_syntax(database: Database, index: int, term: str) -> None:
    found = await paths(database, index, vector=unit(0)[0], terms=[term])
    assert ("docs/it's.md" in found) == (term in ("o'reilly", "back\\slash"))


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (Filters(path="^docs/"), ["docs/it's.md"]),
        (Filters(languages=("go",)), ["src/tax.go"]),
        (Filters(path="^src/", languages=("rust",)), []),
        (Filters(path="^src%"), []),
    ],
)
async def test_filters_come_before_the_limit(
    database: Database, index: int, filters: Filters, expected: list[str]
) -> None:
    assert await paths(database, index, vector=unit(0)[0], terms=["item"], filters=filters) == expected


async def test_each_candidate_has_both_scores(database: Database, index: int) -> None:
    found = await Search(database).candidates([index], vectors={MODEL: unit(0)[0]}, terms=["rate"], limit=3)
    scores = {c.path: (c.vector_score, c.lexical_score > 0) for c in found.candidates}
    assert scores == {"src/cart.py": (1, False), "src/tax.go": (0, True), "docs/it's.md": (0, False)}


async def test_another_model_s_query_still_finds_by_words(database: Database, index: int) -> None:
    assert await paths(database, index, model="other/model", terms=["basket"]) == ["src/cart.py"]


async def test_another_index_is_never_searched(database: Database, index: int) -> None:
    assert await paths(database, index + 1, vector=unit(0)[0], terms=["item"]) == []


async def test_an_index_is_listed_with_its_newest_job(database: Database, index: int) -> None:
    row = (await Indexes(database).list())[0]
    assert (row.id, row.source, row.job_state) == (index, "/work/shop", JobState.COMPLETED)
    assert await Search(database).has_files([index])
    assert not await Search(database).has_files([index + 1])
