"""Which files of a folder are newer than its index: changed, gone, new; and HEAD."""

import errno
import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from codebase_index.beneath import Tree
from codebase_index.blob import blob_id
from codebase_index.repository.repository import find_repository
from codebase_mcp.freshness import working_tree
from codebase_mcp.freshness.working_tree import HEAD, Newer, WorkingTree

FILES = {"main.py": "print()\n", "app/models.py": "class Model: ...\n", "app/views/list.py": "def view(): ...\n"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for path, text in FILES.items():
        write(tmp_path, path, text)
    return tmp_path


def write(folder: Path, path: str, text: str) -> None:
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    (folder / path).write_text(text)


def indexed(folder: Path, before: WorkingTree | None = None, without: str = "-") -> WorkingTree:
    """The tree as a job has just read it; those parts that git ignores were left out."""
    files = {
        str(path.relative_to(folder)): blob_id(path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and ".git" not in path.parts
        and without not in str(path.relative_to(folder))
        and path.stat().st_size
    }
    # As if a while had gone by since everything was written.
    since = time.time() + 2
    return WorkingTree(folder, files, since, find_repository(folder, folder)).after(before)


def paths(newer: Newer | None) -> set[str]:
    return set(newer.stamps) if newer else set()


@pytest.fixture
def tree(folder: Path) -> WorkingTree:
    return settled(folder)


def settled(folder: Path, before: WorkingTree | None = None, without: str = "-") -> WorkingTree:
    """The same, of a job that began after everything was written, and before what is written from now on."""
    tree = indexed(folder, before, without)
    tree._from = max(os.lstat(path).st_ctime_ns for path in [folder, *folder.rglob("*")])
    probe = folder.with_name("probe")
    probe.touch()
    while probe.stat().st_ctime_ns <= tree._from:  # the clock of files moves every 4 ms
        probe.touch()
    return tree


def test_nothing_is_newer_at_rest(tree: WorkingTree) -> None:
    assert tree.look() is None


def test_a_changed_a_deleted_and_a_new_file_are_newer(folder: Path, tree: WorkingTree) -> None:
    write(folder, "main.py", "print(1)\n")
    (folder / "app/models.py").unlink()
    write(folder, "app/views/new.py", "def new(): ...\n")
    assert paths(tree.look()) == {"main.py", "app/models.py", "app/views/new.py"}


def test_a_file_with_an_old_time_of_modification_is_newer(folder: Path, tree: WorkingTree) -> None:
    write(folder, "main.py", "restored\n")
    os.utime(folder / "main.py", (1, 1))
    assert paths(tree.look()) == {"main.py"}


def test_a_file_that_was_written_as_it_was_is_not_newer(folder: Path, tree: WorkingTree) -> None:
    write(folder, "main.py", FILES["main.py"])
    assert tree.look() is None


def test_what_lies_behind_a_link_in_the_place_of_a_folder_is_not_read(folder: Path, tree: WorkingTree) -> None:
    outside = folder.with_name("outside")
    (folder / "app").rename(outside)
    write(outside, "models.py", FILES["app/models.py"])  # as the index has it
    (folder / "app").symlink_to(outside)
    assert "app/models.py" in paths(tree.look())


def test_of_many_written_files_those_after_the_first_are_taken_as_newer_until_they_are_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(working_tree, "MAX_COMPARED", 2)
    tree = settled(folder)
    for path, text in FILES.items():
        write(folder, path, text)
    assert len(paths(tree.look())) == 1
    assert tree.look() is None


def test_files_of_a_new_folder_are_newer_however_deep(folder: Path, tree: WorkingTree) -> None:
    write(folder, "lib/a/b/deep.py", "x\n")
    assert paths(tree.look()) == {"lib/a/b/deep.py"}


def test_an_empty_file_or_folder_is_not_newer_before_it_holds_something(folder: Path, tree: WorkingTree) -> None:
    (folder / "empty").mkdir()
    (folder / "touched.py").touch()
    assert tree.look() is None
    again = settled(folder, tree)
    assert again.look() is None
    write(folder, "empty/first.py", "x\n")
    write(folder, "touched.py", "x\n")
    assert paths(again.look()) == {"empty/first.py", "touched.py"}


def test_what_a_compiler_writes_is_not_newer(folder: Path, tree: WorkingTree) -> None:
    (folder / "__pycache__").mkdir()
    for number in range(3):
        (folder / "__pycache__" / f"m{number}.cpython-313.pyc").write_bytes(b"\xf3\r\r\n\0\0\0\0" + bytes(64))
    assert tree.look() is None
    (folder / "notes.txt").write_bytes("gr\u00fc\u00dfe".encode("utf-16"))
    newer = tree.look()
    assert newer and list(newer.stamps) == ["notes.txt"]


def test_what_a_job_has_left_out_is_not_newer_again(folder: Path, tree: WorkingTree) -> None:
    write(folder, "debug.log", "x\n")
    write(folder, "node_modules/x/index.js", "x\n")
    assert paths(tree.look()) == {"debug.log", "node_modules/x/index.js"}
    again = settled(folder, tree, without="o")  # as if ignored, with models and node_modules
    assert again.look() is None
    (folder / "debug.log").unlink()
    write(folder, "debug.log", "rotated\n")
    assert again.look() is None


def test_what_was_written_while_a_job_read_is_newer_after_it(folder: Path, tree: WorkingTree) -> None:
    write(folder, "late.py", "x\n")
    assert tree.look()
    during = indexed(folder, None, without="late")
    during._from = tree._from
    assert paths(during.after(tree).look()) == {"late.py"}


def test_a_moved_head_is_newer(folder: Path) -> None:
    git = ("git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@b")
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "-qm", "one"], check=True)
    tree = settled(folder)
    assert tree.look() is None
    subprocess.run([*git, "commit", "-qm", "two", "--allow-empty"], check=True)
    assert paths(tree.look()) == {HEAD}


def test_a_git_folder_outside_of_the_root_is_not_looked_at(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    subprocess.run(["git", "init", "-q", str(elsewhere)], check=True)
    (folder / ".git").write_text(f"gitdir: {elsewhere}/.git\n")
    tree = settled(folder)
    assert tree.repository is None and tree.look() is None


def test_files_of_a_folder_that_was_moved_in_are_newer_though_they_are_old(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    library = tmp_path_factory.mktemp("elsewhere") / "library"
    write(library, "deep/parts/old.py", "x\n")
    write(folder, "app/late.py", "x\n")
    tree = settled(folder)
    _pause(folder)
    library.rename(folder / "library")
    assert paths(tree.look()) == {"library/deep/parts/old.py"}


def test_what_is_another_in_a_folder_that_was_moved_to_the_place_of_one_is_newer(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    aside = tmp_path_factory.mktemp("aside")
    copy = aside / "copy"
    shutil.copytree(folder / "app", copy)
    write(copy, "models.py", "class Other: ...\n")
    write(copy, "views/more/new.py", "x\n")
    tree = settled(folder)
    tree._from = max(tree._from, *(os.lstat(path).st_ctime_ns for path in [copy, *copy.rglob("*")]))
    _pause(folder)
    (folder / "app").rename(aside / "app")
    copy.rename(folder / "app")
    assert paths(tree.look()) == {"app/models.py", "app/views/more/new.py"}
    assert paths(tree.look()) == {"app/models.py", "app/views/more/new.py"}


def test_a_file_that_cannot_be_seen_for_want_of_descriptors_is_not_taken_as_gone(
    tree: WorkingTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    def out_of_descriptors(*_: object) -> int:
        raise OSError(errno.EMFILE, "too many open files")

    monkeypatch.setattr(Tree, "directory", out_of_descriptors)
    assert tree.look() is None


@pytest.fixture
def shut(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Files that cannot be read, as if by `chmod 000`, which is nothing to root."""
    names: set[str] = set()
    read = Tree.read

    def refusing(self: Tree, path: bytes, limit: int) -> bytes:
        if path.decode() in names:
            raise PermissionError(errno.EACCES, "Permission denied")
        return read(self, path, limit)

    monkeypatch.setattr(Tree, "read", refusing)
    return names


def test_a_file_that_can_no_longer_be_read_is_told_apart_from_newer_ones(
    folder: Path, tree: WorkingTree, shut: set[str]
) -> None:
    (folder / "main.py").chmod(0)
    shut.add("main.py")
    assert tree.look() == Newer({}, frozenset({"main.py"}))
    write(folder, "app/models.py", "class Other: ...\n")
    assert paths(tree.look()) == {"app/models.py"}
    shut.clear()
    (folder / "app/models.py").write_text(FILES["app/models.py"])
    assert tree.look() is None


def test_a_new_file_that_cannot_be_read_is_newer_once_it_can(
    folder: Path, tree: WorkingTree, shut: set[str]
) -> None:
    write(folder, "key.txt", "x\n")
    shut.add("key.txt")
    assert tree.look() == Newer({}, frozenset({"key.txt"}))
    again = settled(folder, tree, without="key")  # a job has left it out
    assert again.look() == Newer({}, frozenset({"key.txt"}))
    shut.clear()
    assert paths(again.look()) == {"key.txt"}


def _pause(folder: Path) -> None:
    """Wait for the clock of files, which moves every 4 ms."""
    probe = folder.with_name("probe")
    before = probe.stat().st_ctime_ns
    while probe.stat().st_ctime_ns <= before:
        probe.touch()
