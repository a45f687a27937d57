"""Sources: paths as they lie, refs and URLs fetched by real git from real repositories on disk."""

import os
import pwd
import subprocess
from pathlib import Path, PurePosixPath

import pytest

from codebase_index.api.resource import IndexingJobSpec
from codebase_index.api.source_policy import Root, SourceNotFound, SourcePolicy, SourceRefused
from codebase_indexer.source import checkout as checkout_module
from codebase_indexer.source import git, remote
from codebase_indexer.source.checkout import CloneFailed, open_source
from tests.unit.indexer.repositories import ENV, spec


def run(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, env=ENV, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """A repository with the branch `main` (two commits), the branch `old` and the tag `v1` on the first."""
    folder = tmp_path / "roots" / "repo"
    (folder / "part").mkdir(parents=True)
    run(folder, "init", "--quiet", "--initial-branch=main")
    (folder / "part" / "a.py").write_text("first = 1\n")
    run(folder, "add", ".")
    run(folder, "commit", "-qm", "first")
    run(folder, "branch", "old")
    run(folder, "tag", "v1")
    (folder / "part" / "a.py").write_text("second = 2\n")
    run(folder, "commit", "-qam", "second")
    return folder


@pytest.fixture
def policy(repo: Path) -> SourcePolicy:
    return SourcePolicy((Root(PurePosixPath("/repos"), repo.parent),), frozenset({"git.example.org"}))


def test_a_path_is_read_where_it_lies(repo: Path, policy: SourcePolicy, tmp_path: Path) -> None:
    (repo / "part" / "a.py").write_text("work = 'in progress'\n")
    checkout = open_source(spec(), policy, tmp_path / "work", None)
    assert checkout.folder == repo
    assert checkout.boundary == repo.parent
    assert checkout.commit == run(repo, "rev-parse", "HEAD")
    assert not (tmp_path / "work").exists()


def test_a_plain_folder_has_no_commit(repo: Path, policy: SourcePolicy, tmp_path: Path) -> None:
    (repo.parent / "plain").mkdir()
    assert open_source(spec("/repos/plain"), policy, tmp_path / "work", None).commit is None


def test_a_repository_without_a_commit_has_none(repo: Path, policy: SourcePolicy, tmp_path: Path) -> None:
    fresh = repo.parent / "fresh"
    fresh.mkdir()
    run(fresh, "init", "--quiet")
    assert open_source(spec("/repos/fresh"), policy, tmp_path / "work", None).commit is None


@pytest.mark.parametrize(
    "ref", ["old", "v1", "refs/heads/old", "hash", "short hash", "fix/#123", "übersicht", "origin/main"]
)
def test_a_ref_of_a_path_is_fetched_not_read_from_the_working_tree(
    ref: str, repo: Path, policy: SourcePolicy, tmp_path: Path
) -> None:
    first = run(repo, "rev-parse", "old")
    for name in ("refs/heads/fix/#123", "refs/heads/übersicht", "refs/remotes/origin/main"):
        run(repo, "update-ref", name, first)
    before = sorted(p.name for p in (repo / ".git").rglob("*"))
    named = {"hash": first, "short hash": first[:7]}.get(ref, ref)
    checkout = open_source(spec(ref=named), policy, tmp_path / "work", None)
    assert checkout.commit == first
    assert checkout.folder == checkout.boundary != repo
    assert (checkout.folder / "part" / "a.py").read_text() == "first = 1\n"
    assert sorted(p.name for p in (repo / ".git").rglob("*")) == before


def test_a_later_attempt_indexes_the_commit_of_the_first(repo: Path, policy: SourcePolicy, tmp_path: Path) -> None:
    first = run(repo, "rev-parse", "old")
    run(repo, "branch", "-f", "old", "main")  # moved on meanwhile
    checkout = open_source(spec(ref="old"), policy, tmp_path / "work", first)
    assert checkout.commit == first


def test_a_complete_checkout_is_used_again(
    repo: Path, policy: SourcePolicy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = open_source(spec(ref="old"), policy, tmp_path / "work", None).commit
    monkeypatch.setattr(checkout_module, "_fetch_once", lambda *_: pytest.fail("fetched again"))
    assert open_source(spec(ref="old"), policy, tmp_path / "work", commit).commit == commit


def test_a_checkout_that_was_interrupted_is_done_again(repo: Path, policy: SourcePolicy, tmp_path: Path) -> None:
    (tmp_path / "work" / "repository").mkdir(parents=True)
    (tmp_path / "work" / "repository" / "rubbish").write_text("x")
    checkout = open_source(spec(ref="old"), policy, tmp_path / "work", run(repo, "rev-parse", "old"))
    assert not (checkout.folder / "rubbish").exists()


def test_a_folder_inside_a_repository_at_a_ref(repo: Path, policy: SourcePolicy, tmp_path: Path) -> None:
    checkout = open_source(spec("/repos/repo/part", ref="old"), policy, tmp_path / "work", None)
    assert (checkout.folder / "a.py").read_text() == "first = 1\n"


def test_a_bare_repository_is_checked_out(repo: Path, policy: SourcePolicy, tmp_path: Path) -> None:
    run(repo.parent, "clone", "--quiet", "--bare", "repo", "bare.git")
    checkout = open_source(spec("/repos/bare.git"), policy, tmp_path / "work", None)
    assert (checkout.folder / "part" / "a.py").read_text() == "second = 2\n"


def test_hooks_filters_and_lfs_do_not_run_in_a_checkout(repo: Path, policy: SourcePolicy, tmp_path: Path) -> None:
    proof = tmp_path / "proof"
    (repo / ".gitattributes").write_text("*.py filter=lfs\n")
    run(repo, "add", ".")
    run(repo, "commit", "-qm", "third")
    for name in ("post-checkout", "pre-upload-pack", "reference-transaction"):
        hook = repo / ".git" / "hooks" / name
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(f"#!/bin/sh\ntouch {proof}\n")
        hook.chmod(0o755)
    run(repo, "config", "uploadpack.packObjectsHook", f"touch {proof}; ")
    run(repo, "config", "filter.lfs.smudge", f"touch {proof}")
    open_source(spec(ref="main"), policy, tmp_path / "work", None)
    assert not proof.exists()


@pytest.mark.parametrize(
    ("path", "ref", "message"),
    [
        ("/repos/repo", "nope", "has no ref nope"),
        ("/repos/repo", "0123456", "has no ref 0123456"),
        ("/repos/plain", "main", "not a git repository"),
        ("/repos/repo/later", "old", "has no folder later"),
    ],
)
def test_a_ref_that_can_not_be_had_says_what_to_do(
    path: str, ref: str, message: str, repo: Path, policy: SourcePolicy, tmp_path: Path
) -> None:
    (repo.parent / "plain").mkdir()
    (repo / "later").mkdir()
    with pytest.raises(CloneFailed, match=message):
        open_source(spec(path, ref), policy, tmp_path / "work", None)


def test_the_policy_is_checked_again(policy: SourcePolicy, tmp_path: Path) -> None:
    with pytest.raises(SourceRefused):
        open_source(spec("/etc"), policy, tmp_path, None)
    with pytest.raises(SourceNotFound):
        open_source(spec("/repos/gone"), policy, tmp_path, None)
    url = IndexingJobSpec.model_validate({"source": {"git": {"url": "https://evil.example.org/x.git"}}})
    with pytest.raises(SourceRefused, match="evil"):
        open_source(url, policy, tmp_path, None)


def test_faults_of_the_network_are_tried_again_then_explained(
    policy: SourcePolicy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[tuple[str, str, str]] = []
    slept: list[float] = []

    def unreachable(url: str, protocols: str, ref: str, *_: object) -> str:
        tries.append((url, protocols, ref))
        raise git.GitFailed("fatal: unable to access: Could not resolve host: git.example.org")

    monkeypatch.setattr(checkout_module, "_fetch_once", unreachable)
    job = IndexingJobSpec.model_validate({"source": {"git": {"url": "https://git.example.org/x.git"}}})
    with pytest.raises(CloneFailed, match="network reaches this host"):
        open_source(job, policy, tmp_path, None, sleep=slept.append)
    assert tries == [("https://git.example.org/x.git", "https:ssh", "HEAD")] * 3
    assert slept == list(checkout_module.RETRY_DELAYS)


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        ("fatal: Authentication failed for 'https://git.example.org/x.git/'", "git.secretRef"),
        (
            "fatal: could not read Username for 'https://git.example.org': terminal prompts disabled",
            "git.secretRef",
        ),
        ("git@git.example.org: Permission denied (publickey).", "git.secretRef"),
        ("remote: Repository not found.", "spelling"),
        ("fatal: couldn't find remote ref nope", "a branch, a tag or a commit's full hash"),
        ("fatal: something new", "git fetch"),
    ],
)
def test_every_failure_says_what_to_do_next(
    error: str, advice: str, policy: SourcePolicy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object) -> str:
        raise git.GitFailed(error)

    monkeypatch.setattr(checkout_module, "_fetch_once", failing)
    job = IndexingJobSpec.model_validate(
        {"source": {"git": {"url": "https://git.example.org/x.git"}}, "ref": "nope"}
    )
    with pytest.raises(CloneFailed, match=advice):
        open_source(job, policy, tmp_path, None, sleep=lambda _: None)


def test_credentials_reach_git_through_files_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "username").write_text("bot")
    (secret / "password").write_text("s3cret")
    (secret / "ssh-privatekey").write_text("KEY")
    (secret / "ssh-privatekey").chmod(0o644)
    monkeypatch.setattr(remote, "CREDENTIALS", secret)
    variables = remote.credentials(tmp_path)
    assert "s3cret" not in str(variables)
    ask = variables["GIT_ASKPASS"]

    def say(prompt: str) -> str:
        return subprocess.run([ask, prompt], capture_output=True, text=True, check=True).stdout

    assert say("Username for 'https://git.example.org': ") == "bot"
    assert say("Password for 'https://bot@git.example.org': ") == "s3cret"
    key = tmp_path / "ssh-privatekey"
    assert str(key) in variables["GIT_SSH_COMMAND"]
    assert key.stat().st_mode & 0o777 == 0o600


def test_git_is_ended_at_its_time_limit() -> None:
    with pytest.raises(git.GitFailed, match="took longer than"):
        git.run(["-c", "alias.hang=!sleep 60", "hang"], timeout=0.2)


def test_only_the_protocols_asked_for_are_spoken(repo: Path, tmp_path: Path) -> None:
    with pytest.raises(git.GitFailed, match="not allowed"):
        git.run(["ls-remote", repo.as_uri()], env=git.environment("https:ssh"))
    with pytest.raises(git.GitFailed, match="not allowed"):
        git.run(["ls-remote", f"ext::touch {tmp_path}/proof"], env=git.environment("https:ssh"))
    assert not (tmp_path / "proof").exists()


def test_a_pack_beyond_the_limit_is_refused(repo: Path, tmp_path: Path) -> None:
    (repo / "big").write_bytes(os.urandom(3_000_000))
    run(repo, "add", ".")
    run(repo, "commit", "-qm", "big")
    target = tmp_path / "small"
    git.run(["init", "--quiet", target])
    env = git.environment("file")
    with pytest.raises(git.GitFailed):
        git.run(["-C", target, "fetch", repo.as_uri(), "main"], env=env, max_file_bytes=1_000_000)


def test_ssh_is_given_a_name_for_a_user_without_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It refuses to run for a user that has none, and OpenShift gives each namespace numbers of its own."""
    named = remote.credentials(tmp_path)["GIT_SSH_COMMAND"]

    def nobody(uid: int) -> None:
        raise KeyError(uid)

    monkeypatch.setattr(pwd, "getpwuid", nobody)
    command = remote.credentials(tmp_path)["GIT_SSH_COMMAND"]
    assert named.startswith("ssh ") and command.endswith(named)
    assert command.startswith(f"env LD_PRELOAD=libnss_wrapper.so NSS_WRAPPER_PASSWD={tmp_path}/passwd ")
    assert (tmp_path / "passwd").read_text() == f"indexer:x:{os.getuid()}:{os.getgid()}::/tmp:/usr/sbin/nologin\n"


def test_a_machine_without_git_is_told_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(git.GitFailed, match="git is not installed where the indexer runs: install it"):
        git.run(["--version"])
