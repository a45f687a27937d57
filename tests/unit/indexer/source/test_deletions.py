"""What a second look proves gone, and what it leaves in the index because nobody can tell."""

import time
from pathlib import Path

import pytest

from codebase_index.store.ingest.sweep import UnseenFile
from codebase_index.store.ingest.work import ScanEntry
from codebase_indexer.content.skipping import Skip
from codebase_indexer.source.deletions import Presence, ScanResult, find_deleted, is_mass_deletion, probe


@pytest.mark.parametrize(
    ("reason", "presence", "scan_result", "is_deleted"),
    [
        pytest.param(None, Presence.ABSENT, None, True, id="deleted before the job"),
        pytest.param(Skip.VANISHED, Presence.ABSENT, None, True, id="deleted while the job ran"),
        pytest.param(Skip.VANISHED, Presence.PRESENT, {"a.py": None}, False, id="it came back"),
        pytest.param(None, Presence.UNKNOWN, None, False, id="its folder cannot be read"),
        pytest.param(None, Presence.UNKNOWN, {}, False, id="nor could it at the second listing"),
        pytest.param(Skip.UNREADABLE, Presence.PRESENT, {"a.py": None}, False, id="it cannot be read"),
        pytest.param(Skip.UNREADABLE, Presence.ABSENT, None, True, id="unreadable, and then deleted"),
        pytest.param(Skip.CRASHED, Presence.PRESENT, None, False, id="it ends its process"),
        pytest.param(None, Presence.PRESENT, None, False, id="there, and not listed a second time"),
        pytest.param(None, Presence.PRESENT, {}, True, id="ignored now"),
        pytest.param(
            None, Presence.PRESENT, {"dark": Skip.UNREADABLE}, True, id="ignored now, beside a folder in the dark"
        ),
        pytest.param(None, Presence.PRESENT, {"a.py": Skip.BINARY}, True, id="unfit at the second listing"),
        pytest.param(None, Presence.PRESENT, {"a.py": Skip.UNREADABLE}, False, id="unreadable at second listing"),
        pytest.param(Skip.BEHIND_SYMLINK, Presence.PRESENT, None, False, id="a link was there for a moment"),
        pytest.param(Skip.SYMLINK, Presence.UNKNOWN, None, False, id="a link is there, maybe for a moment"),
        pytest.param(Skip.SYMLINK, Presence.PRESENT, {"a.py": Skip.BEHIND_SYMLINK}, False, id="again and again"),
        pytest.param(Skip.BEHIND_SYMLINK, Presence.ABSENT, None, True, id="the link is there to stay"),
        pytest.param(Skip.BINARY, Presence.UNKNOWN, None, True, id="read, and nothing to index now"),
    ],
)
def test_only_what_is_proven_deleted_is_removed(
    reason: str | None, presence: Presence, scan_result: ScanResult | None, is_deleted: bool
) -> None:
    file = UnseenFile(1, "a.py", 3, reason)
    assert list(find_deleted([file], {"a.py": presence}, scan_result)) == ([file] if is_deleted else [])


def test_what_lies_in_a_folder_that_the_second_listing_could_not_open_is_not_gone() -> None:
    file = UnseenFile(1, "src/deep/a.py", 3, None)
    for dark, reason in (("src", Skip.UNREADABLE), ("src/deep", Skip.UNREADABLE), ("src", Skip.SYMLINK)):
        assert not list(find_deleted([file], {file.path: Presence.PRESENT}, {dark: reason, "b.py": None}))


def test_a_probe_tells_present_from_absent_files(tmp_path: Path) -> None:
    (tmp_path / "tree" / "sub").mkdir(parents=True)
    (tmp_path / "tree" / "sub" / "here.py").write_text("here = 1\n")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a.py").write_text("a = 1\n")
    (tmp_path / "tree" / "link").symlink_to(tmp_path / "elsewhere")
    paths = ["sub/here.py", "sub/gone.py", "no/such/folder.py", "sub/here.py/below.py", "link/a.py"]
    there, *others = probe(tmp_path / "tree", tmp_path, paths, time.time() + 1).values()
    assert there is Presence.PRESENT
    assert others == [Presence.ABSENT] * 4


def test_a_link_that_came_after_the_listing_proves_nothing(tmp_path: Path) -> None:
    """A folder that is swapped for a link and back, again and again, shows either to any look."""
    (tmp_path / "tree" / "sub").mkdir(parents=True)
    (tmp_path / "elsewhere" / "deep").mkdir(parents=True)
    (tmp_path / "elsewhere" / "deep" / "a.py").write_text("a = 1\n")
    for name in ("link", "sub/link", "file.py"):
        (tmp_path / "tree" / name).symlink_to(tmp_path / "elsewhere")
    paths = ["link/deep/a.py", "sub/link/a.py", "file.py"]
    came = (tmp_path / "tree" / "link").lstat().st_ctime
    assert set(probe(tmp_path / "tree", tmp_path, paths, came - 1).values()) == {Presence.UNKNOWN}
    assert set(probe(tmp_path / "tree", tmp_path, paths, came + 60).values()) == {Presence.ABSENT}


def test_files_of_a_folder_that_is_a_link_now_are_unknown(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "tree").symlink_to(tmp_path / "elsewhere")
    assert probe(tmp_path / "tree", tmp_path, ["a.py"], time.time() + 60) == {"a.py": Presence.UNKNOWN}


def test_files_of_an_absent_folder_are_unknown(tmp_path: Path) -> None:
    assert probe(tmp_path / "tree", tmp_path, ["a.py", "sub/b.py"], 0) == dict.fromkeys(
        ["a.py", "sub/b.py"], Presence.UNKNOWN
    )


def _entries(found: int, missing: int = 0) -> list[ScanEntry]:
    listed = [ScanEntry(f"{n}.py", 1) for n in range(found)]
    return listed + [ScanEntry(f"missing_{n}.py", 0, Skip.VANISHED) for n in range(missing)]


@pytest.mark.parametrize(
    ("found", "missing", "commit", "indexed", "suspicious"),
    [
        (5, 0, None, 10, False),
        (4, 0, None, 10, True),
        (0, 0, None, 0, False),
        (4, 0, "c0ffee", 10, False),  # git says that the rest was deleted
        (4, 6, "c0ffee", 10, True),  # git has it
        (4, 90, "c0ffee", 5, False),  # a sparse checkout: the index never had it
    ],
)
def test_less_than_half_is_suspicious_unless_git_says_that_it_was_deleted(
    found: int, missing: int, commit: str | None, indexed: int, suspicious: bool
) -> None:
    assert is_mass_deletion(_entries(found, missing), commit, indexed) is suspicious
