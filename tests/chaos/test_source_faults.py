"""The parts of the source faults that need no cluster: what is done to a repository, and that it is undone."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest

from tests.chaos.faults.catalog import chosen
from tests.chaos.faults.mounts import empty_share, hanging_share, place_in_pod
from tests.chaos.faults.source_faults import (
    MAIN,
    OTHER,
    SOURCE_FAULTS,
    SourceInjector,
    _git,
    _truths,
    checked_out,
    made_unreadable,
    make_branches,
    renamed_away,
)
from tests.chaos.harness import truth
from tests.chaos.harness.cluster import Pod, Victim
from tests.fixtures.generate_test_repo import generate

VICTIM = Victim(UUID(int=1), "job", 1, Pod("job-a1", "uid", "node1"))
FILES = 30

only_root = pytest.mark.skipif(os.getuid() != 0, reason="only root may mount")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    generate(tmp_path / "repository", file_count=FILES, avg_lines=20)
    make_branches(tmp_path / "repository")
    return tmp_path / "repository"


def seen(folder: Path) -> dict[str, str]:
    """What somebody without rights sees of a folder."""
    found = [path for path in folder.rglob("*") if path.is_file() and ".git" not in path.parts]
    return {path.relative_to(folder).as_posix(): path.read_text() for path in found}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_every_row_of_the_source_is_in_the_matrix() -> None:
    assert {source_fault.name for source_fault in SOURCE_FAULTS} <= {row.name for row in chosen(None, nodes=1)}
    assert len(SOURCE_FAULTS) == 15
    assert {source_fault.share for source_fault in SOURCE_FAULTS} == {0.1, 0.5, 0.95}


def test_the_branches_differ_in_files_that_changed_came_and_went(folder: Path) -> None:
    truths = _truths(folder)
    before, after = truths[MAIN], truths[OTHER]
    assert before.keys() - after.keys() and after.keys() - before.keys()
    assert [path for path in before.keys() & after.keys() if before[path] != after[path]]
    assert truth.compute(folder) == before  # the first branch is checked out again


@pytest.mark.parametrize("inject", [renamed_away, checked_out])
async def test_a_repository_is_another_one_during_the_fault_and_the_same_after_it(
    inject: SourceInjector, folder: Path
) -> None:
    before, inode = seen(folder), folder.stat().st_ino
    async with inject(folder, VICTIM):
        assert seen(folder) != before
    assert (seen(folder), folder.stat().st_ino) == (before, inode)


async def test_the_right_to_read_is_given_back(folder: Path) -> None:
    mode = folder.stat().st_mode
    async with made_unreadable(folder, VICTIM):
        assert folder.stat().st_mode & 0o777 == 0
    assert folder.stat().st_mode == mode


def test_a_folder_is_found_where_the_pod_has_it() -> None:
    environment = b'A=1\0CODEBASE_ROOTS=[{"path": "/a", "mount": "/repositories/0"}, '
    environment += b'{"path": "/a/b", "mount": "/repositories/1"}]\0B=2\0'
    assert place_in_pod(environment, Path("/a/shop")) == "/repositories/0/shop"
    with pytest.raises(LookupError, match="/c/shop"):
        place_in_pod(environment, Path("/c/shop"))


@pytest.fixture
def elsewhere() -> Iterator[int]:
    """A process with mounts of its own, as in a container."""
    command = ["unshare", "--mount", "--propagation", "private", "sleep", "60"]
    own = Path("/proc/self/ns/mnt").readlink()
    with subprocess.Popen(command) as process:
        while own == Path(f"/proc/{process.pid}/ns/mnt").readlink():
            assert process.poll() is None
        yield process.pid
        process.kill()


@only_root
def test_a_share_is_empty_for_the_process_alone(elsewhere: int, folder: Path) -> None:
    inside = Path(f"/proc/{elsewhere}/root{folder}")
    with empty_share(elsewhere, str(folder)):
        assert names(inside) == []
        assert names(folder)
    assert names(inside) == names(folder)


@only_root
def test_who_waits_for_a_hanging_share_fails_at_its_end(elsewhere: int, folder: Path) -> None:
    inside = Path(f"/proc/{elsewhere}/root{folder}")
    with hanging_share(elsewhere, str(folder)):
        waiting = subprocess.Popen(["cat", inside / "README.md"], stderr=subprocess.PIPE)
        with pytest.raises(subprocess.TimeoutExpired):
            waiting.wait(0.5)
        assert names(folder)
    _, error = waiting.communicate(timeout=20)
    assert waiting.returncode == 1 and error
    assert names(inside) == names(folder)


def test_the_repository_of_the_rows_has_two_branches(folder: Path) -> None:
    _git(folder, "checkout", "--quiet", OTHER)
    assert (folder / "added" / "module_7.py").read_text() == "ADDED = 7\n"
