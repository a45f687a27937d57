"""Results name what their lines lie in, end where a definition ends, and say what they do not show."""

from typing import Any

import pytest

from codebase_index.store.database import Database

LEDGER = """\
import decimal

class Ledger:
    entries = []

    def add(self, amount):
        def rounded(value):
            return round(value, 2)

        self.entries.append(rounded(amount))
        # one
        # two
        # three
        # four
        return amount

    def total(self):
        return sum(self.entries)

print(Ledger().total())
"""


@pytest.fixture(params=["auto"])
def era(request: pytest.FixtureRequest) -> str:
    """One protocol is enough here: what a result says does not depend on it."""
    return str(request.param)


def named(answer: dict[str, Any]) -> list[tuple[Any, ...]]:
    return [(r["start_line"], r["symbol"], r.get("kind")) for r in answer["results"]]


async def test_lines_that_match_name_the_innermost_definition_that_they_lie_in(
    call: Any, answered: Any, shop: Any
) -> None:
    await shop.completed({"ledger.py": LEDGER})
    answer = answered(await call("search_code", query="amount", mode="text"))
    assert named(answer) == [
        (6, "Ledger.add", "method"), (10, "Ledger.add", "method"), (15, "Ledger.add", "method"),
    ]  # fmt: skip
    answer = answered(await call("search_code", query=r"value|import|print|entries = ", mode="regex"))
    assert named(answer) == [
        (1, None, None), (4, "Ledger", "class"), (7, "Ledger.add.rounded", "function"), (20, None, None),
    ]  # fmt: skip


async def test_a_definition_ends_where_it_ends_and_says_which_lines_are_not_shown(
    call: Any, answered: Any, shop: Any
) -> None:
    """A chunk of the fixture has ten lines: the method goes on in the next one."""
    await shop.completed({"ledger.py": LEDGER})
    answer = answered(await call("search_code", query="def add", mode="symbol"))
    (first, *_) = answer["results"]
    assert (first["symbol"], first["start_line"], first["end_line"]) == ("Ledger.add", 6, 15)
    assert first["text"].startswith("    def add") and first["cut"] == "11-15"
    answer = answered(await call("search_code", query="rounded", mode="symbol"))
    assert [(r["symbol"], r["start_line"], r["end_line"], r["is_definition"]) for r in answer["results"]] == [
        ("Ledger.add.rounded", 7, 8, True), ("Ledger.add", 10, 10, False),
    ]  # fmt: skip


async def test_a_result_by_meaning_is_named_after_its_best_line(call: Any, answered: Any, shop: Any) -> None:
    await shop.completed({"ledger.py": LEDGER})
    answer = answered(await call("search_code", query="total sum of entries", limit=1))
    assert named(answer) == [(11, "Ledger.total", "method")]


async def test_an_index_of_the_version_before_answers_and_says_what_it_does_not_know(
    call: Any, answered: Any, shop: Any, database: Database
) -> None:
    await shop.completed({"ledger.py": LEDGER})
    async with database.connection() as connection:
        await connection.execute("DELETE FROM definitions")
    for mode, query in (("text", "amount"), ("symbol", "total"), ("auto", "total of entries")):
        answer = answered(await call("search_code", query=query, mode=mode))
        assert answer["results"], mode
        assert "indexed by an older version" in answer["message"], mode
    found = answered(await call("search_code", query="total", mode="symbol"))["results"][0]
    assert (found["symbol"], found["start_line"]) == ("Ledger.total", 17)
