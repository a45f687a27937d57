"""The generated repository: as large as the quickstart says, parseable, the same for the same seed."""

import ast
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from tree_sitter_language_pack import get_parser

from tests.fixtures import generate_test_repo
from tests.fixtures.generate_test_repo import MAX_FILES, MIN_LINES, TEMPLATES, generate

ALL_LANGUAGES = sorted(path.stem for path in TEMPLATES.glob("*.txt"))


def contents(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("repository")
    generate(root, 300)
    return root


def test_command_prints_what_the_quickstart_expects(tmp_path: Path) -> None:
    command = [sys.executable, generate_test_repo.__file__, "--output-dir", str(tmp_path / "new")]
    command += ["--file-count", "100", "--avg-lines-per-file", "200"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    first, size, average, total = done.stdout.splitlines()
    assert first == "Generated 100 Python files"
    assert size == "Total size: ~3.0 MB"
    assert average == "Average lines per file: 200"
    assert total == "Total lines: ~20,000"


def test_every_python_file_parses(repository: Path) -> None:
    files = contents(repository)
    assert len(files) == 300
    for path, source in files.items():
        assert path.endswith(".py")
        ast.parse(source, path)


def test_size_and_lines_are_those_of_the_quickstart(repository: Path) -> None:
    files = contents(repository).values()
    lines = [source.count(b"\n") for source in files]
    assert sum(lines) == 300 * 200
    assert max(lines) > 240 > 160 > min(lines)  # they vary
    assert sum(map(len, files)) == pytest.approx(300 * 30_000, rel=0.03)


def test_summary_tells_what_is_on_disk(tmp_path: Path) -> None:
    summary = generate(tmp_path, 31, avg_lines=60, languages=["python", "go"])
    files = contents(tmp_path)
    assert summary.files == len(files) == 31
    assert summary.size == sum(map(len, files.values()))
    assert summary.lines == sum(source.count(b"\n") for source in files.values()) == 31 * 60
    assert summary.languages == {"python": 16, "go": 15}


def test_chunks_are_distinct(repository: Path) -> None:
    chunks = Counter(s[i : i + 1_200] for s in contents(repository).values() for i in range(0, len(s), 1_200))
    assert max(chunks.values()) == 1


def test_packages_are_nested_and_complete(repository: Path) -> None:
    folders = {path.parent for path in repository.rglob("*.py")}
    assert all((folder / "__init__.py").is_file() for folder in folders)
    generate_more = {generate_test_repo.folder_path(number) for number in range(600)}
    assert len(generate_more) == 600
    assert max(folder.count("/") for folder in generate_more) >= 2
    assert {folder.rpartition("/")[0] for folder in generate_more} - {""} <= generate_more


def test_imports_name_existing_modules(repository: Path) -> None:
    modules = {path.relative_to(repository).with_suffix("").as_posix() for path in repository.rglob("*.py")}
    for source in contents(repository).values():
        tree = ast.parse(source)
        areas = [node.module for node in tree.body if isinstance(node, ast.ImportFrom) and node.module]
        ours = [area.replace(".", "/") for area in areas if area not in sys.stdlib_module_names]
        assert ours
        assert all(module in modules or f"{module}/__init__" in modules for module in ours)


def test_same_seed_same_bytes_other_seed_other_bytes(tmp_path: Path) -> None:
    for name, seed in [("a", 7), ("b", 7), ("c", 8)]:
        generate(tmp_path / name, 40, avg_lines=50, seed=seed, languages=["python", "rust"])
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert not set(contents(tmp_path / "a").values()) & set(contents(tmp_path / "c").values())


@pytest.mark.parametrize("language", ALL_LANGUAGES)
def test_every_language_parses(tmp_path: Path, language: str) -> None:
    generate(tmp_path, 12, avg_lines=300, languages=[language])
    parser = get_parser(language)  # type: ignore[arg-type]
    for path, source in contents(tmp_path).items():
        assert not parser.parse(source).root_node.has_error, path


@pytest.mark.parametrize("language", ALL_LANGUAGES)
def test_the_shortest_file_has_a_whole_header(tmp_path: Path, language: str) -> None:
    assert generate(tmp_path, 4, avg_lines=MIN_LINES, languages=[language]).lines == 4 * MIN_LINES
    assert all(source.count(b"\n") == MIN_LINES for source in contents(tmp_path).values())


def test_refuses_a_folder_with_other_content(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("the only copy")
    with pytest.raises(ValueError, match=r"thesis\.txt.*nothing was written"):
        generate(tmp_path, 3)
    assert contents(tmp_path) == {"thesis.txt": b"the only copy"}


def test_repeats_itself_but_does_not_mix_with_another_tree(tmp_path: Path) -> None:
    generate(tmp_path, 30, avg_lines=40)
    before = contents(tmp_path)
    generate(tmp_path, 30, avg_lines=40)
    assert contents(tmp_path) == before
    with pytest.raises(ValueError, match="choose another"):
        generate(tmp_path, 3, avg_lines=40)
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"file_count": 0}, "file count 0"),
        ({"file_count": MAX_FILES + 1}, "out of bounds"),
        ({"file_count": 1, "avg_lines": MIN_LINES - 1}, "average of 19 lines"),
        ({"file_count": 1, "avg_lines": 10**6}, "out of bounds"),
        ({"file_count": 1, "languages": ["cobol"]}, "language cobol; known: bash, c,"),
        ({"file_count": 1, "languages": []}, "none given"),
    ],
    ids=["no files", "too many files", "too short", "too long", "unknown language", "no language"],
)
def test_refuses_what_is_out_of_bounds(tmp_path: Path, arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        generate(tmp_path / "new", **arguments)  # type: ignore[arg-type]
    assert not (tmp_path / "new").exists()


def test_the_command_explains_a_refusal(tmp_path: Path) -> None:
    command = [sys.executable, generate_test_repo.__file__, "--output-dir", str(tmp_path), "--languages", "perl"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert "error: no templates for language perl" in done.stderr
