"""A root with a repository, mounted elsewhere than agents know it, and one outside of every root."""

from pathlib import Path

import pytest

from codebase_index.api.source_policy import Root, SourcePolicy
from tests.unit.indexer.source.agents_root import HOST, commit


@pytest.fixture
def mount(tmp_path: Path) -> Path:
    """A root with the repository `repo`, mounted elsewhere than agents know it."""
    commit(tmp_path / "mount" / "repo")
    return tmp_path / "mount"


@pytest.fixture
def policy(mount: Path) -> SourcePolicy:
    return SourcePolicy((Root(HOST, mount),))


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A repository outside of every root."""
    commit(tmp_path / "outside" / "private", "secret.py", "outside_secret = 1\n")
    return tmp_path / "outside" / "private"
