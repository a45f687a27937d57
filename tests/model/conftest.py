"""One bench for the model's tests, and the model's clock for the operator during each of them."""

from collections.abc import Iterator

import pytest

from codebase_operator import reconciler
from tests.model.harness import Bench


@pytest.fixture(scope="session")
def all_lives(postgres: str) -> Iterator[Bench]:
    bench = Bench(postgres)
    yield bench
    bench.shut()


@pytest.fixture
def bench(all_lives: Bench, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(reconciler, "datetime", all_lives.clock())
    return all_lives
