"""Which files git knows to be unmodified: each way in which a file can differ from its index entry, against the
bytes themselves."""

import errno
import hashlib
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from codebase_index import beneath
from codebase_indexer.source.git_stat import INDEX_FORMAT, parse_index
from codebase_indexer.source.scan import scan
from tests.unit.indexer.repositories import git, write

LATER = 2**62
"""An index written after everything."""


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    folder = tmp_path / "repo"
    folder.mkdir()
    git(folder, "init", "--quiet")
    return folder


def add(folder: Path) -> None:
    """Track everything, with an index that is surely younger than the files."""
    git(folder, "add", "--all")
    tick()
    os.utime(folder / ".git" / "index")


def tick() -> None:
    """Let the clock of the file system go on."""
    time.sleep(0.02)


def trusted(folder: Path) -> dict[str, bytes]:
    return {e.path: e.blob for e in scan(folder, boundary=folder) if e.blob}


def real(folder: Path, path: str) -> bytes:
    data = (folder / path).read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).digest()


def test_unmodified_files_are_known_unread(repo: Path) -> None:
    write(repo, "a.py", "sub/b.py", "sub/odd\n\tname.py")
    add(repo)
    assert trusted(repo) == {path: real(repo, path) for path in ("a.py", "sub/b.py", "sub/odd\n\tname.py")}
    inside = scan(repo / "sub", boundary=repo)
    assert {e.path: e.blob for e in inside} == {p: real(repo / "sub", p) for p in ("b.py", "odd\n\tname.py")}


def _same_size_and_time(file: Path) -> None:
    before = file.stat()
    tick()
    file.write_text("SOME TEXT\n")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def _replace(file: Path) -> None:
    before = file.stat()
    tick()
    other = file.with_name("other")
    other.write_text("SOME TEXT\n")
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.rename(file)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda file: file.write_text("other text, longer\n"), id="another size"),
        pytest.param(_same_size_and_time, id="the former size, and the time set back"),
        pytest.param(_replace, id="another file of the same size and time moved over it"),
    ],
)
def test_a_changed_file_is_not_trusted(change: Callable[[Path], object], repo: Path) -> None:
    write(repo, "a.py", "b.py")
    add(repo)
    change(repo / "a.py")
    assert trusted(repo) == {"b.py": real(repo, "b.py")}


def test_a_file_as_young_as_the_index_is_not_trusted(repo: Path) -> None:
    write(repo, "a.py", "b.py")
    git(repo, "add", ".")
    young = (repo / "a.py").stat().st_mtime_ns
    os.utime(repo / ".git" / "index", ns=(young, young))
    assert "a.py" not in trusted(repo)


def test_on_a_file_system_that_counts_in_seconds_the_whole_second_is_young() -> None:
    entry = (
        b"100644 %b 0\ta.py\0  ctime: 50:7\n  mtime: 50:7\n  dev: 1\tino: 2\n"
        b"  uid: 0\tgid: 0\n  size: 3\tflags: 0\n" % (b"1" * 40)
    )
    assert parse_index(entry, 50_000_000_000)[b"a.py"] is None
    assert parse_index(entry, 51_000_000_000)[b"a.py"] is not None
    assert parse_index(entry, 50_000_000_007)[b"a.py"] is None
    assert parse_index(entry, 50_000_000_008)[b"a.py"] is not None


def test_a_form_that_is_not_known_is_an_error() -> None:
    with pytest.raises(ValueError, match="form"):
        parse_index(b"100644 %b 0\ta.py\0 something else\n" % (b"1" * 40), LATER)


@pytest.mark.parametrize("flag", ["--assume-unchanged", "--skip-worktree"])
def test_entries_that_git_does_not_check_are_not_trusted(flag: str, repo: Path) -> None:
    write(repo, "a.py", "b.py")
    add(repo)
    git(repo, "update-index", flag, "a.py")
    tick()
    os.utime(repo / ".git" / "index")
    assert trusted(repo) == {"b.py": real(repo, "b.py")}


def test_untracked_and_intended_files_and_links_are_not_trusted(repo: Path) -> None:
    write(repo, "a.py")
    (repo / "link").symlink_to("a.py")
    add(repo)
    write(repo, "intended.py", "untracked.py")
    git(repo, "add", "--intent-to-add", "intended.py")
    tick()
    os.utime(repo / ".git" / "index")
    assert trusted(repo) == {"a.py": real(repo, "a.py")}


@pytest.mark.parametrize(
    "place", [".gitattributes", "sub/.gitattributes", ".git/info/attributes"], ids=["top", "deep", "private"]
)
@pytest.mark.parametrize("attribute", ["filter=lfs", "working-tree-encoding=UTF-16LE", "filter"])
def test_what_a_filter_or_an_encoding_changes_is_not_trusted(place: str, attribute: str, repo: Path) -> None:
    write(repo, "sub/a.dat", "sub/b.py")
    write(repo, place, text=f"*.dat {attribute}\n")
    add(repo)
    assert "sub/b.py" in trusted(repo)
    assert "sub/a.dat" not in trusted(repo)


def test_attributes_that_are_tracked_but_gone_still_count(repo: Path) -> None:
    write(repo, "a.dat", "b.py")
    write(repo, ".gitattributes", text="*.dat filter=x\n")
    add(repo)
    (repo / ".gitattributes").unlink()
    assert trusted(repo) == {"b.py": real(repo, "b.py")}


def test_a_converted_file_differs_from_its_blob_in_size(repo: Path) -> None:
    """Line ends and $Id$ need no look at attributes and configuration: the index compares sizes, too."""
    git(repo, "config", "core.autocrlf", "true")
    write(repo, ".gitattributes", text="*.c ident\n")
    (repo / "a.txt").write_bytes(b"one\r\ntwo\r\n")
    (repo / "b.c").write_bytes(b"/* $Id$ */\n")
    add(repo)
    git(repo, "commit", "-qm", "x")
    (repo / "b.c").unlink()
    git(repo, "checkout", "-q", "--", "b.c")
    tick()
    os.utime(repo / ".git" / "index")
    entries = {e.path: e for e in scan(repo, boundary=repo)}
    for path in ("a.txt", "b.c"):
        blob = entries[path].blob
        assert blob and blob != real(repo, path)
        assert entries[path].size != int(git(repo, "cat-file", "-s", blob.hex()))


def test_blobs_of_another_hash_are_left_alone(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet", "--object-format=sha256")
    write(tmp_path, "a.py")
    add(tmp_path)
    assert [(e.path, e.blob) for e in scan(tmp_path, boundary=tmp_path)] == [("a.py", None)]


@pytest.mark.parametrize("form", ["--split-index", "--index-version=4"])
def test_every_form_of_the_index_is_trusted(form: str, repo: Path) -> None:
    write(repo, "a.py", "sub/b.py")
    git(repo, "add", ".")
    git(repo, "update-index", *form.split("=", 1))
    write(repo, "new.py")
    add(repo)
    assert trusted(repo) == {path: real(repo, path) for path in ("a.py", "sub/b.py", "new.py")}


def test_the_format_holds_each_path_once(repo: Path) -> None:
    write(repo, "a.py", "b 0\tc.py", "d\n  ctime: 1:1\n.py")
    add(repo)
    assert set(parse_index(git(repo, "ls-files", *INDEX_FORMAT), LATER)) == {
        b"a.py",
        b"b 0\tc.py",
        b"d\n  ctime: 1:1\n.py",
    }


@pytest.mark.parametrize("place", [".gitattributes", "sub/.gitattributes"])
def test_attributes_that_cannot_be_read_cost_the_word_of_git_and_not_the_job(
    place: str, repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(repo, "a.py", "sub/b.py", place)
    git(repo, "add", ".")
    os.utime(repo / ".git" / "index", (LATER / 1e9,) * 2)
    assert all(entry.blob for entry in scan(repo, boundary=repo))
    really = beneath.Tree.read

    def read(tree: beneath.Tree, path: bytes, limit: int) -> bytes:
        if path == os.fsencode(place):
            raise PermissionError(errno.EACCES, "Permission denied", place)
        return really(tree, path, limit)

    monkeypatch.setattr(beneath.Tree, "read", read)
    found = {entry.path: (entry.skip_reason, entry.blob) for entry in scan(repo, boundary=repo)}
    assert found == dict.fromkeys(["a.py", "sub/b.py", place], (None, None))
