"""States and names of a job."""

import re

from hypothesis import given
from hypothesis import strategies as st

from codebase_index.api.job import (
    ACTIVE,
    FINAL,
    MAX_NAME_LENGTH,
    TRANSITIONS,
    JobState,
    job_name,
    pod_name,
    run_number,
    target_of,
)

DNS_LABEL = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")

sources = st.text(min_size=1, max_size=300).map(lambda text: f"/{text}")


def test_the_final_states_are_the_three_of_the_contract() -> None:
    assert {JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED} == FINAL


def test_from_every_active_state_an_end_can_be_reached() -> None:
    for state in ACTIVE:
        assert TRANSITIONS[state] & FINAL


def test_a_trailing_slash_is_the_same_target_and_another_ref_is_another() -> None:
    assert target_of("/code/shop/", None) == target_of("/code/shop", None)
    assert target_of("/code/shop", "main") != target_of("/code/shop", None)


def test_what_is_left_out_makes_another_target_and_nothing_left_out_the_same_as_ever() -> None:
    whole = target_of("/code/shop", None)
    assert whole == target_of("/code/shop", None, [], []) == "cf61feb3fd84bba6"  # of release 0.1.0
    filters = [(["src/"], []), ([], ["src/"]), (["src/"], ["src/"]), (["src/", "a"], [])]
    assert len({whole, *(target_of("/code/shop", None, *both) for both in filters)}) == 5


def test_the_order_of_globs_counts_only_where_one_takes_back_others() -> None:
    assert target_of("/s", None, ["b", "a", "b"]) == target_of("/s", None, ["a", "b"])
    assert target_of("/s", None, [], ["*.py", "!a.py"]) != target_of("/s", None, [], ["!a.py", "*.py"])


@given(sources, st.integers(min_value=1, max_value=999_999_999))
def test_every_job_and_pod_has_a_name_that_kubernetes_accepts(source: str, run: int) -> None:
    target = target_of(source, None)
    name = job_name(source, target, run)
    assert DNS_LABEL.fullmatch(name) and len(name) <= MAX_NAME_LENGTH
    assert DNS_LABEL.fullmatch(pod_name(name, 999_999)) and len(pod_name(name, 999_999)) <= 63
    assert run_number(name, target) == run


def test_a_name_of_somebody_s_own_has_no_run_number() -> None:
    assert run_number("my-job-7", target_of("/code/shop", None)) == 0
