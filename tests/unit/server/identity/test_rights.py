"""What grants and roles are worth: nothing that they do not name."""

from hypothesis import given
from hypothesis import strategies as st

from codebase_mcp.identity.rights import EVERYTHING, Grant, Question, Right, Role, covered

NAMES = st.sampled_from(["a", "b", "c"])
RIGHTS = st.sampled_from(list(Right))
QUESTIONS = st.builds(Question, RIGHTS, NAMES, st.none() | NAMES)
SOME = st.none() | st.frozensets(NAMES)
GRANTS = st.builds(Grant, st.frozensets(RIGHTS), SOME, SOME)


@given(grants=st.lists(GRANTS), question=QUESTIONS)
def test_a_yes_is_one_that_a_grant_spells_out(grants: list[Grant], question: Question) -> None:
    says = [
        question.right in grant.rights
        and (grant.namespaces is None or question.namespace in grant.namespaces)
        and (grant.indexes is None or (question.right is Right.READ and question.index in grant.indexes))
        for grant in grants
    ]
    assert covered(grants, question) == any(says)


@given(grants=st.lists(GRANTS), more=GRANTS, question=QUESTIONS)
def test_a_further_grant_takes_nothing_away(grants: list[Grant], more: Grant, question: Question) -> None:
    assert covered([*grants, more], question) >= covered(grants, question)


@given(grant=GRANTS, right=RIGHTS, namespace=NAMES, name=NAMES)
def test_who_may_read_all_may_read_each_and_not_the_other_way_round(
    grant: Grant, right: Right, namespace: str, name: str
) -> None:
    assert grant.covers(Question(right, namespace, name)) >= grant.covers(Question(right, namespace))
    if grant.indexes is not None:
        assert not grant.covers(Question(right, namespace))


@given(question=QUESTIONS)
def test_without_grants_everything_is_refused_and_the_owner_may_everything(question: Question) -> None:
    assert not covered([], question)
    assert covered([EVERYTHING], question)


def test_each_role_may_what_the_one_before_may_and_more() -> None:
    reader, writer, owner = Role.READER.rights, Role.WRITER.rights, Role.OWNER.rights
    assert reader < writer < owner == frozenset(Right)
    assert not any(right.changes for right in reader)
    assert not {Right.DELETE, Right.PRIORITIZE} & writer
