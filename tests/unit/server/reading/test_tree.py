"""A tree of files: every file is in it, or counted, and it has the lines it may have."""

from hypothesis import given
from hypothesis import strategies as st

from codebase_mcp.reading.tree import draw_tree

PATHS = ["README.md", "src/main/java/App.java", "src/main/java/util/Text.java", "tests/a.py", "tests/b.py"]


def test_folders_are_opened_as_far_as_there_is_room() -> None:
    assert draw_tree(PATHS, 20) == [
        "src/main/java/", "  util/", "    Text.java", "  App.java", "tests/", "  a.py", "  b.py", "README.md",
    ]  # fmt: skip
    assert draw_tree(PATHS, 3) == ["src/main/java/ (2 files)", "tests/ (2 files)", "README.md"]
    assert draw_tree(PATHS, 5) == [
        "src/main/java/", "  util/ (1 file)", "  App.java", "tests/ (2 files)", "README.md",
    ]  # fmt: skip


def test_a_folder_that_all_files_share_stands_at_the_top() -> None:
    assert draw_tree(["a/b/x", "a/b/y"], 9) == ["a/b/", "  x", "  y"]


NAMES = st.lists(st.sampled_from("abcd"), min_size=1, max_size=6).map("/".join)


@given(st.sets(NAMES, min_size=1, max_size=80).map(lambda paths: sorted(f"{path}/f.py" for path in paths)))
def test_every_file_is_shown_or_counted(paths: list[str]) -> None:
    for room in (1, 5, 30, 1000):
        lines = draw_tree(paths, room)
        counted = sum(int(line.split("(")[1].split()[0]) for line in lines if line.endswith(("files)", "file)")))
        assert counted + sum(line.endswith("f.py") for line in lines) == len(paths)
    assert sum(line.endswith("f.py") for line in draw_tree(paths, 1000)) == len(paths)
