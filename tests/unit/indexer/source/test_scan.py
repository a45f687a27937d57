"""The scan against git itself: the same files on repositories with every kind of ignore rule."""

import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from codebase_index.repository.repository import find_repository, head_commit
from codebase_indexer.content.skipping import MAX_FILE_BYTES, Skip
from codebase_indexer.source.git import Output
from codebase_indexer.source.git import run as run_git
from codebase_indexer.source.scan import ScanFailed, scan
from tests.unit.indexer.repositories import ENV, git, listed, oracle, write


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    folder = tmp_path / "repo"
    folder.mkdir()
    git(folder, "init", "--quiet")
    return folder


NAMES = ["a.py", "b.log", "keep.log", "build", "out", "src", "docs", "x.tmp", "Makefile", "data.bin", "ä b.txt"]
PATTERNS = [
    "*.log", "!keep.log", "build/", "/out", "src/*.py", "**/docs", "docs/**", "!docs/a.py", "*.tmp", "# comment",
    "", "\\#odd", "data.*", "!/src/data.bin", "src/**/a.py", "*", "!*/", "!*.py", "[ab].py", "ä*", "build/*",
    "!build/a.py",
]  # fmt: skip


def grow(folder: Path, rng: random.Random, depth: int = 0) -> None:
    """A random tree with random ignore files."""
    for name in rng.sample(NAMES, rng.randint(2, 7)):
        if depth < 3 and rng.random() < 0.45:
            (folder / name).mkdir()
            grow(folder / name, rng, depth + 1)
        else:
            (folder / name).write_text("text\n")
    if rng.random() < 0.6:
        (folder / ".gitignore").write_text("\n".join(rng.sample(PATTERNS, rng.randint(1, 4))) + "\n")


@pytest.mark.parametrize("seed", range(25))
def test_a_random_repository_has_the_files_that_git_lists(seed: int, repo: Path) -> None:
    rng = random.Random(seed)
    grow(repo, rng)
    (repo / ".git" / "info").mkdir(exist_ok=True)
    (repo / ".git" / "info" / "exclude").write_text("\n".join(rng.sample(PATTERNS[:10], 2)) + "\n")
    tracked = [str(p.relative_to(repo)) for p in repo.rglob("*") if p.is_file() and ".git" not in p.parts]
    if chosen := rng.sample(tracked, len(tracked) // 3):
        git(repo, "add", "--force", "--", *chosen)  # tracked although ignored
    assert set(listed(repo)) == oracle(repo)


@pytest.mark.parametrize("seed", range(8))
def test_a_plain_folder_has_the_files_that_git_would_list(seed: int, tmp_path: Path) -> None:
    plain, twin = tmp_path / "plain", tmp_path / "twin"
    plain.mkdir()
    grow(plain, random.Random(seed))
    shutil.copytree(plain, twin)
    git(twin, "init", "--quiet")
    assert set(listed(plain)) == oracle(twin)


def test_this_checkout_has_the_files_that_git_lists() -> None:
    checkout = Path(__file__).resolve().parents[4]
    before, found, after = oracle(checkout), set(listed(checkout)), oracle(checkout)
    # Other work may go on in the checkout meanwhile: what is there all the time must be found.
    assert before & after <= found <= before | after
    assert "pyproject.toml" in found
    assert not any(path.startswith(".venv/") for path in found)


def test_tracked_files_that_are_gone_are_said_to_have_vanished(repo: Path) -> None:
    write(repo, "here.py", "gone.py")
    git(repo, "add", ".")
    (repo / "gone.py").unlink()
    assert listed(repo) == {"here.py": None, "gone.py": Skip.VANISHED}


def test_files_in_conflict_are_listed_once(repo: Path) -> None:
    write(repo, "f.py", text="base\n")
    git(repo, "add", ".")
    git(repo, "commit", "-qm", "base")
    git(repo, "checkout", "-qb", "other")
    write(repo, "f.py", text="other\n")
    git(repo, "commit", "-qam", "other")
    git(repo, "checkout", "-q", "-")
    write(repo, "f.py", text="mine\n")
    git(repo, "commit", "-qam", "mine")
    subprocess.run(["git", "-C", repo, "merge", "-q", "other"], env=ENV, capture_output=True)
    assert [e.path for e in scan(repo, boundary=repo)] == ["f.py"]


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        pytest.param(lambda f: f.write_bytes(b""), Skip.EMPTY, id="empty"),
        pytest.param(lambda f: f.write_bytes(b"x" * (MAX_FILE_BYTES + 1)), Skip.TOO_LARGE, id="too large"),
        pytest.param(lambda f: f.symlink_to("/etc/hostname"), Skip.SYMLINK, id="link to a file"),
        pytest.param(lambda f: f.symlink_to("/nowhere"), Skip.SYMLINK, id="dangling link"),
        pytest.param(lambda f: f.symlink_to("/etc"), Skip.SYMLINK, id="link to a folder"),
    ],
)
def test_files_that_are_skipped_at_sight(make: object, reason: Skip, repo: Path) -> None:
    make(repo / "file")  # type: ignore[operator]
    assert listed(repo) == {"file": reason}


def test_generated_files_are_skipped_by_name(repo: Path) -> None:
    write(repo, "package-lock.json", "web/app.min.js", "web/app.js.map", "web/app.js", "go.sum", "api.pb.go")
    assert listed(repo) == {
        "package-lock.json": Skip.LOCK_FILE,
        "go.sum": Skip.LOCK_FILE,
        "web/app.min.js": Skip.MINIFIED,
        "web/app.js.map": Skip.SOURCE_MAP,
        "web/app.js": None,
        "api.pb.go": None,
    }


def test_pipes_are_no_files(repo: Path) -> None:
    os.mkfifo(repo / "pipe")
    write(repo, "a.py")
    git(repo, "add", "a.py")
    (repo / "a.py").unlink()
    os.mkfifo(repo / "a.py")
    assert listed(repo)["a.py"] == Skip.NOT_REGULAR


def test_a_tracked_folder_replaced_by_a_link_leads_nowhere(repo: Path, tmp_path: Path) -> None:
    write(repo, "inside/secret.txt")
    git(repo, "add", ".")
    shutil.rmtree(repo / "inside")
    write(tmp_path, "outside/secret.txt")
    (repo / "inside").symlink_to(tmp_path / "outside")
    assert listed(repo)["inside/secret.txt"] == Skip.BEHIND_SYMLINK


def test_names_that_are_not_utf8_are_skipped(repo: Path) -> None:
    Path(os.fsdecode(os.fsencode(repo) + b"/caf\xe9.py")).write_text("x = 1\n")
    assert listed(repo) == {"caf\\xe9.py": Skip.BAD_PATH}


def test_names_with_newlines_and_quotes_are_kept(repo: Path) -> None:
    write(repo, 'odd\n"name\t.py', " leading.py", "-dash.py", ":(glob)x.py")
    assert listed(repo) == {'odd\n"name\t.py': None, " leading.py": None, "-dash.py": None, ":(glob)x.py": None}


def test_paths_too_long_for_the_database_are_skipped(repo: Path) -> None:
    path = "/".join(["d" * 200] * 6)
    write(repo, f"{path}/f.py")
    assert list(listed(repo).values()) == [Skip.LONG_PATH]


def test_nested_repositories_and_submodules_are_not_entered(repo: Path, tmp_path: Path) -> None:
    library = tmp_path / "library"
    library.mkdir()
    git(library, "init", "--quiet")
    write(library, "lib.py")
    git(library, "add", ".")
    git(library, "commit", "-qm", "x")
    git(repo, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(library), "vendor/library")
    shutil.copytree(library, repo / "nested")
    write(repo, "own.py")
    assert listed(repo) == {
        ".gitmodules": None,
        "own.py": None,
        "vendor/library": Skip.NESTED_REPOSITORY,
        "nested": Skip.NESTED_REPOSITORY,
    }


def test_mcpignore_takes_tracked_files_away_at_every_level(repo: Path) -> None:
    write(repo, "a.py", "gen/x.py", "docs/a.md", "docs/keep.md", "docs/deep/b.md", "untracked/gen/y.py")
    git(repo, "add", "a.py", "gen", "docs")
    (repo / ".mcpignore").write_text("gen/\n")
    (repo / "docs" / ".mcpignore").write_text("*.md\n!keep.md\n")
    assert set(listed(repo)) == {"a.py", "docs/keep.md", ".mcpignore", "docs/.mcpignore"}


def test_mcpignore_can_not_bring_back_what_git_ignores(repo: Path) -> None:
    write(repo, "a.log", "a.py")
    (repo / ".gitignore").write_text("*.log\n.mcpignore\n")
    (repo / ".mcpignore").write_text("!a.log\n")
    assert set(listed(repo)) == {"a.py", ".gitignore"}


def test_patterns_of_the_job_have_the_syntax_of_gitignore(repo: Path) -> None:
    write(repo, "src/a.py", "src/a_test.py", "src/web/b.ts", "docs/c.py")
    assert set(listed(repo, include=["src/"])) == {"src/a.py", "src/a_test.py", "src/web/b.ts"}
    assert set(listed(repo, exclude=["*_test.py", "/docs"])) == {"src/a.py", "src/web/b.ts"}
    assert set(listed(repo, include=["*.py"], exclude=["docs"])) == {"src/a.py", "src/a_test.py"}


def test_a_folder_inside_a_repository_obeys_the_rules_above_it(repo: Path) -> None:
    write(repo, "part/a.py", "part/b.log", "part/sub/c.py", "other/d.py")
    (repo / ".gitignore").write_text("*.log\n/part/sub\n")
    assert listed(repo / "part", boundary=repo) == {"a.py": None}


def test_a_folder_that_the_repository_around_it_ignores_is_taken_for_itself(repo: Path) -> None:
    write(repo, ".gitignore", text="build/\n")
    write(repo, "build/out/made.py", "build/out/made.log", "build/out/deep/b.py")
    write(repo, "build/out/.gitignore", text="*.log\n")
    assert set(listed(repo / "build" / "out", boundary=repo)) == {".gitignore", "made.py", "deep/b.py"}


def test_a_folder_of_ignored_files_alone_stays_empty(repo: Path) -> None:
    write(repo, ".gitignore", text="*.log\n")
    write(repo, "logs/a.log")
    assert listed(repo / "logs", boundary=repo) == {}


def test_nothing_above_the_boundary_counts(repo: Path) -> None:
    write(repo, "part/b.log")
    (repo / ".gitignore").write_text("*.log\n")
    assert listed(repo / "part", boundary=repo / "part") == {"b.log": None}


def test_a_linked_worktree_has_its_own_index(repo: Path) -> None:
    write(repo, "a.py")
    git(repo, "add", ".")
    git(repo, "commit", "-qm", "x")
    (repo / ".git" / "info" / "exclude").write_text("*.log\n")
    git(repo, "worktree", "add", "-q", str(repo / "tree"))
    write(repo / "tree", "b.py", "c.log")
    assert set(listed(repo / "tree", boundary=repo)) == {"a.py", "b.py"}


def test_a_git_file_that_points_outside_is_not_followed(tmp_path: Path, repo: Path) -> None:
    write(repo, "tracked.py")
    git(repo, "add", ".")
    trap = tmp_path / "trap"
    write(trap, "own.py")
    (trap / ".git").write_text(f"gitdir: {repo}/.git\n")
    assert set(listed(trap)) == {"own.py"}


@pytest.mark.parametrize("form", ["--split-index", "--index-version=4"])
def test_other_forms_of_the_index_are_read(form: str, repo: Path) -> None:
    write(repo, "a.py", "ignored.log")
    (repo / ".gitignore").write_text("*.log\n")
    git(repo, "add", "--force", ".")
    git(repo, "update-index", *form.split("=", 1))
    write(repo, "new.py")
    git(repo, "add", "new.py")
    assert set(listed(repo)) == {"a.py", "ignored.log", ".gitignore", "new.py"}


def test_a_sparse_index_is_read(repo: Path) -> None:
    write(repo, "in/a.py", "out/b.py", "out/c.py")
    git(repo, "add", ".")
    git(repo, "commit", "-qm", "x")
    git(repo, "sparse-checkout", "init", "--cone", "--sparse-index")
    git(repo, "sparse-checkout", "set", "in")
    assert listed(repo) == {"in/a.py": None}


def test_what_a_sparse_checkout_leaves_out_is_not_listed(repo: Path) -> None:
    write(repo, "top.py", "in/a.py", "out/b.py", "out/c.py")
    git(repo, "add", ".")
    git(repo, "commit", "-qm", "x")
    git(repo, "sparse-checkout", "set", "in")
    (repo / "in" / "a.py").unlink()  # not by that wish
    assert listed(repo) == {"top.py": None, "in/a.py": Skip.VANISHED}
    write(repo, "out/b.py", text="here all the same\n")
    assert listed(repo) == {"top.py": None, "in/a.py": Skip.VANISHED, "out/b.py": None}


def test_a_sha256_repository_is_read(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet", "--object-format=sha256")
    write(tmp_path, "a.log")
    (tmp_path / ".gitignore").write_text("*.log\n")
    git(tmp_path, "add", "--force", ".")
    git(tmp_path, "commit", "-qm", "x")
    assert set(listed(tmp_path)) == {"a.log", ".gitignore"}
    repository = find_repository(tmp_path, tmp_path)
    assert repository is not None
    assert head_commit(repository) == git(tmp_path, "rev-parse", "HEAD").decode().strip()


def test_nothing_that_a_repository_configures_is_run(repo: Path, tmp_path: Path) -> None:
    proof = tmp_path / "proof"
    script = tmp_path / "evil.sh"
    script.write_text(f"#!/bin/sh\ntouch {proof}\n")
    script.chmod(0o755)
    write(repo, "a.py")
    git(repo, "add", ".")
    git(repo, "commit", "-qm", "x")
    for key in (
        "core.fsmonitor",
        "core.sshCommand",
        "core.pager",
        "filter.x.clean",
        "diff.external",
        "core.editor",
    ):
        git(repo, "config", key, str(script))
    git(repo, "config", "core.worktree", "/etc")
    git(repo, "config", "alias.ls-files", f"!{script}")
    (repo / ".gitattributes").write_text("* filter=x\n")
    hooks = repo / ".git" / "hooks"
    hooks.mkdir(exist_ok=True)
    shutil.copy(script, hooks / "post-index-change")
    repository = find_repository(repo, repo)
    assert repository is not None
    head_commit(repository)
    assert set(listed(repo)) == {"a.py", ".gitattributes"}
    assert not proof.exists()


def test_the_repository_is_not_written_to(repo: Path) -> None:
    write(repo, "a.py")
    git(repo, "add", ".")
    before = {p: p.stat().st_mtime_ns for p in repo.rglob("*")}
    scan(repo, boundary=repo)
    assert {p: p.stat().st_mtime_ns for p in repo.rglob("*")} == before


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that any user may enter, as pytest's own are not."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)
        subprocess.run(["chmod", "-R", "u+rwX", name], check=True)


def unprivileged(folder: Path, boundary: Path | None = None) -> tuple[dict[str, str], str]:
    """Scan as a user whom file modes bind: path -> reason, and the error. Root gives its capabilities away."""
    code = (
        "import json, sys; from pathlib import Path; "
        "from codebase_indexer.source.scan import ScanFailed, scan\n"
        "folder, boundary = map(Path, sys.argv[1:])\n"
        "try: entries = scan(folder, boundary=boundary, name='/r')\n"
        "except ScanFailed as error: sys.exit(str(error))\n"
        "print(json.dumps({e.path: str(e.skip_reason) for e in entries}))"
    )
    drop = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if os.getuid() == 0 else []
    command = [*drop, sys.executable, "-c", code, str(folder), str(boundary or folder)]
    ended = subprocess.run(command, capture_output=True, text=True)
    return (json.loads(ended.stdout) if ended.stdout else {}), ended.stderr


def test_folders_that_may_not_be_entered_are_listed_as_such(open_folder: Path) -> None:
    write(open_folder, "open/a.py", "closed/b.py", "new\nline/c.py", "secret.py")
    (open_folder / "names only").mkdir()
    write(open_folder, "names only/.gitignore", "names only/d.py")
    for name in ("closed", "new\nline", "secret.py"):
        (open_folder / name).chmod(0)
    (open_folder / "names only").chmod(0o444)
    assert unprivileged(open_folder)[0] == {
        "closed": "not readable", "new\nline": "not readable", "open/a.py": "None", "secret.py": "None",
        "names only/.gitignore": "not readable", "names only/d.py": "not readable",
    }  # fmt: skip


def test_a_folder_inside_a_repository_names_its_own_unreadable_folders(open_folder: Path) -> None:
    git(open_folder, "init", "--quiet")
    write(open_folder, "sub/a.py", "sub/closed/b.py", "beside/c.py")
    (open_folder / "sub/closed").chmod(0)
    assert unprivileged(open_folder / "sub", open_folder)[0] == {"closed": "not readable", "a.py": "None"}


@pytest.mark.parametrize("name", [".gitignore", "sub/.gitignore", ".mcpignore", "sub/.mcpignore"])
@pytest.mark.parametrize("has_git", [True, False])
def test_an_ignore_file_that_cannot_be_read_ends_the_scan(name: str, has_git: bool, open_folder: Path) -> None:
    """git warns, and lists what the file excludes."""
    if has_git:
        git(open_folder, "init", "--quiet")
    write(open_folder, "a.py", "sub/private.py")
    write(open_folder, name, text="private.py\n")
    (open_folder / name).chmod(0)
    found, error = unprivileged(open_folder)
    assert not found
    assert error == (
        f"the files of /r could not be listed: {name} cannot be read (Permission denied), so nobody knows what it "
        "excludes; make it readable\n"
    )


def test_an_ignore_file_above_the_folder_that_cannot_be_read_ends_the_scan(open_folder: Path) -> None:
    git(open_folder, "init", "--quiet")
    write(open_folder, "sub/deep/private.py")
    write(open_folder, "sub/.gitignore", text="private.py\n")
    (open_folder / "sub/.gitignore").chmod(0)
    found, error = unprivileged(open_folder / "sub/deep", open_folder)
    assert not found
    assert ".gitignore cannot be read (Permission denied)" in error


@pytest.mark.parametrize("error", ["Input/output error", "Stale file handle"])
def test_an_ignore_file_that_git_alone_could_not_read_ends_the_scan(
    error: str, repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A share may fail for a moment: git reads the file then, this process a moment later."""
    write(repo, "a.py", "sub/private.py")
    real = run_git

    def failing(arguments: Sequence[str | Path], **options: object) -> Output:
        output = real(arguments, **options)  # type: ignore[arg-type]
        return replace(output, warnings=f"warning: unable to access 'sub/.gitignore': {error}")

    monkeypatch.setattr("codebase_indexer.source.git.run", failing)
    with pytest.raises(ScanFailed, match=f"sub/.gitignore cannot be read .{error}."):
        scan(repo, boundary=repo)


@pytest.mark.parametrize("name", [".gitignore", "sub/.gitignore", ".mcpignore"])
def test_an_ignore_file_has_a_bounded_size(name: str, repo: Path) -> None:
    write(repo, "a.py", "sub/b.py")
    write(repo, name, text="x\n" * 2**19)
    assert "a.py" in listed(repo)
    write(repo, name, text="x\n" * 2**19 + "y")
    with pytest.raises(ScanFailed, match=f"{name} is larger than 1 MiB; shorten it"):
        scan(repo, boundary=repo)


def test_an_ignore_file_that_is_a_link_counts_for_nothing(repo: Path, tmp_path: Path) -> None:
    write(tmp_path, "rules", text="a.py\n")
    write(repo, "a.py")
    (repo / ".gitignore").symlink_to(tmp_path / "rules")
    assert set(listed(repo)) == oracle(repo) == {"a.py", ".gitignore"}


def test_an_error_names_the_folder_as_its_users_do(repo: Path) -> None:
    (repo / ".git/index").write_bytes(b"junk")
    with pytest.raises(ScanFailed) as failed:
        scan(repo, boundary=repo, name="/repos/shop")
    assert str(failed.value).startswith("the files of /repos/shop could not be listed: ")
    assert ".git/index" in str(failed.value)
    assert str(repo) not in str(failed.value)
    assert "scan-" not in str(failed.value)


def test_a_folder_that_vanished_is_an_error_that_says_so(tmp_path: Path) -> None:
    with pytest.raises(ScanFailed, match="could not be listed"):
        scan(tmp_path / "gone", boundary=tmp_path)


def test_progress_is_reported(repo: Path) -> None:
    write(repo, *(f"f{i}.py" for i in range(5)))
    reports: list[tuple[int, int]] = []
    scan(repo, boundary=repo, report=lambda looked, total: reports.append((looked, total)))
    assert reports[0] == (0, 5)
    assert reports[-1] == (5, 5)
