"""read_code by symbol and as an outline: whole definitions with their true places, and what else has the name."""

from typing import Any

import pytest

BODY = "".join(f"        self.total += basket[{n}]\n" for n in range(30))
CART = f'''\
"""A cart."""


class Cart:
    """Sums."""

    @staticmethod
    def empty():
        return Cart()

    def pay(self, basket):
{BODY}
        return self.total


def pay(cart):
    return cart.pay([])
'''
SHOP = {
    "src/cart.py": CART,
    "src/till.py": "def open_till():\n    pass\n",
    "tests/test_cart.py": "def pay():\n    pass\n",
}


@pytest.fixture(params=["auto"])
def era(request: pytest.FixtureRequest) -> str:
    """One protocol is enough here."""
    return str(request.param)


def parts(answer: dict[str, Any]) -> list[tuple[str, str, int, int]]:
    return [(p["path"], p["symbol"], p["start_line"], p["end_line"]) for p in answer["parts"]]


async def test_a_symbol_is_read_whole_with_what_stands_above_it(call: Any, answered: Any, shop: Any) -> None:
    await shop.completed(SHOP)
    answer = answered(await call("read_code", symbol="Cart.pay"))
    assert parts(answer) == [("src/cart.py", "Cart.pay", 11, 43)]
    assert answer["parts"][0]["text"] == "".join(CART.splitlines(keepends=True)[10:43])
    answer = answered(await call("read_code", symbol="Cart.empty"))
    assert parts(answer) == [("src/cart.py", "Cart.empty", 7, 9)]
    assert answer["parts"][0]["text"].startswith("    @staticmethod\n")


async def test_every_definition_of_a_name_is_read_those_of_tests_last(call: Any, answered: Any, shop: Any) -> None:
    await shop.completed(SHOP)
    answer = answered(await call("read_code", symbol="pay"))
    assert parts(answer) == [
        ("src/cart.py", "Cart.pay", 11, 43), ("src/cart.py", "pay", 46, 47), ("tests/test_cart.py", "pay", 1, 2),
    ]  # fmt: skip
    answer = answered(await call("read_code", symbol="pay", path="test_cart.py"))
    assert parts(answer) == [("tests/test_cart.py", "pay", 1, 2)]


async def test_what_does_not_fit_is_named(call: Any, answered: Any, shop: Any) -> None:
    long = "def work():\n" + "".join(f"    value_{n} = compute({n}, 'many words')\n" for n in range(2000))
    await shop.completed({f"src/part_{n}.py": "def work():\n    pass\n" for n in range(9)})
    answer = answered(await call("read_code", symbol="work"))
    assert len(answer["parts"]) == 5 and "src/part_8.py:1 work" in answer["message"]
    await shop.completed({"src/long.py": long}, path="/work/long")
    answer = answered(await call("read_code", symbol="work", repo="long"))
    ((path, _, first, last),) = parts(answer)
    assert (path, first) == ("src/long.py", 1) and last < 2001
    assert f"goes on at line {last + 1}, to 2001" in answer["message"]


async def test_an_outline_has_every_definition_with_lines_and_signature(
    call: Any, answered: Any, shop: Any
) -> None:
    await shop.completed(SHOP)
    outline = answered(await call("read_code", path="src/cart.py", outline=True))["outline"]
    assert [(e["symbol"], e["kind"], e["start_line"], e["end_line"]) for e in outline] == [
        ("Cart", "class", 4, 43), ("Cart.empty", "method", 7, 9), ("Cart.pay", "method", 11, 43),
        ("pay", "function", 46, 47),
    ]  # fmt: skip
    assert "def pay(self, basket)" in outline[2]["signature"]
    later = answered(await call("read_code", path="src/cart.py", outline=True, start_line=44))["outline"]
    assert [e["symbol"] for e in later] == ["pay"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({}, "neither path nor symbol is given"),
        ({"symbol": "nowhere"}, "no definition of 'nowhere' is indexed; search_code"),
        ({"symbol": "pay", "path": "src/till.py"}, "no definition of 'pay' is indexed in 'src/till.py'"),
        ({"symbol": "what is a cart"}, "validation: "),
        ({"outline": True, "path": "src/none.py"}, "not found: no file 'src/none.py'"),
    ],
)
async def test_what_is_not_defined_is_said(
    arguments: dict[str, Any], said: str, call: Any, refused: Any, shop: Any
) -> None:
    await shop.completed(SHOP)
    assert said in refused(await call("read_code", **arguments))


async def test_definitions_that_an_earlier_version_did_not_store_are_said(
    call: Any, answered: Any, refused: Any, shop: Any, database: Any
) -> None:
    await shop.completed(SHOP)
    async with database.connection() as connection:
        await connection.execute("DELETE FROM definitions")
    assert "an earlier version indexed" in refused(await call("read_code", path="src/cart.py", outline=True))
    answer = answered(await call("read_code", symbol="open_till"))
    assert parts(answer) == [("src/till.py", "open_till", 1, 2)]  # its chunk
