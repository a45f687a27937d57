"""The door to a repository's files: whatever a path, a link or a race says, nothing outside is read."""

import os
import posixpath
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codebase_index import beneath
from codebase_index.beneath import NotRegular, PathTraversal, Tree, is_path_traversal
from codebase_index.store.ingest.batch import IndexedFile, SkippedFile, WorkItem
from codebase_indexer.content.skipping import Skip
from codebase_indexer.pipeline.files import FileProcessor
from codebase_indexer.source.scan import scan
from tests.fixtures.crafted_index import GITLINK, entry, write_index
from tests.unit.indexer.repositories import git, listed, write

SECRET = "outside_secret = 'never to be read'\n"


@pytest.fixture(params=[beneath.open_by_kernel, beneath.open_by_parts], ids=["openat2", "part by part"])
def opener(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beneath, "open_beneath", request.param)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root with the repository `repo`, and files beside both."""
    write(tmp_path, "outside/secret.py", "root/other/secret.py", text=SECRET)
    write(tmp_path, "root/repo/a.py", "root/repo/sub/deep/b.py", text="inside = 1\n")
    return tmp_path / "root"


@pytest.fixture
def repo(root: Path) -> Path:
    git(root / "repo", "init", "--quiet")
    return root / "repo"


HOSTILE = [
    b"", b"/", b"/etc/hostname", b"..", b"../other/secret.py", b"sub/../../other/secret.py", b"sub/..", b".",
    b"./a.py", b"sub/./deep/b.py", b"sub//deep/b.py", b"a.py/", b".git", b".git/config", b".GIT/config",
    b".Git", b"sub/.git/config", b".git ", b".git...", b".git::$INDEX_ALLOCATION/config", b"git~1/config",
    b".g\xe2\x80\x8cit/config", b"\xef\xbb\xbf.git/config", b"..\\other\\secret.py", b".git\\config", b"a\0b",
]  # fmt: skip
HARMLESS = [
    b"a.py", b"..hidden", b"...", b".gitignore", b".github/a.yml", b"sub/.gitmodules", b"lib.git/a", b"a\\b",
    b"\\a", b" a", b"-a", b"a\nb", b"caf\xe9", b"git~", b".gitattributes", b"~/a", b"a..b/c",
]  # fmt: skip


@pytest.mark.parametrize("path", HOSTILE)
def test_a_name_that_leads_out_is_known(path: bytes) -> None:
    assert is_path_traversal(path)


@pytest.mark.parametrize("path", HARMLESS)
def test_an_odd_name_of_a_file_is_no_way_out(path: bytes) -> None:
    assert not is_path_traversal(path)


PARTS = st.sampled_from(
    [b"..", b".", b"", b".git", b".GIT", b".git.", b"a", b"..a", b"\xe2\x80\x8c", b"~", b" ", b"git~1"]
) | st.binary(max_size=4)


@given(st.lists(PARTS, max_size=6), st.sampled_from([b"/", b"\\", b""]))
def test_whatever_is_no_way_out_stays_below(parts: list[bytes], separator: bytes) -> None:
    path = separator.join(parts)
    if is_path_traversal(path):
        return
    for seen in (path, path.replace(b"\\", b"/")):
        assert (posixpath.normpath(b"/top/" + seen) + b"/").startswith(b"/top/")
        assert b".git" not in [part.rstrip(b". ").lower() for part in seen.split(b"/")]
    assert posixpath.normpath(b"/top/" + path) == b"/top/" + path


@pytest.mark.usefixtures("opener")
@pytest.mark.parametrize("path", HOSTILE)
def test_a_name_that_leads_out_is_not_opened(path: bytes, root: Path) -> None:
    write(root, "repo/.git/config")
    with Tree(root / "repo") as tree, pytest.raises(PathTraversal):
        tree.open_file(path)


@given(st.lists(PARTS, max_size=6), st.sampled_from([beneath.open_by_kernel, beneath.open_by_parts]))
def test_an_opener_alone_lets_nothing_out(parts: list[bytes], opener: Callable[[int, bytes, int], int]) -> None:
    """The check of names aside: the directory itself holds."""
    top = os.open(Path(__file__).parent, os.O_RDONLY)
    try:
        descriptor = opener(top, b"/".join(parts).replace(b"\0", b"") or b".", os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    finally:
        os.close(top)
    found = Path(f"/proc/self/fd/{descriptor}").readlink()
    os.close(descriptor)
    assert found.is_relative_to(Path(__file__).parent)


@pytest.mark.usefixtures("opener")
def test_a_file_is_read_at_any_depth_and_up_to_a_limit(root: Path) -> None:
    with Tree(root / "repo", root) as tree:
        assert tree.read(b"a.py", 100) == b"inside = 1\n"
        assert tree.read(b"sub/deep/b.py", 6) == b"inside"
        with pytest.raises(FileNotFoundError):
            tree.open_file(b"sub/none.py")
        with pytest.raises(NotADirectoryError):
            tree.open_file(b"a.py/none.py")


@pytest.mark.usefixtures("opener")
@pytest.mark.parametrize("target", ["/etc", "../outside", "../other", "sub", "sub/deep"])
def test_no_link_is_followed_wherever_it_leads(target: str, root: Path) -> None:
    (root / "repo" / "link").symlink_to(target)
    with Tree(root / "repo", root) as tree:
        for path in (b"link", b"link/secret.py", b"link/deep/b.py"):
            with pytest.raises(OSError, match="symbolic links"):
                tree.open_file(path)
        with pytest.raises(OSError, match="symbolic links"):
            tree.directory(b"link")


@pytest.mark.usefixtures("opener")
@pytest.mark.parametrize("replaced", ["repo", "team/repo"])
def test_a_folder_that_became_a_link_is_not_entered(replaced: str, root: Path) -> None:
    folder = root / "team" / "repo"
    shutil.copytree(root / "repo", folder)
    with Tree(root / replaced, root) as tree:
        assert tree.read(b"a.py", 100)
    top = root / replaced.split("/")[0]
    top.rename(root / "away")
    top.symlink_to("away")
    with Tree(root / replaced, root) as tree, pytest.raises(OSError, match="symbolic links"):
        tree.open_file(b"a.py")


@pytest.mark.usefixtures("opener")
def test_pipes_sockets_devices_and_folders_are_no_files_and_hold_nobody(root: Path) -> None:
    folder = root / "repo"
    os.mkfifo(folder / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(folder / "socket"))
        with Tree(folder) as tree:
            for path in (b"pipe", b"socket", b"sub"):
                with pytest.raises(NotRegular):
                    tree.open_file(path)
    with Tree(Path("/dev")) as devices, pytest.raises(NotRegular):
        devices.open_file(b"null")


@pytest.mark.usefixtures("opener")
def test_the_worker_reads_nothing_outside_whatever_its_list_says(root: Path) -> None:
    """Lists that an older version froze are indexed by this one."""
    os.mkfifo(root / "repo" / "pipe")
    (root / "repo" / "link").symlink_to("../other")
    paths = ["../other/secret.py", str(root.parent / "outside" / "secret.py"), "link/secret.py", "pipe", "a.py"]
    items = [WorkItem(seq, path, 1) for seq, path in enumerate(paths)]
    results = FileProcessor("1:test", None).process(root / "repo", items, {}, root).results
    reasons = [result.reason for result in results if isinstance(result, SkippedFile)]
    assert reasons == [Skip.PATH_TRAVERSAL, Skip.PATH_TRAVERSAL, Skip.SYMLINK, Skip.NOT_REGULAR]
    assert isinstance(results[-1], IndexedFile)


@pytest.mark.usefixtures("opener")
def test_a_folder_that_is_gone_costs_its_files_not_the_worker(root: Path) -> None:
    items = [WorkItem(seq, "a.py", 1) for seq in range(3)]
    results = FileProcessor("1:test", None).process(root / "gone", items, {}, root / "gone").results
    assert [result.reason for result in results if isinstance(result, SkippedFile)] == [Skip.VANISHED] * 3


@pytest.fixture
def swapping(root: Path) -> Iterator[list[int]]:
    """A thread that swaps the folder `repo/sub` with a link to a folder outside, again and again."""
    sub, link, aside = root / "repo" / "sub", root / "link", root / "aside"
    write(root.parent, "outside/deep/b.py", text=SECRET)
    link.symlink_to(root.parent / "outside")
    stop, rounds = threading.Event(), [0]

    def swap() -> None:
        while not stop.is_set():
            sub.rename(aside)
            link.rename(sub)
            sub.rename(link)
            aside.rename(sub)
            rounds[0] += 1

    thread = threading.Thread(target=swap)
    thread.start()
    yield rounds
    stop.set()
    thread.join()


@pytest.mark.usefixtures("opener")
def test_a_folder_that_becomes_a_link_meanwhile_leads_nowhere(root: Path, swapping: list[int]) -> None:
    met: set[str] = set()
    with Tree(root / "repo", root) as tree:
        while swapping[0] < 300 or not {"inside", "refused"} <= met:
            try:
                assert tree.read(b"sub/deep/b.py", 100) == b"inside = 1\n"
                met.add("inside")
            except OSError:
                met.add("refused")


def test_a_scan_beside_such_a_race_learns_nothing_of_what_is_outside(
    repo: Path, root: Path, swapping: list[int]
) -> None:
    write(root.parent, "outside/deep/b.py", text=SECRET * 100)
    git_index = [entry(b"a.py"), entry(b"sub/deep/b.py")]
    write_index(repo, git_index)
    for _ in range(10):
        sizes = {e.path: e.size for e in scan(repo, boundary=root)}
        assert sizes["sub/deep/b.py"] in (0, len("inside = 1\n"))


ENTRIES = [
    b"../other/secret.py", b"/etc/hostname", b"a.py", b"sub/../../other/secret.py", b"sub/deep/b.py",
    b".git/config", b".GIT/config", b"sub/.git", b"", b"..", b"./a.py", b"sub//deep/b.py",
]  # fmt: skip


def test_of_an_index_made_by_hand_only_files_of_the_folder_are_listed(repo: Path, root: Path) -> None:
    write_index(repo, map(entry, sorted(ENTRIES)))
    write(repo, "etc/hostname", ".mcpignore", text="*.log\n")  # what a careless join would find
    found = listed(repo, root)
    led_out = {path for path, reason in found.items() if reason == Skip.PATH_TRAVERSAL}
    assert led_out == {path.decode() or "./" for path in ENTRIES} - {"a.py", "sub/deep/b.py"}
    assert {path for path, reason in found.items() if reason is None} >= {"a.py", "sub/deep/b.py", ".mcpignore"}


def test_a_submodule_outside_is_not_looked_at(repo: Path, root: Path) -> None:
    write_index(repo, [entry(b"../other", mode=GITLINK), entry(b"a.py")])
    assert listed(repo, root)["../other"] == Skip.PATH_TRAVERSAL


def test_a_name_that_leads_out_and_is_no_text_or_too_long_is_told(repo: Path) -> None:
    write_index(repo, [entry(b"../" + b"x" * 3000), entry(b"../caf\xe9")])
    found = listed(repo)
    assert found["../caf\\xe9"] == Skip.PATH_TRAVERSAL
    assert len(max(found, key=len)) <= 1024
