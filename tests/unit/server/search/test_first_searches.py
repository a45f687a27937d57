"""A search of a repository that nobody has indexed begins that, unless the search itself is wrong."""

from collections.abc import Sequence
from typing import Any, cast

import pytest

from codebase_mcp.errors import UserError
from codebase_mcp.freshness.standing import Freshness, NotIndexedYet
from codebase_mcp.search.request import SearchRequest
from codebase_mcp.search.service import SearchService


class Refresher:
    def __init__(self) -> None:
        self.begun: list[str] = []

    async def first_indexes(self, sources: Sequence[str], _: str) -> Sequence[str]:
        self.begun += sources
        return [f"{source} is indexed" for source in sources]


class NothingIndexed:
    """Stands for the freshness of a caller's repository, and for the list of indexes, which is empty."""

    def __init__(self) -> None:
        self.refresher = Refresher()

    async def own(self, *_: object, may_miss: bool) -> Sequence[str]:
        if not may_miss:
            raise NotIndexedYet(["/srv/shop"], cast(Any, self.refresher))
        return ["/srv/shop"]

    async def list(self) -> Sequence[Any]:
        return []

    async def standing(self, *_: object, **__: object) -> Any:
        raise AssertionError("not asked")


WRONG = {
    "a language that there is not": SearchRequest("cart", languages=("klingon",)),
    "a path of a thousand wildcards": SearchRequest("cart", paths=("*a" * 1000,)),
    "a regular expression": SearchRequest("cart(", mode="regex"),
    "no name": SearchRequest("how does it work", mode="symbol"),
}


@pytest.mark.parametrize("what", WRONG)
async def test_a_search_that_is_wrong_is_refused_and_begins_nothing(what: str) -> None:
    nothing = NothingIndexed()
    none = cast(Any, None)
    service = SearchService(cast(Any, nothing), none, none, none, none, none, cast(Freshness, nothing))
    with pytest.raises(UserError, match=r"^validation: "):
        await service.search(WRONG[what])
    assert nothing.refresher.begun == []
