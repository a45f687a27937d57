"""The gate lets pass what the authority allows, and tells nobody of more."""

from dataclasses import MISSING, fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codebase_index.api.job import index_name, target_of
from codebase_index.store.catalog.indexes import IndexRow
from codebase_mcp.errors import UserError
from codebase_mcp.identity import access
from codebase_mcp.identity.access import NO_INDEX, VisibleIndexes
from codebase_mcp.identity.authority import (
    ALLOWED_SECONDS,
    REFUSED_SECONDS,
    Authority,
    AuthorityUnavailable,
    Grants,
    Remembered,
)
from codebase_mcp.identity.gate import MAX_NAMED, Gate
from codebase_mcp.identity.principal import Method, Principal
from codebase_mcp.identity.rights import EVERYTHING, Grant, Question, Right

READ = frozenset([Right.READ])


NONE: Any = {field.name: None for field in fields(IndexRow) if field.default is MISSING}


def row(number: int) -> IndexRow:
    source = f"/secret/repository-{number}"
    known = {"id": number, "target": target_of(source, None), "source": source, "namespace": "here", "models": {}}
    return IndexRow(**{**NONE, **known})


class Listing:
    def __init__(self, rows: list[IndexRow]) -> None:
        self.rows = rows

    async def list(self) -> list[IndexRow]:
        return self.rows


def gate(*grants: Grant, rows: int = 5, read_only: bool = False) -> Gate:
    somebody = Principal("somebody", Method.TOKEN, grants=grants)
    listing = Listing([row(number) for number in range(rows)])
    return Gate(Grants(), "here", listing, read_only=read_only, principal=lambda: somebody)


def named(*numbers: int) -> Grant:
    rows = map(row, numbers)
    return Grant(READ, frozenset(["here"]), frozenset(index_name(r.source, r.target) for r in rows))


@given(numbers=st.sets(st.integers(0, 4)))
async def test_who_may_read_some_by_name_sees_those_alone(numbers: set[int]) -> None:
    subject = gate(named(*numbers))
    if numbers:
        assert (await subject.admit(Right.READ, reads=True)).readable.ids == frozenset(numbers)
    else:
        with pytest.raises(UserError, match=r"^forbidden: "):
            await subject.admit(Right.READ, reads=True)


@pytest.mark.parametrize("rows", [0, 1, 5])
@pytest.mark.parametrize("right", list(Right))
async def test_a_refusal_names_the_right_and_is_the_same_whatever_there_is(right: Right, rows: int) -> None:
    with pytest.raises(UserError) as refused:
        await gate(rows=rows).admit(right, reads=right in (Right.READ, Right.DELETE))
    assert str(refused.value) == (
        f"forbidden: this takes the right {right}, in namespace here, which you do not have; ask those who run "
        "this server for it"
    )


@given(right=st.sampled_from(list(Right)), others=st.frozensets(st.sampled_from(list(Right))))
async def test_a_right_is_none_of_the_others(right: Right, others: frozenset[Right]) -> None:
    with pytest.raises(UserError, match=r"^forbidden: "):
        await gate(Grant(others - {right})).admit(right, reads=right is Right.READ)


async def test_who_may_delete_and_not_read_learns_nothing_by_deleting() -> None:
    with pytest.raises(UserError, match=r"the right `get` on indexes\."):
        await gate(Grant(frozenset([Right.DELETE]))).admit(Right.DELETE, reads=True)


async def test_a_call_that_reads_nothing_sees_no_index() -> None:
    assert (await gate(EVERYTHING).admit(Right.START, reads=False)).readable == NO_INDEX


@pytest.mark.parametrize("right", list(Right))
async def test_a_read_only_server_lets_nobody_change_anything(right: Right) -> None:
    subject = gate(EVERYTHING, read_only=True)
    if right.changes:
        with pytest.raises(UserError, match=r"^read-only: "):
            await subject.admit(right, reads=False)
    else:
        await subject.admit(right, reads=right is Right.READ)


async def test_without_a_principal_nothing_passes() -> None:
    with pytest.raises(UserError, match=r"^forbidden: nobody has said who calls"):
        await Gate(Grants(), "here", Listing([])).admit(Right.STATUS, reads=False)


async def test_indexes_cannot_be_listed_by_what_passed_no_gate() -> None:
    visible = VisibleIndexes.of_caller(Listing([]))  # type: ignore[arg-type]
    with pytest.raises(LookupError):
        await visible.list()


async def test_the_services_see_what_the_gate_allows() -> None:
    class Store:
        async def list(self, ids: frozenset[int] | None) -> frozenset[int] | None:
            return ids

    visible = VisibleIndexes.of_caller(Store())  # type: ignore[arg-type]
    with access.access_context(await gate(named(2)).admit(Right.READ, reads=True)):
        assert await visible.list() == frozenset([2])  # type: ignore[comparison-overlap]
    with access.access_context(await gate(EVERYTHING).admit(Right.READ, reads=True)):
        assert await visible.list() is None


async def test_what_is_more_than_can_be_asked_about_is_hidden() -> None:
    many = gate(named(0, MAX_NAMED), rows=MAX_NAMED + 1)
    assert (await many.admit(Right.READ, reads=True)).readable.ids == frozenset([0])


# --- for how long decisions are believed ---------------------------------------------------------------


class Changing(Authority):
    """One whose answer a test sets; an error is one, too."""

    def __init__(self, answer: bool | Exception) -> None:
        self.answer, self.asked = answer, 0

    async def may(self, principal: Principal, question: Question, /) -> bool:
        self.asked += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


QUESTION = Question(Right.READ, "here")
SOMEBODY = Principal("somebody", Method.KUBERNETES)


@pytest.mark.parametrize(("answer", "seconds"), [(True, ALLOWED_SECONDS), (False, REFUSED_SECONDS)])
async def test_a_decision_is_believed_for_a_while_and_no_longer(answer: bool, seconds: float) -> None:
    now = 0.0
    authority = Changing(answer)
    remembered = Remembered(authority, lambda: now)
    assert await remembered.may(SOMEBODY, QUESTION) is answer
    authority.answer = not answer
    now = seconds - 0.1
    assert await remembered.may(SOMEBODY, QUESTION) is answer
    now = seconds + 0.1
    assert await remembered.may(SOMEBODY, QUESTION) is not answer


async def test_a_decision_is_about_one_principal_and_one_question() -> None:
    authority = Changing(True)
    remembered = Remembered(authority)
    await remembered.may(SOMEBODY, QUESTION)
    await remembered.may(Principal("somebody", Method.KUBERNETES, ("a-group",)), QUESTION)
    await remembered.may(SOMEBODY, Question(Right.READ, "there"))
    await remembered.may(SOMEBODY, QUESTION)
    assert authority.asked == 3


async def test_an_authority_that_is_away_allows_nothing_and_is_asked_again() -> None:
    authority = Changing(AuthorityUnavailable("away"))
    remembered = Remembered(authority)
    for _ in range(2):
        with pytest.raises(AuthorityUnavailable):
            await remembered.may(SOMEBODY, QUESTION)
    assert authority.asked == 2
