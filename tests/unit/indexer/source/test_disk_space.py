"""A checkout is bounded before it is written and while it is written: real repositories, made to fill a disk."""

import os
import subprocess
import sys
from pathlib import Path, PurePosixPath

import pytest

from codebase_index.api.resource import IndexingJobSpec
from codebase_index.api.source_policy import Root, SourcePolicy, SourceRefused
from codebase_indexer.confinement import bounded_process
from codebase_indexer.confinement.bounded_process import BoundExceeded, Bounds
from codebase_indexer.settings import Settings
from codebase_indexer.source.checkout import CloneFailed, open_source
from codebase_indexer.source.disk_space import VOLUME_BYTES, DiskQuota, RepositoryTooLarge, usage_of
from tests.unit.indexer.repositories import ENV

MB = 2**20


def git(folder: Path, *arguments: str, data: bytes | None = None) -> str:
    done = subprocess.run(["git", "-C", folder, *arguments], env=ENV, check=True, capture_output=True, input=data)
    return done.stdout.decode().strip()


class Repository:
    """A bare repository, whose trees are written by hand."""

    def __init__(self, roots: Path) -> None:
        self.folder = roots / "bare.git"
        self.folder.mkdir(parents=True)
        git(self.folder, "init", "-q", "--bare")

    def blob(self, content: bytes) -> str:
        return git(self.folder, "hash-object", "-w", "--stdin", data=content)

    def tree(self, entries: dict[str, str]) -> str:
        """`entries` by name: ``blob HASH`` or ``tree HASH``."""
        modes = {"blob": "100644", "tree": "040000"}
        lines = (f"{modes[what.split()[0]]} {what}\t{name}\n" for name, what in entries.items())
        return git(self.folder, "mktree", data="".join(lines).encode())

    def commit(self, tree: str) -> None:
        commit = git(self.folder, "commit-tree", "-m", "x", tree)
        git(self.folder, "update-ref", "refs/heads/main", commit)
        git(self.folder, "symbolic-ref", "HEAD", "refs/heads/main")


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "roots")


def check_out(tmp_path: Path, quota: DiskQuota) -> Path:
    policy = SourcePolicy((Root(PurePosixPath("/repos"), tmp_path / "roots"),))
    spec = IndexingJobSpec.model_validate({"source": {"path": "/repos/bare.git"}})
    return open_source(spec, policy, tmp_path / "work", None, quota=quota).folder


def test_what_fits_is_checked_out(repository: Repository, tmp_path: Path) -> None:
    repository.commit(repository.tree({"main.py": f"blob {repository.blob(b'print(1)')}"}))
    assert (check_out(tmp_path, DiskQuota(MB)) / "main.py").read_text() == "print(1)"


def test_one_blob_under_many_names_is_refused_before_anything_is_written(
    repository: Repository, tmp_path: Path
) -> None:
    """50 kB that stand for 2 GB."""
    blob = repository.blob(bytes(5 * MB))
    repository.commit(repository.tree({f"z{n}.bin": f"blob {blob}" for n in range(400)}))
    with pytest.raises(RepositoryTooLarge) as refused:
        check_out(tmp_path, DiskQuota(100 * MB))
    assert "takes 2.0 GiB in 400 files, and there is room for 90.0 MiB" in str(refused.value)
    assert "indexer.workSizeLimit" in str(refused.value)
    assert usage_of(tmp_path / "work", DiskQuota()).bytes < MB


def test_small_files_count_as_the_blocks_that_they_take(repository: Repository, tmp_path: Path) -> None:
    blob = repository.blob(b"x")
    repository.commit(repository.tree({f"f{n}": f"blob {blob}" for n in range(1000)}))
    with pytest.raises(RepositoryTooLarge, match=r"takes 3\.9 MiB in 1,000 files"):
        check_out(tmp_path, DiskQuota(4 * MB))


def test_the_number_of_files_is_bounded(repository: Repository, tmp_path: Path) -> None:
    blob = repository.blob(b"")
    repository.commit(repository.tree({f"f{n}": f"blob {blob}" for n in range(101)}))
    with pytest.raises(RepositoryTooLarge, match=r"101 files, and there is room for .* and 100 files"):
        check_out(tmp_path, DiskQuota(files=100))


def test_a_tree_of_trees_without_end_is_refused_without_listing_it(repository: Repository, tmp_path: Path) -> None:
    """Ten entries at each of twelve levels: a million million files in a dozen objects."""
    below = f"blob {repository.blob(b'x')}"
    for _ in range(12):
        below = "tree " + repository.tree({f"d{n}": below for n in range(10)})
    repository.commit(below.removeprefix("tree "))
    with pytest.raises(RepositoryTooLarge, match="has more than 1,000,000 files"):
        check_out(tmp_path, DiskQuota())


def test_a_pack_that_is_larger_than_the_room_ends_the_fetch(repository: Repository, tmp_path: Path) -> None:
    repository.commit(repository.tree({f"f{n}": f"blob {repository.blob(os.urandom(MB))}" for n in range(12)}))
    with pytest.raises(RepositoryTooLarge, match=r"the pack alone"):
        check_out(tmp_path, DiskQuota(5 * MB))
    assert usage_of(tmp_path / "work", DiskQuota()).bytes < 7 * MB


def test_loose_objects_that_are_copied_take_room_too(repository: Repository, tmp_path: Path) -> None:
    """Three times 2.4 MiB: the copies, the pack that is made of them, and the files."""
    blobs = {f"f{n}": f"blob {repository.blob(os.urandom(60_000))}" for n in range(40)}
    repository.commit(repository.tree(blobs))
    with pytest.raises(SourceRefused, match="git gc"):
        check_out(tmp_path, DiskQuota(2 * MB))
    with pytest.raises(RepositoryTooLarge):
        check_out(tmp_path, DiskQuota(6 * MB))
    assert len(list(check_out(tmp_path, DiskQuota(9 * MB)).glob("f*"))) == 40


def test_what_grows_beyond_the_room_while_it_is_written_is_stopped(tmp_path: Path) -> None:
    """As git does for .gitattributes that ask for other line ends or encodings."""
    folder = tmp_path / "clone"
    folder.mkdir()
    code = f"""if 1:
        import os, time
        for n in range(100_000):
            with open(f"{folder}/{{n}}", "wb") as f:
                f.write(os.urandom(100_000))
            time.sleep(0.001)"""
    with pytest.raises(BoundExceeded, match="has written"):
        bounded_process.run(
            [sys.executable, "-c", code],
            env=dict(os.environ),
            bounds=Bounds(60),
            watch=DiskQuota(10 * MB).watch(folder),
        )
    left = len(list(folder.iterdir()))
    assert left < 100_000
    assert len(list(folder.iterdir())) == left


def test_a_failure_of_git_itself_stays_what_it_is(repository: Repository, tmp_path: Path) -> None:
    with pytest.raises(CloneFailed, match="has no ref HEAD"):
        check_out(tmp_path, DiskQuota())


def test_the_room_follows_from_the_volume_that_the_operator_names() -> None:
    env = {
        "CODEBASE_JOB_ID": "5f0c2ab3-4d5e-4f70-9f6a-0123456789ab", "CODEBASE_ATTEMPT": "1", "CODEBASE_POD": "p",
        "CODEBASE_JOB_SPEC": "{}", "CODEBASE_DATABASE_URL": "postgresql://u:p@h/d",
    }  # fmt: skip
    assert Settings.from_env(env).work_bytes == VOLUME_BYTES
    assert Settings.from_env({**env, "CODEBASE_WORK_BYTES": "1000"}).work_bytes == 1000
    assert DiskQuota(1000).bytes == 900


def test_the_number_of_processes_is_bounded_in_the_pod_too() -> None:
    env = {
        "CODEBASE_JOB_ID": "5f0c2ab3-4d5e-4f70-9f6a-0123456789ab", "CODEBASE_ATTEMPT": "1", "CODEBASE_POD": "p",
        "CODEBASE_JOB_SPEC": "{}", "CODEBASE_DATABASE_URL": "postgresql://u:p@h/d", "CODEBASE_PROCESSES": "99999",
    }  # fmt: skip
    assert Settings.from_env(env).processes == 64
