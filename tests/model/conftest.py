"""One bench for the model's tests."""

from collections.abc import Iterator

import pytest

from tests.model.bench import Bench
from tests.model.controller import use_clock


@pytest.fixture(scope="module")
def bench(postgres: str) -> Iterator[Bench]:
    bench = Bench(postgres)
    use_clock(lambda: bench.now)
    yield bench
    bench.shut()
