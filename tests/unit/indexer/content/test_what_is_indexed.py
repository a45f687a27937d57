"""Ten repositories of real files, made hard to list, against git itself.

docs/what-is-indexed.md explains each difference.

Their files are those of installed packages and of the standard library: every machine that runs tests has them.
"""

import os
import random
import shutil
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

from codebase_indexer.content.skipping import Skip
from codebase_indexer.source.scan import scan
from tests.unit.indexer.repositories import git, oracle, write

SITE, STDLIB = Path(sysconfig.get_paths()["purelib"]), Path(sysconfig.get_paths()["stdlib"])

REPOSITORIES = [
    SITE / "numpy", SITE / "pydantic", SITE / "hypothesis", SITE / "_pytest", SITE / "kopf",
    SITE / "pip", SITE / "mypy", STDLIB / "asyncio", STDLIB / "email", Path(__file__).parents[4] / "docs",
]  # fmt: skip
FILES = 150
"""Of each, smallest first in each folder: enough for every rule, and copied in no time."""

# Lines as people write them, from the ignore files that code hosts offer for Python, Node, Go and editors.
LINES = [
    "__pycache__/", "*.py[cod]", "*.so", "build/", "/dist", "*.egg-info/", ".venv", "node_modules/", "*.log",
    "!important.log", "/*.txt", "docs/**/*.md", "**/tests", "!**/tests/conftest.py", "_*.py", "!__init__.py",
    "/core/*", "!/core/keep/", "*.pyi", "test_?.py", "[a-c]*.py", "*~", "\\#*#", "lib/", "!lib/**", "  trailing",
    "*.json ", "# a comment", "", "internal/*/", "**/generated/**", "!*.md",
]  # fmt: skip


def some_files(source: Path) -> Iterator[Path]:
    """A sample of a package's files, relative to it."""
    found: list[Path] = []
    for folder, folders, names in os.walk(source):
        folders[:] = sorted(f for f in folders if f != "__pycache__")[:6]
        paths = [Path(folder, name) for name in names]
        found += sorted((p for p in paths if p.is_file()), key=lambda p: (p.stat().st_size, p.name))[:25]
        if len(found) >= FILES:
            break
    return (path.relative_to(source) for path in found[:FILES])


def make(source: Path, folder: Path, rng: random.Random) -> None:
    """A repository of real files: some tracked, some untracked, some ignored, some both, and everything odd."""
    folder.mkdir()
    git(folder, "init", "--quiet")
    paths = list(some_files(source))
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / path, folder / path)
    folders = sorted({path.parent for path in paths})
    for place in {Path(), *rng.sample(folders, min(4, len(folders)))}:
        (folder / place / ".gitignore").write_text("\n".join(rng.sample(LINES, 7)) + "\n")
    (folder / ".git" / "info").mkdir(exist_ok=True)
    (folder / ".git" / "info" / "exclude").write_text("\n".join(rng.sample(LINES, 4)) + "\n")
    write(folder, "important.log", "other.log", "build/made.py", "__pycache__/a.pyc", "core/keep/a.py")
    tracked = [str(path) for path in rng.sample(paths, len(paths) * 2 // 3)]
    git(folder, "add", "--force", "--", *tracked, "build/made.py")  # also what is ignored
    (folder / rng.choice(tracked)).unlink()
    (folder / "link.py").symlink_to(tracked[0])
    (folder / "nowhere").symlink_to("/nowhere")
    (folder / "folder-link").symlink_to(folders[-1])
    for name in ("nested", "module"):
        write(folder, f"{name}/inner.py")
        git(folder / name, "init", "--quiet")
        git(folder / name, "add", ".")
        git(folder / name, "commit", "-qm", "x")
    git(folder, "add", "module")  # a gitlink, as a submodule is
    git(folder, "commit", "-qm", "x")


@pytest.fixture(params=range(len(REPOSITORIES)), ids=[source.name for source in REPOSITORIES])
def repository(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    make(REPOSITORIES[request.param], folder, random.Random(request.param))
    return folder


def test_the_scan_has_exactly_what_git_lists(repository: Path) -> None:
    # Not ours to read: a user's or a machine's own excludes are not the repository's.
    git(repository, "config", "core.excludesFile", str(repository / "own-excludes"))
    (repository / "own-excludes").write_text("*.py\n")
    listed = {e.path: e.skip_reason for e in scan(repository, boundary=repository)}
    git(repository, "config", "core.excludesFile", "/dev/null")
    wanted = oracle(repository)
    assert listed.keys() == wanted
    # Nothing goes without a word: what is no plain file is skipped for the reason that it shows.
    for path, reason in listed.items():
        file = repository / path
        if file.is_symlink():
            assert reason == Skip.SYMLINK
        elif file.is_dir():
            assert reason == Skip.NESTED_REPOSITORY
        elif not file.exists():
            assert reason == Skip.VANISHED
        elif file.stat().st_size == 0:
            assert reason == Skip.EMPTY
    assert {p for p, r in listed.items() if r == Skip.NESTED_REPOSITORY} == {"nested", "module"} & wanted
    assert sum(reason is None for reason in listed.values()) > 0


def test_mcpignore_takes_away_what_the_same_lines_in_gitignore_would_ignore(
    repository: Path, tmp_path: Path
) -> None:
    before = set(oracle(repository))
    rng = random.Random(str(repository.name))
    places = ["", *rng.sample(sorted({p.rpartition("/")[0] for p in before if "/" in p}), 1)]
    twin = tmp_path / "twin"
    twin.mkdir()
    git(twin, "init", "--quiet")
    for path in before:
        if not path.endswith(".gitignore"):
            write(twin, path)
    for place in places:
        text = "\n".join(rng.sample(LINES, 6)) + "\n"
        write(repository, f"{place}/.mcpignore".lstrip("/"), text=text)
        write(twin, f"{place}/.gitignore".lstrip("/"), text=text)
    ignored = git(twin, "ls-files", "-z", "--others", "--ignored", "--exclude-standard").decode().split("\0")
    listed = {e.path for e in scan(repository, boundary=repository)}
    compared = {p for p in before if not p.endswith(".gitignore")}
    assert listed & compared == compared - set(ignored)


def test_blobs_are_those_of_git(repository: Path) -> None:
    os.utime(repository / ".git" / "index")
    known = {e.path: e.blob for e in scan(repository, boundary=repository) if e.blob}
    lines = git(repository, "ls-files", "-z", "--stage").decode().split("\0")
    stored = {path: line.split()[1] for line in lines if line for line, path in [line.split("\t", 1)]}
    hashed = git(repository, "hash-object", "--no-filters", "--", *known).decode().split()
    assert known
    assert [blob.hex() for blob in known.values()] == [stored[path] for path in known] == hashed
