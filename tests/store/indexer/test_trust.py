"""Real workers on repositories made to deceive them: nothing foreign reaches the index."""

import os
import shutil
import subprocess
import time
from pathlib import Path
from uuid import UUID

import pytest

from codebase_index.api.job import ErrorType, ExitCode, JobState
from codebase_index.api.resource import IndexingJob
from codebase_indexer.content.skipping import Skip
from tests.fixtures.crafted_index import entry, write_index
from tests.store.harness import WorkerHarness, make_tree

SECRET = "outside_secret = 'never to be found'\n"


@pytest.fixture
def evil(harness: WorkerHarness) -> Path:
    """A repository, with secrets beside it: in another repository of the root, and outside of the root."""
    for folder in (harness.root / "other", harness.root.parent / "outside"):
        folder.mkdir()
        (folder / "secret.py").write_text(SECRET)
    folder = harness.root / "evil"
    make_tree(folder, 30)
    subprocess.run(["git", "init", "--quiet", folder], check=True)
    return folder


def run(*arguments: str) -> None:
    subprocess.run(["git", *arguments], check=True)


async def all_that_is_found(harness: WorkerHarness) -> str:
    return "".join(row["text"] for row in await harness.fetch("SELECT text FROM chunks"))


async def reasons(harness: WorkerHarness, job: IndexingJob) -> dict[str, str]:
    skipped = await harness.fetch(
        "SELECT path, skip_reason FROM work WHERE job_id = $1 AND skip_reason IS NOT NULL", UUID(job.metadata.uid)
    )
    return {row["path"]: row["skip_reason"] for row in skipped}


async def test_an_index_made_by_hand_leads_to_no_file_outside(harness: WorkerHarness, evil: Path) -> None:
    outside = harness.root.parent / "outside" / "secret.py"
    ways = ["../other/secret.py", "../../outside/secret.py", str(outside), "package_1/../../other/secret.py"]
    decoy = Path(f"{evil}{outside}")  # for a scan that joins what a worker does not
    decoy.parent.mkdir(parents=True)
    decoy.write_text("decoy = 1\n")
    (evil / "link").symlink_to("../other")
    paths = sorted([*ways, "link/secret.py", "package_1/module_1.py", ".git/config"])
    write_index(evil, [entry(path.encode()) for path in paths])
    job = await harness.job("evil")
    code, row = await harness.run(job)
    assert (code, row.state, row.files_indexed) == (ExitCode.DONE, JobState.COMPLETED, 31)
    assert await reasons(harness, job) == {
        **dict.fromkeys([*ways, ".git/config"], Skip.PATH_TRAVERSAL),
        "link": Skip.SYMLINK,
        "link/secret.py": Skip.BEHIND_SYMLINK,
    }
    assert SECRET not in await all_that_is_found(harness)


async def test_a_folder_that_became_a_link_after_the_scan_is_not_entered(
    harness: WorkerHarness, evil: Path
) -> None:
    """The list is frozen, its worker dies, and the folder is another when the next one starts."""
    other = evil.parent / "other"
    for number in range(30):
        file = other / f"package_{number % 17}" / f"module_{number}.py"
        file.parent.mkdir(exist_ok=True)
        file.write_text(SECRET)
    job = await harness.job("evil")
    process = await harness.start(job)
    await harness.until(job, lambda row: row.files_total is not None)
    process.kill()
    await process.wait()
    before = {row["path"] for row in await harness.fetch("SELECT path FROM files")}
    shutil.move(evil / "package_3", evil.parent / "away")
    (evil / "package_3").symlink_to("../other/package_3")
    await harness.run(job, attempt=2)
    assert SECRET not in await all_that_is_found(harness)
    behind = {f"package_3/module_{number}.py" for number in (3, 20)} - before
    assert {path for path, reason in (await reasons(harness, job)).items() if reason == Skip.SYMLINK} >= behind
    assert (evil / "package_3").is_symlink()


def commit(folder: Path) -> None:
    git = ["-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@b"]
    run("init", "--quiet", "--initial-branch=main", str(folder))
    run(*git, "add", ".")
    run(*git, "commit", "--quiet", "-m", "x")


async def test_a_bare_repository_whose_objects_lie_outside_is_refused(harness: WorkerHarness, evil: Path) -> None:
    private, bare = harness.root.parent / "outside", harness.root / "bare.git"
    commit(private)
    run("init", "--quiet", "--bare", str(bare))
    shutil.rmtree(bare / "objects")
    (bare / "objects").symlink_to(private / ".git" / "objects")
    (bare / "HEAD").write_text((private / ".git" / "refs" / "heads" / "main").read_text())
    code, row = await harness.run(await harness.job("bare.git"))
    assert (code, row.state, row.error_type) == (ExitCode.FAILED, JobState.FAILED, ErrorType.SOURCE_REFUSED)
    assert "outside every repository root" in (row.error_message or "")
    assert await harness.fetch("SELECT FROM chunks") == []


async def test_a_refusal_names_the_path_that_users_know(harness: WorkerHarness) -> None:
    make_tree(harness.root / "tree", 1)
    (harness.root / "tree" / ".git").write_text("nonsense\n")
    code, row = await harness.run(await harness.job("tree", ref="main"))
    assert (code, row.error_type) == (ExitCode.FAILED, ErrorType.SOURCE_REFUSED)
    assert "'/repos/tree/.git', which is neither" in (row.error_message or "")
    assert str(harness.root) not in (row.error_message or "")


async def test_a_worktree_that_names_the_path_of_the_host_is_indexed_with_its_commit(
    harness: WorkerHarness,
) -> None:
    """Users, and git on the node, say /repos; the worker sees another folder."""
    main, tree = harness.root / "main", harness.root / "tree"
    make_tree(main, 10)
    commit(main)
    run("-C", str(main), "worktree", "add", "-q", "-b", "agent", str(tree))
    (tree / ".git").write_text("gitdir: /repos/main/.git/worktrees/tree\n")
    (main / ".git" / "info").mkdir(exist_ok=True)
    (main / ".git" / "info" / "exclude").write_text("*.log\n")
    (tree / "ignored.log").write_text("ignored = 1\n")
    head = (main / ".git" / "refs" / "heads" / "agent").read_text().strip()
    for ref in (None, "agent", "main"):
        code, row = await harness.run(await harness.job("tree", ref=ref))
        assert (code, row.state, row.commit, row.files_indexed) == (ExitCode.DONE, JobState.COMPLETED, head, 10)


def claim(folder: Path, blobs: dict[str, bytes]) -> None:
    """Give a repository an index that names these blobs, and says that the files are unmodified."""
    rows = [entry(path.encode(), blob, like=(folder / path).stat()) for path, blob in sorted(blobs.items())]
    write_index(folder, rows)
    later = time.time_ns() + 10**9
    os.utime(folder / ".git" / "index", ns=(later, later))


async def test_a_blob_that_an_index_names_brings_nobody_elses_code(harness: WorkerHarness, evil: Path) -> None:
    """Some of the files are the same as the other's, and are copied; of the rest only the names and sizes are."""
    private = harness.root / "private"
    shutil.copytree(evil, private, ignore=shutil.ignore_patterns(".git"))
    make_tree(private, 60)
    run("init", "--quiet", str(private))
    await harness.run(await harness.job("private"))
    held = {row["path"]: row["blob"] for row in await harness.fetch("SELECT path, blob FROM files")}
    assert len(held) == 60
    for number in range(60):
        path = f"package_{number % 17}/module_{number}.py"
        if number >= 30:
            (evil / path).write_bytes(b"#" * (private / path).stat().st_size)
        else:
            shutil.copyfile(private / path, evil / path)
    claim(evil, held)
    job = await harness.job("evil")
    process = await harness.start(job)
    row = await harness.until(job, lambda row: row.files_total is not None)
    await process.wait()
    assert (row.files_total, row.files_unchanged) == (60, 30), "those that were hashed, and none on a word"
    mine = await harness.fetch(
        "SELECT path, text FROM chunks JOIN files f ON f.id = file_id WHERE f.job_id = $1", UUID(job.metadata.uid)
    )
    assert {row["path"] for row in mine} == held.keys()
    for row in mine:
        assert row["text"] in (evil / row["path"]).read_text()


async def test_a_false_word_about_the_own_files_leaves_the_own_former_text(
    harness: WorkerHarness, evil: Path
) -> None:
    """All that it can do within an index: what an earlier job made of this repository stays, until forced."""
    await harness.run(await harness.job("evil"))
    held = {row["path"]: row["blob"] for row in await harness.fetch("SELECT path, blob FROM files")}
    before = await all_that_is_found(harness)
    for path in held:
        (evil / path).write_bytes(b"#" * (evil / path).stat().st_size)
    claim(evil, held)
    _, row = await harness.run(await harness.job("evil"))
    assert (row.files_indexed, row.files_unchanged) == (30, 30)
    assert await all_that_is_found(harness) == before
    await harness.run(await harness.job("evil", forceReindex=True))
    assert set(await all_that_is_found(harness)) == {"#"}


@pytest.mark.parametrize("mended", [True, False], ids=["its index is mended", "its index still names them"])
async def test_what_an_older_version_took_in_from_outside_is_removed(
    mended: bool, harness: WorkerHarness, evil: Path
) -> None:
    """Though the file is there, and nobody has seen it deleted: it is none of this repository's."""
    run("-C", str(evil), "add", ".")
    await harness.run(await harness.job("evil"))
    foreign = {
        "package_1/module_1.py": "../other/secret.py",
        "package_2/module_2.py": "/etc/hostname",
        "package_3/module_3.py": ".git/config",
    }
    for path, other in foreign.items():
        await harness.fetch("UPDATE files SET path = $2 WHERE path = $1", path, other)
    if not mended:
        write_index(evil, [entry(path.encode()) for path in sorted(foreign.values())])
    code, _ = await harness.run(await harness.job("evil"))
    assert code == ExitCode.DONE
    held = {row["path"] for row in await harness.fetch("SELECT path FROM files")}
    assert not held & set(foreign.values())
    assert len(held) >= 30
