"""Programs on hostile data: none takes more time, memory or room than it was given."""

import os
import sys
import time
from pathlib import Path

import psutil
import pytest

from codebase_indexer.confinement import bounded_process
from codebase_indexer.confinement.bounded_process import (
    BoundExceeded,
    Bounds,
    CpuTimeExceeded,
    ProcessResult,
    Stalled,
    TimeExceeded,
)
from codebase_indexer.source import git
from codebase_indexer.source.git import GitFailed
from codebase_indexer.source.scan import ScanFailed, scan
from tests.unit.indexer.repositories import git as setup
from tests.unit.indexer.repositories import write

MB = 2**20


def python(code: str, bounds: Bounds, data: bytes | None = None) -> ProcessResult:
    return bounded_process.run([sys.executable, "-c", code], env=dict(os.environ), bounds=bounds, data=data)


def test_input_output_errors_and_code_come_back_whole() -> None:
    code = "import sys; d = sys.stdin.buffer.read(); sys.stdout.buffer.write(d[::-1]); sys.exit('odd')"
    data = bytes(range(256)) * 10_000
    assert python(code, Bounds(60, output_bytes=4 * MB), data) == ProcessResult(1, data[::-1], b"odd\n")


def test_input_that_is_not_read_to_its_end_is_no_error() -> None:
    assert python("print('done')", Bounds(60), b"x" * 10 * MB) == ProcessResult(0, b"done\n", b"")


@pytest.mark.parametrize(
    ("code", "bounds", "error", "says"),
    [
        ("import time; time.sleep(60)", Bounds(0.2), BoundExceeded, "took longer"),
        ("import time; time.sleep(60)", Bounds(60, stalled_seconds=1), Stalled, "never came"),
        ("while True: pass", Bounds(60, cpu_seconds=1), CpuTimeExceeded, "computed for more than 1 s"),
        ("while True: print('x' * 1000)", Bounds(60, output_bytes=MB), BoundExceeded, "more than 1,048,576"),
    ],
)  # fmt: skip
def test_a_program_ends_at_its_bound(code: str, bounds: Bounds, error: type[Exception], says: str) -> None:
    before = time.monotonic()
    with pytest.raises(error, match=says):
        python(code, bounds)
    assert time.monotonic() - before < 50
    assert not [child for child in psutil.Process().children() if "-c" in child.cmdline()]


def test_what_a_program_leaves_running_ends_with_it() -> None:
    command = ["sh", "-c", "sleep 99 >/dev/null 2>&1 & echo $!"]
    left = int(bounded_process.run(command, env=dict(os.environ), bounds=Bounds(60)).output)
    deadline = time.monotonic() + 50
    while _runs(left) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not _runs(left)


def _runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_program_that_computes_or_talks_is_not_stalled() -> None:
    code = "import time; end = time.monotonic() + 3\nwhile time.monotonic() < end: sum(range(100000))"
    assert python(code, Bounds(60, stalled_seconds=1)).code == 0


def test_memory_and_files_are_bounded_and_errors_cut(tmp_path: Path) -> None:
    assert b"MemoryError" in python("x = bytearray(2**31)", Bounds(60, memory_bytes=256 * MB)).error
    code = f"open({str(tmp_path / 'f')!r}, 'wb').write(bytes(2**22))"
    assert python(code, Bounds(60, file_bytes=MB)).code != 0
    assert (tmp_path / "f").stat().st_size <= MB + 1
    ended = python("import sys; sys.stderr.write('x' * 4000000); print('done')", Bounds(60, error_bytes=1000))
    assert (ended.output, len(ended.error)) == (b"done\n", 1000)


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    folder = tmp_path / "repo"
    folder.mkdir()
    setup(folder, "init", "--quiet")
    write(folder, "a.py")
    return folder


# Many: newer git (2.47) needs half a second for 1.4 million pairs of name and pattern, whatever the stars.
LONG = [str(number) + "a" * 240 for number in range(5000)]
BOMB = "\n".join("*[a]" * 15 + f"*{number}" for number in range(14_000)) + "\n"
"""Each of them is tried on each name, and tries each of its characters."""


@pytest.mark.parametrize("name", [".gitignore", ".git/info/exclude", ".mcpignore"])
def test_a_pattern_that_never_ends_fails_in_seconds_and_says_where_to_look(
    name: str, repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(git, "CPU_SECONDS", 1)
    write(repo, *LONG)
    write(repo, name, text=BOMB)
    with pytest.raises(ScanFailed, match="patterns with many stars"):
        scan(repo, boundary=repo)


@pytest.mark.parametrize("patterns", ["include", "exclude"])
def test_so_does_one_of_the_job(patterns: str, repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(git, "CPU_SECONDS", 1)
    write(repo, *LONG)
    with pytest.raises(ScanFailed, match="include and exclude"):
        scan(repo, boundary=repo, **{patterns: BOMB.split()[:3000]})  # type: ignore[arg-type]


def test_the_clock_may_be_first_on_a_busy_node(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def late(*arguments: object, **options: object) -> None:
        raise TimeExceeded("took longer than 300 s")

    monkeypatch.setattr(bounded_process, "run", late)
    with pytest.raises(GitFailed, match="git ls-files took longer than 300 s; look for patterns with many stars"):
        git.run(["-C", repo, "ls-files"])
    with pytest.raises(GitFailed, match=r"git fetch took longer than 300 s$"):
        git.run(["fetch"], local=False)


def test_a_pattern_with_a_nul_is_a_failure_of_the_job_not_of_the_worker(repo: Path) -> None:
    with pytest.raises(ScanFailed, match="null byte"):
        scan(repo, boundary=repo, include=["a\0b"])


def test_a_pipe_that_git_reads_fails_in_seconds_and_says_so(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(git, "STALLED_SECONDS", 1.0)
    os.mkfifo(repo / ".gitignore")
    with pytest.raises(ScanFailed, match="look for pipes"):
        scan(repo, boundary=repo)


def test_a_list_that_is_too_long_is_refused(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(repo, *(f"f{number}.py" for number in range(100)))
    monkeypatch.setattr(git, "MAX_OUTPUT_BYTES", 500)
    with pytest.raises(GitFailed, match="git ls-files printed more than 500 bytes"):
        git.run(["-C", repo, "ls-files", "--others"])


def test_what_fsck_objects_to_is_not_fetched(repo: Path, tmp_path: Path) -> None:
    tree = bytearray()
    blob = bytes.fromhex(setup(repo, "hash-object", "-w", "a.py").decode())
    for name in (b".git", b"a.py"):
        tree += b"100644 " + name + b"\0" + blob
    (tmp_path / "tree").write_bytes(tree)
    made = setup(repo, "hash-object", "--literally", "-t", "tree", "-w", str(tmp_path / "tree")).decode().strip()
    commit = setup(repo, "commit-tree", "-m", "x", made).decode().strip()
    setup(repo, "update-ref", "refs/heads/evil", commit)
    target = tmp_path / "target"
    git.run(["init", "--quiet", target])
    with pytest.raises(GitFailed, match="hasDotgit"):
        git.run(["-C", target, "fetch", repo.as_uri(), "evil"], env=git.environment("file"), local=False)


def test_what_is_fetched_is_one_pack_however_small(repo: Path, tmp_path: Path) -> None:
    """Loose objects would each have the room of a whole pack."""
    setup(repo, "add", ".")
    setup(repo, "commit", "-qm", "x")
    target = tmp_path / "target"
    git.run(["init", "--quiet", target])
    git.run(["-C", target, "fetch", repo.as_uri(), "HEAD"], env=git.environment("file"), local=False)
    assert len(list((target / ".git" / "objects").glob("pack/*.pack"))) == 1
    assert not list((target / ".git" / "objects").glob("??/*"))
