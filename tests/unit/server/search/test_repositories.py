"""Which of several indexes of one repository a search means."""

from datetime import UTC, datetime
from typing import Any

import pytest

from codebase_index.api.job import JobState
from codebase_index.store.catalog.indexes import IndexRow
from codebase_mcp.search.repositories import index_status
from codebase_mcp.selection.scope import scope_of

DONE = datetime(2026, 11, 29, tzinfo=UTC)


def index(number: int, source: str = "/srv/shop", **fields: Any) -> IndexRow:
    values: dict[str, Any] = {
        "target": f"{number:016}", "ref": None, "name": None, "model": "static/x", "commit": None,
        "indexed_at": DONE, "job_id": None, "job_state": JobState.COMPLETED, "job_percent": 100.0,
        "job_commit": None, "job_files_total": 1, "job_files_done": 1, **fields,
    }  # fmt: skip
    return IndexRow(id=number, source=source, **values)


WHOLE, PART, OTHER = (
    index(1),
    index(2, include=("src/",), name="shop-src"),
    index(3, "/srv/blog", exclude=("docs/",)),
)


@pytest.mark.parametrize(
    ("there", "repos", "meant"),
    [
        ([WHOLE, PART], ["/srv/shop"], [WHOLE]),
        ([WHOLE, PART], ["shop"], [WHOLE]),
        ([WHOLE, PART], ["shop-src"], [PART]),
        ([PART], ["/srv/shop"], [PART]),
        ([WHOLE, PART, OTHER], [], [WHOLE, OTHER]),
        ([index(1, indexed_at=None), PART], ["shop"], [index(1, indexed_at=None), PART]),
        ([index(1, ref="v1"), PART], [], [index(1, ref="v1"), PART]),
    ],
    ids=[
        "the full one by path", "the full one by its last part", "the part by its name",
        "the part where there is no other",
        "all, each file once", "both until the full one is complete", "another ref is another thing",
    ],
)  # fmt: skip
def test_the_full_index_comes_before_one_with_filters(
    there: list[IndexRow], repos: list[str], meant: list[IndexRow]
) -> None:
    assert scope_of(there, repos).indexes == meant


def test_an_answer_names_the_filters_of_an_index_that_has_any() -> None:
    assert "only files matching src/," in index_status(PART).as_line()
    assert "without files matching docs/," in index_status(OTHER).as_line()
    assert index_status(PART).model_dump()["include"] == ["src/"]
    assert "matching" not in index_status(WHOLE).as_line()
    assert not {"include", "exclude"} & index_status(WHOLE).model_dump().keys()
