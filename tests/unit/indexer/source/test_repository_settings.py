"""What a repository configures, replaces or names falsely has no effect."""

import shutil
import subprocess
from pathlib import Path

import pytest

from codebase_index.api.source_policy import SourcePolicy
from codebase_indexer.source.checkout import CloneFailed
from tests.unit.indexer.repositories import git, write
from tests.unit.indexer.source.agents_root import opened, seen, text


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
