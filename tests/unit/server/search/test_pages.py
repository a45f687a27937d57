"""Which scope a further page is of."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from codebase_index.api.job import JobState
from codebase_index.store.catalog.indexes import IndexRow
from codebase_index.store.query.text_search import TextPosition
from codebase_mcp.search.cursor import Cursor
from codebase_mcp.search.request import SearchRequest
from codebase_mcp.search.service import digest_of, scopes_from
from codebase_mcp.selection.scope import scopes_of

OWN, OTHER, NEW = (
    IndexRow(
        id=number, target=f"{number:016}", source=f"/srv/{number}", ref=None, name=None, model="static/x",
        commit=None, indexed_at=datetime(2026, 11, 29, tzinfo=UTC), job_id=None, job_state=JobState.COMPLETED,
        job_percent=100.0, job_commit=None, job_files_total=1, job_files_done=1,
    )
    for number in (1, 2, 3)
)  # fmt: skip
SCOPES = scopes_of([OWN, OTHER], [], own=[OWN.source])


@pytest.mark.parametrize("number", [0, 1])
def test_a_further_page_is_of_the_scope_that_the_first_was_of(number: int) -> None:
    request, scope = SearchRequest("Store", mode="symbol"), SCOPES[number]
    cursor = Cursor(request.identity, digest_of(scope.indexes), offset=10)
    assert list(scopes_from(replace(request, cursor=cursor.encode()), SCOPES)) == [scope]
    while_a_job_runs = digest_of([replace(index, job_files_done=2) for index in scope.indexes])
    cursor = replace(cursor, state=while_a_job_runs)
    assert list(scopes_from(replace(request, cursor=cursor.encode()), SCOPES)) == [scope]


def test_a_further_page_of_all_stays_one_of_all_when_another_repository_is_indexed() -> None:
    request = SearchRequest("Store")
    cursor = Cursor(request.identity, digest_of([OWN, OTHER]), offset=10)
    scopes = scopes_of([OWN, OTHER, NEW], [], own=[OWN.source])
    assert list(scopes_from(replace(request, cursor=cursor.encode()), scopes)) == scopes[1:]


def test_a_place_outside_of_the_nearest_scope_is_of_all() -> None:
    request = SearchRequest("Store", mode="text")
    cursor = Cursor(request.identity, "another", position=TextPosition(OTHER.id, "a.py", 1))
    assert list(scopes_from(replace(request, cursor=cursor.encode()), SCOPES)) == SCOPES[1:]
