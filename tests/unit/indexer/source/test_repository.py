"""Which repository a folder belongs to: worktrees, submodules, pointers that lead out, and a disk that fails."""

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from codebase_index import beneath
from codebase_index.api.source_policy import Root, SourcePolicy, SourceRefused, SourceUnreadable
from codebase_indexer.source.checkout import open_source
from codebase_indexer.source.scan import scan
from tests.unit.indexer.repositories import git, spec, write
from tests.unit.indexer.source.agents_root import HOST, commit, opened, seen, text, worktree


@pytest.mark.parametrize("name", ["tree", "agents/1/tree"])
@pytest.mark.parametrize("form", [{}, {"relative": True}, {"absolute_common": True}], ids=str)
def test_a_worktree_that_names_its_repository_by_the_path_of_the_host_is_one(
    name: str, form: dict[str, bool], mount: Path, policy: SourcePolicy, tmp_path: Path
) -> None:
    tree = worktree(mount, name, **form)
    (mount / "repo" / ".git" / "info").mkdir(exist_ok=True)
    (mount / "repo" / ".git" / "info" / "exclude").write_text("*.log\n")
    head = (mount / "repo/.git/refs/heads/tree").read_text().strip()
    os.utime(mount / "repo/.git/worktrees/tree/index")
    checkout = opened(policy, name, tmp_path / "work")
    assert (checkout.folder, checkout.commit) == (tree, head)
    assert seen(checkout) == {"a.py": None, "b.py": None}
    assert all(entry.blob for entry in scan(tree, boundary=mount, roots=policy.roots)), (
        "git knows that they are unmodified"
    )


@pytest.mark.parametrize("ref", ["tree", "main", "HEAD"])
def test_references_of_such_a_worktree_are_found(
    ref: str, mount: Path, policy: SourcePolicy, tmp_path: Path
) -> None:
    worktree(mount, "tree")
    checkout = opened(policy, "tree", tmp_path / "work", ref)
    assert set(seen(checkout)) == ({"a.py"} if ref == "main" else {"a.py", "b.py"})


@pytest.mark.parametrize("relative", [True, False])
def test_a_worktree_and_its_repository_may_lie_in_two_roots(relative: bool, mount: Path, tmp_path: Path) -> None:
    worktree(mount, "tree", relative=relative)
    (tmp_path / "second").mkdir()
    (mount / "tree").rename(tmp_path / "second" / "tree")
    pointer = (
        PurePosixPath("../../code/repo/.git/worktrees/tree") if relative else HOST / "repo/.git/worktrees/tree"
    )
    (tmp_path / "second" / "tree" / ".git").write_text(f"gitdir: {pointer}\n")
    policy = SourcePolicy((Root(HOST, mount), Root(HOST.with_name("trees"), tmp_path / "second")))
    checkout = open_source(spec("/home/agent/trees/tree"), policy, tmp_path / "work", None)
    assert checkout.commit == text(mount / "repo", "rev-parse", "tree")
    assert {"a.py", "b.py"} <= set(seen(checkout))


def test_a_submodule_is_a_repository_by_its_own_path(mount: Path, policy: SourcePolicy, tmp_path: Path) -> None:
    commit(tmp_path / "library", "lib.py")
    add = ["submodule", "--quiet", "add", str(tmp_path / "library"), "lib"]
    git(mount / "repo", "-c", "protocol.file.allow=always", *add)
    checkout = opened(policy, "repo/lib", tmp_path / "work")
    assert checkout.commit == text(tmp_path / "library", "rev-parse", "HEAD")
    assert seen(checkout) == {"lib.py": None}


def test_the_host_may_know_a_root_by_another_path_than_users(mount: Path, tmp_path: Path) -> None:
    tree = worktree(mount, "tree")
    policy = SourcePolicy((Root(PurePosixPath("/code"), mount, HOST),))
    checkout = open_source(spec("/code/tree"), policy, tmp_path / "work", None)
    assert checkout.commit == text(mount / "repo", "rev-parse", "tree")
    assert checkout.folder == tree


POINTERS = [
    "{secret}/.git", "../../outside/private/.git", "/etc", "/nowhere", "x\0y", "", "../repo/.git\0/../../outside",
]  # fmt: skip


@pytest.mark.parametrize("pointer", POINTERS)
@pytest.mark.parametrize("kind", ["gitdir", "commondir", "link"])
def test_a_repository_outside_is_not_reached(
    kind: str, pointer: str, mount: Path, policy: SourcePolicy, secret: Path, tmp_path: Path
) -> None:
    trap = mount / "trap"
    write(trap, "own.py")
    pointer = pointer.format(secret=secret)
    if kind == "gitdir":
        (trap / ".git").write_text(f"gitdir: {pointer}\n")
    elif kind == "commondir":
        shutil.copytree(mount / "repo" / ".git", trap / ".git")
        (trap / ".git" / "index").unlink()
        (trap / ".git" / "commondir").write_text(f"{pointer or '/'}\n")
    else:
        (trap / ".git").symlink_to(pointer.replace("\0", "") or "/")
    checkout = opened(policy, "trap", tmp_path / "work")
    assert (checkout.commit, set(seen(checkout))) == (None, {"own.py"})
    with pytest.raises(SourceRefused, match=r"outside every repository root|neither a folder"):
        opened(policy, "trap", tmp_path / "work", "main")


def fail_at(place: Path, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the disk answer with an error whenever a path is looked at, resolved or opened."""

    def failing(call: Callable[..., Any], path_of: Callable[..., Path]) -> Callable[..., Any]:
        def answer(*arguments: Any, **options: Any) -> Any:
            if path_of(*arguments) == place:
                raise OSError(number, os.strerror(number), str(place))
            return call(*arguments, **options)

        return answer

    def beneath_of(top: int, path: bytes, flags: int) -> Path:
        return Path(f"/proc/self/fd/{top}").readlink() / os.fsdecode(path)

    def path_of(path: Any, *_: Any) -> Path:
        return Path() if isinstance(path, int) else Path(os.fsdecode(path))

    for call in ("stat", "lstat", "readlink"):
        monkeypatch.setattr(os, call, failing(getattr(os, call), path_of))
    monkeypatch.setattr(beneath, "open_beneath", failing(beneath.open_beneath, beneath_of))


@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES, errno.ESTALE], ids=errno.errorcode.get)
@pytest.mark.parametrize("place", [".git", ".git/HEAD", ".git/refs/heads/main", ".git/commondir"])
def test_a_repository_that_cannot_be_read_is_no_plain_folder(
    place: str, number: int, mount: Path, policy: SourcePolicy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_at(mount / "repo" / place, number, monkeypatch)
    with pytest.raises(SourceUnreadable, match=r"chmod|bring its disk or share back"):
        opened(policy, "repo", tmp_path / "work")
    monkeypatch.undo()
    assert opened(policy, "repo", tmp_path / "work").commit == text(mount / "repo", "rev-parse", "HEAD")


@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES, errno.ESTALE], ids=errno.errorcode.get)
def test_a_worktree_whose_repository_cannot_be_read_is_no_plain_folder(
    number: int, mount: Path, policy: SourcePolicy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worktree(mount, "tree")
    fail_at(mount / "repo/.git/worktrees", number, monkeypatch)
    with pytest.raises(SourceUnreadable):
        opened(policy, "tree", tmp_path / "work")


@pytest.mark.parametrize("place", ["HEAD", "objects", "refs"])
def test_a_bare_repository_that_cannot_be_read_is_no_plain_folder(
    place: str, mount: Path, policy: SourcePolicy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(mount, "clone", "--quiet", "--bare", "repo", "bare.git")
    fail_at(mount / "bare.git" / place, errno.ESTALE, monkeypatch)
    with pytest.raises(SourceUnreadable):
        opened(policy, "bare.git", tmp_path / "work")
