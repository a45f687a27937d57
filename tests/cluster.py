"""Fixtures for tests marked `cluster`: the product as users have it, the chart on `make up`."""

import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.connection import port_forward
from demo.deploy import deploy
from demo.tools import CHECKOUT
from tests.fixtures.generate_test_repo import generate

REPOSITORIES = CHECKOUT / "build" / "test-repositories"

# The normal run uses a smaller repository of the same kind; `make test-large` the quickstart's 15,000 files.
FILE_COUNT = int(os.environ.get("CODEBASE_TEST_FILES", "1500"))


@pytest.fixture(scope="session")
def repositories() -> Path:
    """A folder of this machine that is a repository root in the cluster."""
    REPOSITORIES.mkdir(parents=True, exist_ok=True)
    return REPOSITORIES


@pytest.fixture(scope="session")
def server_url(repositories: Path) -> Iterator[str]:
    """The address of the MCP server in the cluster, with the chart as this checkout has it."""
    deploy([repositories])
    with port_forward() as url:
        yield url


@pytest.fixture(scope="session")
def large_repository(repositories: Path) -> str:
    """The quickstart's generated repository; made once, kept for later runs of the same size."""
    folder = repositories / f"test-repo-{FILE_COUNT}"
    complete = folder.with_suffix(".complete")
    if not complete.exists():
        shutil.rmtree(folder, ignore_errors=True)
        generate(folder, file_count=FILE_COUNT, avg_lines=200)
        complete.touch()
    return str(folder)


@pytest.fixture
def small_repository(repositories: Path) -> Iterator[str]:
    """A repository of 20 files that no other test has seen."""
    folder = repositories / f"small-{uuid.uuid4().hex[:8]}"
    generate(folder, file_count=20, avg_lines=60)
    yield str(folder)
    shutil.rmtree(folder)
