"""Which repository a caller's folder belongs to."""

import asyncio
from pathlib import Path, PurePosixPath

import pytest

from codebase_index.api.source_policy import Root, SourcePolicy
from codebase_mcp.freshness.own import OwnRepositories


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder that is under git, as some keep their settings, with a project in it."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for folder in (".git", "project/.git", "project/src", "downloads"):
        (tmp_path / folder).mkdir(parents=True)
    return tmp_path


def test_a_home_folder_is_nobody_s_own_repository(home: Path) -> None:
    own = OwnRepositories(SourcePolicy((Root(PurePosixPath(home), home),)))

    def of(folder: str) -> list[str]:
        return asyncio.run(own.of([str(home / folder)], []))

    assert of("project/src") == [str(home / "project")]
    assert of("downloads") == of("") == []
    assert asyncio.run(own.unindexed([f"{home}/projct"], [])) == []
