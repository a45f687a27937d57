"""What the cluster tests ask of the cluster, without one."""

from collections.abc import Iterator

import pytest

from tests.support import kube, waiting


def test_the_facts_of_a_job_wait_until_the_operator_has_made_its_row(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: Iterator[str] = iter(["", "", '{"state": "pending"}'])
    monkeypatch.setattr(kube, "query", lambda _: next(answers))
    assert kube.facts("00000000-0000-0000-0000-000000000001") == {"state": "pending"}


def test_a_job_that_never_gets_a_row_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kube, "query", lambda _: "")
    monkeypatch.setattr(waiting, "PATIENCE", 0.0)
    with pytest.raises(AssertionError, match="does not hold that job lost has a row"):
        kube.facts("lost")
