"""A bare repository, or one whose ref is asked for: what its objects and references lead to."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from codebase_index.api.source_policy import SourcePolicy, SourceRefused
from codebase_index.repository.repository import commit_of, find_repository
from codebase_indexer.source import objects
from codebase_indexer.source.checkout import CloneFailed
from tests.unit.indexer.repositories import git, write
from tests.unit.indexer.source.agents_root import HOST, commit, opened, seen, text


def _objects_link(bare: Path, secret: Path) -> None:
    shutil.rmtree(bare / "objects")
    (bare / "objects").symlink_to(secret / ".git" / "objects")
    _head_of(bare, secret)


def _alternates(bare: Path, secret: Path) -> None:
    (bare / "objects" / "info").mkdir(exist_ok=True)
    (bare / "objects" / "info" / "alternates").write_text(f"# of another\n{secret}/.git/objects\n")
    _head_of(bare, secret)


def _relative_alternates(bare: Path, secret: Path) -> None:
    (bare / "objects" / "info").mkdir(exist_ok=True)
    where = os.path.relpath(secret / ".git" / "objects", bare / "objects")
    (bare / "objects" / "info" / "alternates").write_text(f"{where}\n")
    _head_of(bare, secret)


def _alternates_of_alternates(bare: Path, secret: Path) -> None:
    between = bare.with_name("between")
    (between / "info").mkdir(parents=True)
    (between / "info" / "alternates").write_text(f"{secret}/.git/objects\n")
    (bare / "objects" / "info").mkdir(exist_ok=True)
    (bare / "objects" / "info" / "alternates").write_text("../../between\n")
    _head_of(bare, secret)


def _fan_links(bare: Path, secret: Path) -> None:
    for folder in (secret / ".git" / "objects").glob("??"):
        if not (bare / "objects" / folder.name).exists():
            (bare / "objects" / folder.name).symlink_to(folder)
    _head_of(bare, secret)


def _loose_links(bare: Path, secret: Path) -> None:
    for file in (secret / ".git" / "objects").glob("??/*"):
        (bare / "objects" / file.parent.name).mkdir(exist_ok=True)
        (bare / "objects" / file.parent.name / file.name).symlink_to(file)
    _head_of(bare, secret)


def _pack_links(bare: Path, secret: Path) -> None:
    git(secret, "gc", "--quiet")
    for file in (secret / ".git" / "objects" / "pack").iterdir():
        (bare / "objects" / "pack").mkdir(exist_ok=True)
        (bare / "objects" / "pack" / file.name).symlink_to(file)
    _head_of(bare, secret)


def _head_link(bare: Path, secret: Path) -> None:
    (bare / "HEAD").unlink()
    (bare / "HEAD").symlink_to(secret / ".git" / "refs" / "heads" / "main")


def _refs_link(bare: Path, secret: Path) -> None:
    shutil.rmtree(bare / "refs")
    (bare / "refs").symlink_to(secret / ".git" / "refs")


def _packed_refs_link(bare: Path, secret: Path) -> None:
    git(secret, "pack-refs", "--all")
    (bare / "packed-refs").unlink(missing_ok=True)
    (bare / "packed-refs").symlink_to(secret / ".git" / "packed-refs")
    for file in (bare / "refs" / "heads").iterdir():
        file.unlink()


def _head_of(bare: Path, secret: Path) -> None:
    (bare / "HEAD").write_text(text(secret, "rev-parse", "HEAD") + "\n")


WAYS_OUT = [
    _objects_link, _alternates, _relative_alternates, _alternates_of_alternates, _fan_links, _loose_links,
    _pack_links, _head_link, _refs_link, _packed_refs_link,
]  # fmt: skip


@pytest.mark.parametrize("way", WAYS_OUT, ids=lambda way: way.__name__.strip("_"))
@pytest.mark.parametrize("bare", [True, False], ids=["bare", "ref"])
def test_what_leads_out_of_the_roots_is_refused_with_a_type(
    bare: bool, way: Callable[[Path, Path], None], mount: Path, policy: SourcePolicy, secret: Path, tmp_path: Path
) -> None:
    folder = mount / "repo" / ".git"
    if bare:
        folder = folder.rename(mount / "bare.git")
    way(folder, secret)
    with pytest.raises(SourceRefused, match=r"outside every repository root|contain a link"):
        opened(policy, "bare.git" if bare else "repo", tmp_path / "work", None if bare else "HEAD")
    assert not list((tmp_path / "work").rglob("secret.py"))


def test_a_repository_that_shares_objects_beneath_the_roots_is_read(
    mount: Path, policy: SourcePolicy, tmp_path: Path
) -> None:
    git(mount, "clone", "--quiet", "--bare", "--shared", "repo", "shared.git")
    names = mount / "shared.git" / "objects" / "info" / "alternates"
    assert "repo" in names.read_text()
    assert set(seen(opened(policy, "shared.git", tmp_path / "work"))) == {"a.py"}
    names.write_text(f"{HOST}/repo/.git/objects\n")  # as the machine calls it that agents work on
    assert set(seen(opened(policy, "shared.git", tmp_path / "again"))) == {"a.py"}


@pytest.mark.parametrize("prepare", [(), ("gc", "--quiet"), ("pack-refs", "--all")], ids=str)
def test_loose_and_packed_references_and_objects_are_found(
    prepare: tuple[str, ...], mount: Path, policy: SourcePolicy, tmp_path: Path
) -> None:
    repo = mount / "repo"
    git(repo, "tag", "-a", "-m", "x", "v1")
    git(repo, "symbolic-ref", "refs/heads/alias", "refs/heads/main")
    git(repo, "update-ref", "refs/remotes/origin/other", "HEAD")
    if prepare:
        git(repo, *prepare)
    head = text(repo, "rev-parse", "HEAD")
    found = find_repository(repo, mount)
    assert found is not None
    for name in ("main", "heads/main", "refs/heads/main", "alias", "origin/other", "HEAD", head):
        assert commit_of(found, name) == head, name
    assert commit_of(found, "v1") == text(repo, "rev-parse", "v1")
    for name in ("mai", "../HEAD", "refs/../HEAD", "refs/heads/../../HEAD", "/etc/hostname", "", "main\n", "-x"):
        assert commit_of(found, name) is None, name
    checkout = opened(policy, "repo", tmp_path / "work", "v1")
    assert (checkout.commit, set(seen(checkout))) == (head, {"a.py"})


def test_more_objects_than_there_is_room_for_are_refused(
    mount: Path, policy: SourcePolicy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "MAX_LOOSE_BYTES", 5000)
    with pytest.raises(SourceRefused, match="git gc"):
        opened(policy, "repo", tmp_path / "work", "main")
    git(mount / "repo", "gc", "--quiet")
    assert set(seen(opened(policy, "repo", tmp_path / "work", "main"))) == {"a.py"}
    assert sorted(file.name for file in (tmp_path / "work").iterdir()) == ["repository", "repository.commit"]


def test_references_that_name_each_other_end(mount: Path) -> None:
    write(mount / "repo", ".git/refs/heads/one", text="ref: refs/heads/two\n")
    write(mount / "repo", ".git/refs/heads/two", text="ref: refs/heads/one\n")
    found = find_repository(mount / "repo", mount)
    assert found is not None
    assert commit_of(found, "one") is None


def test_a_sha256_repository_is_fetched(mount: Path, policy: SourcePolicy, tmp_path: Path) -> None:
    head = commit(mount / "new", named_by="sha256")
    assert len(head) == 64
    checkout = opened(policy, "new", tmp_path / "work", "main")
    assert (checkout.commit, set(seen(checkout))) == (head, {"a.py"})


def test_a_folder_that_is_a_link_in_the_commit_is_none(mount: Path, policy: SourcePolicy, tmp_path: Path) -> None:
    repo = mount / "repo"
    (repo / "part").symlink_to("/etc")
    git(repo, "add", ".")
    git(repo, "commit", "-qm", "y")
    (repo / "part").unlink()
    write(repo, "part/a.py")
    with pytest.raises(CloneFailed, match="has no folder part"):
        opened(policy, "repo/part", tmp_path / "work", "main")


@pytest.mark.parametrize(
    "name", ["HEAD", "packed-refs", "config", "index", "commondir", "info/exclude", "info/attributes", "shallow"]
)
def test_a_pipe_in_a_repository_holds_nobody(name: str, mount: Path, policy: SourcePolicy, tmp_path: Path) -> None:
    file = mount / "repo" / ".git" / name
    file.parent.mkdir(exist_ok=True)
    file.unlink(missing_ok=True)
    os.mkfifo(file)
    assert set(seen(opened(policy, "repo", tmp_path / "work"))) == {"a.py"}
    if name not in ("HEAD",):
        assert set(seen(opened(policy, "repo", tmp_path / "work", "main"))) == {"a.py"}


def test_a_pipe_in_place_of_git_or_of_rules_holds_nobody(
    mount: Path, policy: SourcePolicy, tmp_path: Path
) -> None:
    for name in (".git", ".mcpignore", ".gitattributes"):
        write(mount / "odd", "a.py")
        os.mkfifo(mount / "odd" / name)
    assert set(seen(opened(policy, "odd", tmp_path / "work"))) == {"a.py"}
