"""The modes of search_code, its pages, and searches in several repositories."""

import asyncio
from typing import Any

import pytest

from codebase_mcp.search.modes.text import TextMode
from codebase_mcp.search.service import MAX_CONCURRENT_LOOKUPS

CHECKOUT = '''\
class Checkout:
    """Sums the basket."""

    def total_price(self, basket):
        return sum(item.price for item in basket)  # 100% of it

    def pay(self, basket, card):
        return card.charge(self.total_price(basket))
'''
BASKET = """\
from checkout import Checkout

class Basket:
    def pay(self, card):
        return Checkout().pay(self, card)
"""
TESTS = """\
def pay():
    return Checkout
"""
SHOP = {"src/checkout.py": CHECKOUT, "src/basket.py": BASKET, "tests/test_pay.py": TESTS}


@pytest.fixture(params=["auto"])
def era(request: pytest.FixtureRequest) -> str:
    """One protocol is enough here: what the modes find does not depend on it."""
    return str(request.param)


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine cuts no search short here."""
    monkeypatch.setattr("codebase_mcp.search.modes.text.TEXT_TIMEOUT_SECONDS", 5)
    monkeypatch.setattr("codebase_mcp.search.modes.text.ALTERNATIVE_TIMEOUT_SECONDS", 5)


def shown(answer: dict[str, Any]) -> list[tuple[Any, ...]]:
    return [(r["path"], r["start_line"], r.get("is_definition")) for r in answer["results"]]


async def pages(call: Any, answered: Any, **arguments: Any) -> list[dict[str, Any]]:
    """Follow the cursors to the end."""
    found = [answered(await call("search_code", **arguments))]
    while found[-1]["next_cursor"]:
        assert len(found) < 100
        found.append(answered(await call("search_code", **arguments, cursor=found[-1]["next_cursor"])))
    return found


# --- symbol ------------------------------------------------------------------------------------------


async def test_a_symbol_gives_definitions_first_then_uses(call: Any, answered: Any, shop: Any) -> None:
    await shop.completed(SHOP)
    answer = answered(await call("search_code", query="pay", mode="symbol"))
    assert shown(answer) == [
        ("src/basket.py", 4, True), ("src/checkout.py", 7, True), ("tests/test_pay.py", 1, True),
        ("src/basket.py", 5, False),
    ]  # fmt: skip
    assert [(r["symbol"], r["kind"], r["end_line"]) for r in answer["results"]] == [
        ("Basket.pay", "method", 5), ("Checkout.pay", "method", 8), ("pay", "function", 2),
        ("Basket.pay", "method", 5),
    ]  # fmt: skip
    answer = answered(await call("search_code", query="total_price(basket)", mode="symbol"))
    assert shown(answer)[0] == ("src/checkout.py", 4, True)
    answer = answered(await call("search_code", query="class Checkout", mode="symbol"))
    assert shown(answer) == [
        ("src/checkout.py", 1, True), ("src/basket.py", 5, False), ("src/basket.py", 1, False),
        ("tests/test_pay.py", 2, False),
    ]  # fmt: skip
    assert [r.get("use") for r in answer["results"]] == [None, "call", "import", "mention"]


async def test_what_only_speaks_of_a_name_is_left_out_and_said(call: Any, answered: Any, shop: Any) -> None:
    await shop.completed({**SHOP, "README.md": "The Checkout sums.\n", "src/a.py": "# about Checkout\nx = 1\n"})
    for limit in (1, 3, 20):  # a page may hold nothing but comments: the next one goes on
        answers = await pages(call, answered, query="Checkout", mode="symbol", limit=limit)
        found = [place for answer in answers for place in shown(answer)]
        assert found == [
            ("src/checkout.py", 1, True), ("src/basket.py", 5, False), ("src/basket.py", 1, False),
            ("tests/test_pay.py", 2, False),
        ]  # fmt: skip
        assert any("mode=text shows them" in (answer["message"] or "") for answer in answers)
    nothing = answered(await call("search_code", query="Sums", mode="symbol"))
    assert nothing["results"] == [] and "mode=text shows them" in nothing["message"]


@pytest.mark.parametrize("together", [3, 100])
async def test_calls_come_first_over_all_pages(
    call: Any, answered: Any, shop: Any, monkeypatch: pytest.MonkeyPatch, together: int
) -> None:
    monkeypatch.setattr("codebase_mcp.search.modes.text.USES_TOGETHER", together)
    uses = {f"src/u{n}.py": "charge()\n" if n % 3 == 2 else "from till import charge\n" for n in range(9)}
    await shop.completed({"src/till.py": "def charge():\n    return 1\n", **uses})
    for limit in (2, 5, 20):
        answers = await pages(call, answered, query="charge", mode="symbol", limit=limit)
        told = [(r["path"], r.get("use")) for answer in answers for r in answer["results"]]
        assert told[0] == ("src/till.py", None) and {path for path, _ in told[1:]} == uses.keys()
        kinds = "".join(use[0] for _, use in told[1:])
        assert kinds == ("cii" * 3 if together == 3 else "ccciiiiii")


async def test_that_several_definitions_have_a_name_is_said_beside_its_uses(
    call: Any, answered: Any, shop: Any
) -> None:
    await shop.completed(SHOP)
    answer = answered(await call("search_code", query="pay", mode="symbol"))
    assert answer["message"].startswith("3 definitions have this name: which one a use means is a guess")
    answer = answered(await call("search_code", query="total_price", mode="symbol"))
    assert answer["results"][1]["symbol"] == "Checkout.pay" and not answer["message"]


async def test_a_qualified_name_means_that_scope(call: Any, answered: Any, shop: Any) -> None:
    await shop.completed(SHOP)
    answer = answered(await call("search_code", query="Checkout.pay", mode="symbol", limit=1))
    assert shown(answer) == [("src/checkout.py", 7, True)] and answer["message"] is None
    answer = answered(await call("search_code", query="Till::pay", mode="symbol", limit=3))
    assert len(answer["results"]) == 3
    assert answer["message"].startswith("No definition is called Till.pay; these are called pay")


async def test_another_letter_case_is_found_and_said(call: Any, answered: Any, shop: Any) -> None:
    await shop.completed(SHOP)
    answer = answered(await call("search_code", query="checkout", mode="symbol", limit=1))
    assert shown(answer) == [("src/checkout.py", 1, True)]
    assert answer["message"].startswith("No definition is spelt checkout; these differ in letter case")


async def test_a_name_that_is_only_used_is_shown_and_said(call: Any, answered: Any, shop: Any) -> None:
    await shop.completed(SHOP)
    answer = answered(await call("search_code", query="charge", mode="symbol"))
    assert shown(answer) == [("src/checkout.py", 8, False)]
    assert answer["message"].startswith("No definition of 'charge' is indexed; these lines hold the name")
    nothing = answered(await call("search_code", query="refund", mode="symbol"))
    assert nothing["results"] == [] and "neither defined nor used" in nothing["message"]


async def test_a_sentence_is_no_symbol(call: Any, refused: Any, shop: Any) -> None:
    await shop.completed(SHOP)
    assert "use mode=auto" in refused(await call("search_code", query="how is the total made", mode="symbol"))


# --- text and regular expressions --------------------------------------------------------------------


async def test_text_is_found_as_it_is_in_the_order_of_path_and_line(call: Any, answered: Any, shop: Any) -> None:
    await shop.completed(SHOP)
    answer = answered(await call("search_code", query="pay(self", mode="text"))
    assert [r["path"] for r in answer["results"]] == ["src/basket.py", "src/checkout.py"]
    assert (answer["results"][0]["start_line"], answer["results"][0]["end_line"]) == (4, 5)
    assert answer["results"][1]["text"].splitlines() == CHECKOUT.splitlines()[5:8]
    assert answer["next_cursor"] is None and answer["message"] is None
    assert shown(answered(await call("search_code", query="100% of", mode="text"))) == [
        ("src/checkout.py", 5, None)
    ]


async def test_a_regular_expression_is_matched_line_by_line(call: Any, answered: Any, shop: Any) -> None:
    await shop.completed(SHOP)

    async def lines(query: str, **filters: Any) -> list[tuple[str, int]]:
        answer = answered(await call("search_code", query=query, mode="regex", **filters))
        return [
            (r["path"], line) for r in answer["results"] for line in r.get("matching_lines", [r["start_line"]])
        ]

    assert await lines(r"^def \w+\(\):$") == [("tests/test_pay.py", 1)]
    assert await lines(r"\bpay\(self, \w+, card\)") == [("src/checkout.py", 7)]
    assert await lines(r"(?i)CLASS (checkout|till)", path="src/") == [("src/checkout.py", 1)]
    assert await lines(r"^$", path="src/basket.py") == [("src/basket.py", 2)]
    assert await lines(r"basket.*;.*card") == []


async def test_nothing_found_says_what_would_be(call: Any, answered: Any, shop: Any) -> None:
    await shop.completed(SHOP)

    async def message(query: str, mode: str, **filters: Any) -> str:
        answer = answered(await call("search_code", query=query, mode=mode, **filters))
        assert answer["results"] == []
        return str(answer["message"])

    assert "use mode=text" in await message("total_price(self, basket)", "regex")
    assert "No match" in await message("nowhere[^\n]*", "regex")
    assert "(?i)" in await message("sums THE basket", "text")
    assert "No match with path 'lib/'" in await message("basket", "text", path="lib/")
    assert "mode=auto" in await message("refund", "text")


async def test_full_detail_shows_the_chunk_of_a_matching_line(call: Any, answered: Any, shop: Any) -> None:
    await shop.completed(SHOP)
    (result,) = answered(await call("search_code", query="100% of", mode="text", detail="full"))["results"]
    assert (result["start_line"], result["text_start_line"]) == (5, 1)
    assert result["text"] == CHECKOUT.rstrip("\n")


# --- pages -------------------------------------------------------------------------------------------


def lines_of(prefix: str, count: int) -> str:
    return "\n".join(f"{prefix}_{i} = needle" if i % 6 == 0 else f"{prefix}_{i} = 0" for i in range(count))


@pytest.mark.parametrize(("mode", "query"), [("text", "needle"), ("regex", "n[e]+dle"), ("symbol", "needle")])
async def test_the_pages_together_are_the_whole(
    mode: str, query: str, call: Any, answered: Any, shop: Any
) -> None:
    await shop.completed({f"f{i}.py": lines_of(f"v{i}", 60) for i in range(7)})
    await shop.completed({"f0.py": lines_of("other", 30)}, path="/work/other")
    found = await pages(call, answered, query=query, mode=mode, limit=4)
    places = [(r["repository"], r["path"], r["start_line"]) for page in found for r in page["results"]]
    assert len(places) == len(set(places)) == 7 * 10 + 5
    assert places == sorted(places)
    assert all("more lines match" in page["message"] for page in found[:-2])


async def test_ranked_pages_continue_the_ranking(call: Any, answered: Any, shop: Any) -> None:
    await shop.completed({f"f{i}.py": lines_of(f"v{i}", 40) for i in range(7)})
    (whole,) = [answered(await call("search_code", query="needle", limit=28))]
    found = await pages(call, answered, query="needle", limit=5)
    assert [shown(page) for page in found[:5]] == [shown(whole)[i : i + 5] for i in range(0, 25, 5)]
    assert len({place for page in found for place in shown(page)}) == 28


async def test_a_page_says_that_the_index_has_changed(call: Any, answered: Any, shop: Any) -> None:
    await shop.completed({f"f{i}.py": lines_of(f"v{i}", 40) for i in range(3)})
    for mode in ("auto", "text"):
        first = answered(await call("search_code", query="needle", mode=mode, limit=2))
        await shop.completed({f"f{i}.py": lines_of(f"w{i}", 40) for i in range(3)})
        second = answered(
            await call("search_code", query="needle", mode=mode, limit=2, cursor=first["next_cursor"])
        )
        assert "The index has changed since the page before" in second["message"] and second["results"]


async def test_a_cursor_of_another_search_is_refused(call: Any, answered: Any, refused: Any, shop: Any) -> None:
    await shop.completed({f"f{i}.py": lines_of(f"v{i}", 40) for i in range(3)})
    cursor = answered(await call("search_code", query="needle", limit=2))["next_cursor"]
    for other in ({"query": "other"}, {"mode": "text"}, {"repo": "shop"}, {"path": "f1"}, {"language": "python"}):
        text = refused(await call("search_code", **{"query": "needle", "cursor": cursor, **other}))
        assert text.startswith("validation: cursor belongs to another search")
    assert answered(await call("search_code", query="needle", limit=7, detail="full", cursor=cursor))["results"]


# --- several repositories, and how fresh they are ------------------------------------------------------


async def test_several_repositories_are_searched_and_no_others(call: Any, answered: Any, shop: Any) -> None:
    for name in "abc":
        await shop.completed({f"{name}.py": "class Checkout: pass"}, path=f"/work/{name}")
    for mode in ("auto", "text", "symbol"):
        answer = answered(await call("search_code", query="Checkout", mode=mode, repo=["a", "/work/c", "a"]))
        assert {r["repository"] for r in answer["results"]} == {"/work/a", "/work/c"}
        assert answer["indexes_searched"] == 2


async def test_one_unknown_repository_of_several_is_an_error(call: Any, refused: Any, shop: Any) -> None:
    await shop.completed(SHOP)
    assert refused(await call("search_code", query="x", repo=["shop", "till"])).startswith(
        "not indexed: repo 'till'"
    )


async def test_an_index_behind_says_by_how_much(call: Any, answered: Any, shop: Any) -> None:
    await shop.completed(SHOP)
    (index,) = answered(await call("search_code", query="pay"))["indexes"]
    assert not {"newer_commit", "files_behind"} & index.keys()
    row, _ = await shop.indexing({"src/checkout.py": CHECKOUT}, more=["src/new.py", "src/newer.py"])
    await shop.jobs.set_commit(row.id, 1, "beef" * 10)
    (index,) = answered(await call("search_code", query="pay"))["indexes"]
    assert (index["commit"], index["newer_commit"]) == ("c0ffee" * 6 + "beef", "beef" * 10)
    assert index["files_behind"] == 2


# --- side by side ------------------------------------------------------------------------------------


async def test_slow_regular_expressions_hold_up_no_question(
    call: Any, answered: Any, shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    await shop.completed(SHOP)
    page, held = TextMode.page, asyncio.Event()

    async def held_page(*arguments: Any) -> Any:
        await held.wait()
        return await page(*arguments)

    monkeypatch.setattr(TextMode, "page", held_page)
    slow = [
        asyncio.create_task(call("search_code", query=f"p.{{{n}}}y", mode="regex"))
        for n in range(2 * MAX_CONCURRENT_LOOKUPS)
    ]
    await asyncio.sleep(0)
    assert answered(await call("search_code", query="sums the basket"))["results"]
    assert not any(task.done() for task in slow)
    held.set()
    assert [bool(answered(one)["results"]) for one in await asyncio.gather(*slow)] == [False, True, False, False]
