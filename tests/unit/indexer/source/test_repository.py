"""Repositories made to lead elsewhere, or to run something: worktrees, bare ones, refs, objects, settings."""

import errno
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from codebase_index.api.source_policy import Root, SourcePolicy, SourceRefused, SourceUnreadable
from codebase_indexer.confinement import beneath
from codebase_indexer.source import objects
from codebase_indexer.source.checkout import Checkout, CloneFailed, open_source
from codebase_indexer.source.repository import commit_of, find_repository
from codebase_indexer.source.scan import scan
from tests.unit.indexer.source.test_checkout import spec
from tests.unit.indexer.source.test_scan import git, write

HOST = PurePosixPath("/home/agent/code")
"""What the root is called where agents work. There is no such folder here, as there is none in a pod."""


def text(folder: Path, *arguments: str) -> str:
    return git(folder, *arguments).decode().strip()


def commit(folder: Path, name: str = "a.py", content: str = "inside = 1\n", named_by: str = "sha1") -> str:
    """Make a repository with a commit; return its hash."""
    folder.mkdir(parents=True, exist_ok=True)
    git(folder, "init", "--quiet", "--initial-branch=main", f"--object-format={named_by}")
    write(folder, name, text=content)
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "x")
    return text(folder, "rev-parse", "HEAD")


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


def opened(policy: SourcePolicy, path: str, work: Path, ref: str | None = None) -> Checkout:
    return open_source(spec(f"{HOST}/{path}", ref), policy, work, None)


def seen(checkout: Checkout) -> dict[str, str | None]:
    found = scan(checkout.folder, boundary=checkout.boundary, roots=checkout.roots)
    return {entry.path: entry.skip_reason for entry in found}


# --- worktrees ---------------------------------------------------------------------------------------


def worktree(mount: Path, name: str, *, relative: bool = False, absolute_common: bool = False) -> Path:
    """Add a linked worktree, and let it name its repository by the path that agents know."""
    tree = mount / name
    git(mount / "repo", "worktree", "add", "-q", "-b", tree.name, str(tree))
    write(tree, "b.py", "c.log", text="of_the_worktree = 1\n")
    git(tree, "add", "b.py")
    git(tree, "commit", "-qm", "y")
    git_dir = HOST / "repo/.git/worktrees" / tree.name
    pointer = os.path.relpath(git_dir, HOST / name) if relative else git_dir
    (tree / ".git").write_text(f"gitdir: {pointer}\n")
    (mount / "repo/.git/worktrees" / tree.name / "gitdir").write_text(f"{HOST / name}/.git\n")
    if absolute_common:
        (mount / "repo/.git/worktrees" / tree.name / "commondir").write_text(f"{HOST}/repo/.git\n")
    return tree


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


# --- a disk that fails ----------------------------------------------------------------------------------


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
    monkeypatch.setattr(beneath, "_open_beneath", failing(beneath._open_beneath, beneath_of))


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


# --- what a bare repository, or one whose ref is asked for, leads to -----------------------------------


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


# --- what a repository configures ----------------------------------------------------------------------


@pytest.fixture
def proof(tmp_path: Path) -> Path:
    """A file that exists when something was run; `evil.sh` beside it makes it."""
    script = tmp_path / "evil.sh"
    script.write_text(f'#!/bin/sh\necho "$0 $*" >> {tmp_path}/proof\nexit 1\n')
    script.chmod(0o755)
    return tmp_path / "proof"


def configure(folder: Path, script: Path, secret: Path) -> None:
    """Give a repository every setting by which git runs something, or reads or asks something elsewhere."""
    programs = [
        "core.fsmonitor", "core.sshCommand", "core.pager", "core.editor", "core.askPass", "core.gitProxy",
        "core.alternateRefsCommand", "diff.external", "filter.x.clean", "filter.x.smudge", "filter.x.process",
        "credential.helper", "gpg.program", "merge.x.driver", "uploadpack.packObjectsHook", "sequence.editor",
        "remote.origin.uploadpack", "remote.origin.vcs", "trailer.x.command", "pager.ls-files",
    ]  # fmt: skip
    for key in programs:
        git(folder.parent, "config", "--file", "repo/.git/config", key, str(script))
    for key, value in {
        "alias.ls-files": f"!{script}", "alias.upload-pack": f"!{script}", "filter.x.required": "true",
        "core.worktree": str(secret), "core.hooksPath": str(script.parent), "core.attributesFile": "/etc/hostname",
        "core.excludesFile": "/etc/hostname", "remote.origin.url": f"ext::{script}", "protocol.allow": "always",
        "remote.origin.promisor": "true", "extensions.partialClone": "origin", "core.repositoryFormatVersion": "1",
        "protocol.ext.allow": "always", "url.ext::sh -c id.insteadOf": "file://", "safe.directory": "*",
        "include.path": str(secret / "secret.py"), "submodule.recurse": "true",
    }.items():  # fmt: skip
        git(folder.parent, "config", "--file", "repo/.git/config", key, value)
    hooks = folder / ".git" / "hooks"
    hooks.mkdir(exist_ok=True)
    for name in (
        "post-checkout",
        "post-index-change",
        "reference-transaction",
        "pre-upload-pack",
        "fsmonitor-watchman",
    ):
        shutil.copy(script, hooks / name)


@pytest.mark.parametrize("missing", [False, True], ids=["whole", "a blob is missing that a promisor would send"])
@pytest.mark.parametrize("ref", [None, "main"])
def test_no_setting_of_a_repository_runs_or_reads_anything(
    ref: str | None, missing: bool, mount: Path, policy: SourcePolicy, secret: Path, proof: Path, tmp_path: Path
) -> None:
    repo = mount / "repo"
    write(repo, ".gitattributes", text="* filter=x diff=x merge=x\n")
    write(repo, ".gitmodules", text='[submodule "x"]\n\tpath = x\n\turl = ext::sh -c id\n')
    git(repo, "add", ".")
    git(repo, "commit", "-qm", "y")
    if missing:
        blob = text(repo, "rev-parse", "HEAD:a.py")
        (repo / ".git" / "objects" / blob[:2] / blob[2:]).unlink()
    configure(repo, proof.with_name("evil.sh"), secret)
    try:
        checkout = opened(policy, "repo", tmp_path / "work", ref)
        assert set(seen(checkout)) == {"a.py", ".gitattributes", ".gitmodules"}
    except CloneFailed as error:
        assert missing and ref, error  # what is not there cannot be indexed
    assert not proof.exists(), proof.read_text()


def test_a_replaced_or_grafted_commit_is_what_its_hash_says(
    mount: Path, policy: SourcePolicy, tmp_path: Path
) -> None:
    repo = mount / "repo"
    head = text(repo, "rev-parse", "HEAD")
    blob = text(repo, "rev-parse", "HEAD:a.py")
    other = subprocess.run(
        ["git", "-C", repo, "hash-object", "-w", "--stdin"], input=b"replaced\n", capture_output=True, check=True
    ).stdout.decode().strip()  # fmt: skip
    git(repo, "replace", blob, other)
    write(repo, ".git/info/grafts", text=f"{head}\n")
    checkout = opened(policy, "repo", tmp_path / "work", "main")
    assert (checkout.commit, (checkout.folder / "a.py").read_text()) == (head, "inside = 1\n")


def test_an_object_that_is_not_what_its_name_says_is_not_checked_out(
    mount: Path, policy: SourcePolicy, tmp_path: Path
) -> None:
    """Whose word is taken for a blob: only objects' that were hashed on their way."""
    repo = mount / "repo"
    blob = text(repo, "rev-parse", "HEAD:a.py")
    other = subprocess.run(
        ["git", "-C", repo, "hash-object", "-w", "--stdin"], input=b"something\n", capture_output=True, check=True
    ).stdout.decode().strip()  # fmt: skip
    target = repo / ".git" / "objects" / blob[:2] / blob[2:]
    target.chmod(0o644)
    shutil.copyfile(repo / ".git" / "objects" / other[:2] / other[2:], target)
    with pytest.raises(CloneFailed):
        opened(policy, "repo", tmp_path / "work", "main")
