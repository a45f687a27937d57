"""The commit that HEAD is at, as git itself says."""

import os
import subprocess
from pathlib import Path

import pytest

from codebase_index.repository.repository import bare_repository, find_repository, head_commit
from codebase_mcp.freshness.working_tree import WorkingTree


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.invalid")
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "shop"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    git(folder, "commit", "-q", "--allow-empty", "-m", "one")
    return folder


def test_it_is_git_s_answer_on_a_branch_packed_detached_and_in_a_worktree(
    repository: Path, tmp_path: Path
) -> None:
    def same(folder: Path) -> bool:
        found = find_repository(folder, tmp_path)
        return found is not None and head_commit(found) == git(folder, "rev-parse", "HEAD")

    assert same(repository)
    git(repository, "pack-refs", "--all")
    assert same(repository)
    git(repository, "commit", "-q", "--allow-empty", "-m", "two")  # loose again, beside the packed one of before
    assert same(repository)
    git(repository, "worktree", "add", "-q", "-b", "side/branch", str(tmp_path / "side"))
    git(tmp_path / "side", "commit", "-q", "--allow-empty", "-m", "three")
    assert same(tmp_path / "side") and same(repository)
    git(repository, "checkout", "-q", "--detach", "HEAD~1")
    assert same(repository)


@pytest.mark.parametrize(
    "head", ["", "ref: refs/heads/none", "ref: ../../outside", "ref: refs/../../outside", "x" * 9000]
)
def test_files_that_name_no_commit_say_so(head: str, tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("0" * 40)
    git_dir = tmp_path / "a" / ".git"
    git_dir.mkdir(parents=True)
    (git_dir / "HEAD").write_text(head)
    found = find_repository(git_dir.parent, tmp_path)
    assert found is not None and head_commit(found) is None


def test_a_pipe_is_not_waited_for(repository: Path, tmp_path: Path) -> None:
    for name in ("HEAD", "index"):
        (repository / ".git" / name).unlink(missing_ok=True)
        os.mkfifo(repository / ".git" / name)
    found = find_repository(repository, tmp_path)
    assert found is not None and head_commit(found) is None
    assert WorkingTree(repository, {}, 0.0, found).look() is None


def test_a_bare_repository_has_no_files_to_look_at(repository: Path, tmp_path: Path) -> None:
    git(repository, "clone", "-q", "--bare", str(repository), str(tmp_path / "bare.git"))
    assert bare_repository(tmp_path / "bare.git", tmp_path)
    assert not bare_repository(repository, tmp_path)
