"""Files of others: changed as a whole or not at all."""

from pathlib import Path

import pytest

from codebase_cli.clients import files
from codebase_cli.exits import CommandFailed


def test_a_new_file_is_for_its_owner_alone_and_nothing_is_kept(tmp_path: Path) -> None:
    file = tmp_path / "folder" / "mcp.json"
    assert files.replace(file, "", "{}") is None
    assert (file.read_text(), file.stat().st_mode & 0o777) == ("{}", 0o600)
    assert list(file.parent.iterdir()) == [file]


def test_what_was_there_is_kept_beside_with_its_mode(tmp_path: Path) -> None:
    file = tmp_path / "mcp.json"
    file.write_text("before")
    file.chmod(0o640)
    kept = files.replace(file, "before", "after")
    assert kept is not None and kept.read_text() == "before"
    assert (file.read_text(), file.stat().st_mode & 0o777) == ("after", 0o640)


def test_a_file_that_holds_nothing_any_more_goes(tmp_path: Path) -> None:
    file = tmp_path / "mcp.json"
    file.write_text("before")
    files.replace(file, "before", "")
    assert not file.exists()


def test_a_file_that_changed_meanwhile_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "mcp.json"
    file.write_text("somebody else's")
    with pytest.raises(CommandFailed, match="was changed meanwhile"):
        files.replace(file, "before", "after")
    assert [path.name for path in tmp_path.iterdir()] == ["mcp.json"] and file.read_text() == "somebody else's"


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    """Who keeps settings in a repository of dotfiles has links in the home folder."""
    real, link = tmp_path / "dotfiles.json", tmp_path / "mcp.json"
    real.write_text("before")
    link.symlink_to(real)
    files.replace(link, "before", "after")
    assert link.is_symlink() and real.read_text() == "after"


def test_a_file_that_is_no_text_is_not_touched(tmp_path: Path) -> None:
    file = tmp_path / "mcp.json"
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CommandFailed, match="cannot be read"):
        files.text_of(file)
