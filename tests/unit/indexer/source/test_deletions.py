"""What a second look proves gone, and what it leaves in the index because nobody can tell."""

from pathlib import Path

import pytest

from codebase_index.store.ingest.sweep import Unseen
from codebase_index.store.ingest.work import Entry
from codebase_indexer.content.skipping import Skip
from codebase_indexer.source.deletions import Listing, Sight, gone, is_suspicious, look


@pytest.mark.parametrize(
    ("reason", "sight", "listing", "is_gone"),
    [
        pytest.param(None, Sight.GONE, None, True, id="deleted before the job"),
        pytest.param(Skip.VANISHED, Sight.GONE, None, True, id="deleted while the job ran"),
        pytest.param(Skip.VANISHED, Sight.THERE, {"a.py": None}, False, id="it came back"),
        pytest.param(None, Sight.UNKNOWN, None, False, id="its folder cannot be read"),
        pytest.param(None, Sight.UNKNOWN, {}, False, id="nor could it at the second listing"),
        pytest.param(Skip.UNREADABLE, Sight.THERE, {"a.py": None}, False, id="it cannot be read"),
        pytest.param(Skip.UNREADABLE, Sight.GONE, None, True, id="it could not be read, and then was deleted"),
        pytest.param(Skip.CRASHED, Sight.THERE, None, False, id="it ends its process"),
        pytest.param(None, Sight.THERE, None, False, id="there, and not listed a second time"),
        pytest.param(None, Sight.THERE, {}, True, id="ignored now"),
        pytest.param(
            None, Sight.THERE, {"dark": Skip.UNREADABLE}, True, id="ignored now, beside a folder in the dark"
        ),
        pytest.param(None, Sight.THERE, {"a.py": Skip.BINARY}, True, id="unfit at the second listing"),
        pytest.param(None, Sight.THERE, {"a.py": Skip.UNREADABLE}, False, id="unreadable at the second listing"),
        pytest.param(Skip.BINARY, Sight.UNKNOWN, None, True, id="read, and nothing to index now"),
    ],
)
def test_only_what_is_proven_gone_is_removed(
    reason: str | None, sight: Sight, listing: Listing | None, is_gone: bool
) -> None:
    file = Unseen(1, "a.py", 3, reason)
    assert list(gone([file], {"a.py": sight}, listing)) == ([file] if is_gone else [])


def test_what_lies_in_a_folder_that_the_second_listing_could_not_open_is_not_gone() -> None:
    file = Unseen(1, "src/deep/a.py", 3, None)
    for dark in ("src", "src/deep"):
        assert not list(gone([file], {file.path: Sight.THERE}, {dark: Skip.UNREADABLE, "b.py": None}))


def test_a_look_tells_what_is_there_from_what_is_gone(tmp_path: Path) -> None:
    (tmp_path / "tree" / "sub").mkdir(parents=True)
    (tmp_path / "tree" / "sub" / "here.py").write_text("here = 1\n")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a.py").write_text("a = 1\n")
    (tmp_path / "tree" / "link").symlink_to(tmp_path / "elsewhere")
    paths = ["sub/here.py", "sub/gone.py", "no/such/folder.py", "sub/here.py/below.py", "link/a.py"]
    there, *others = look(tmp_path / "tree", tmp_path, paths).values()
    assert there is Sight.THERE
    assert others == [Sight.GONE] * 4


def test_of_a_folder_that_is_gone_itself_nobody_can_tell(tmp_path: Path) -> None:
    assert look(tmp_path / "tree", tmp_path, ["a.py", "sub/b.py"]) == dict.fromkeys(
        ["a.py", "sub/b.py"], Sight.UNKNOWN
    )


def _entries(found: int, missing: int = 0) -> list[Entry]:
    listed = [Entry(f"{n}.py", 1) for n in range(found)]
    return listed + [Entry(f"missing_{n}.py", 0, Skip.VANISHED) for n in range(missing)]


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
    assert is_suspicious(_entries(found, missing), commit, indexed) is suspicious
