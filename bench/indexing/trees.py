"""The trees that are indexed: plain copies, so that both programs see the same files whatever is ignored."""

import json
import random
import shutil
import subprocess
import sysconfig
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from bench.indexing.semble import MAX_BYTES, MIN_BYTES
from codebase_indexer.content.skipping import by_content, by_name
from tests.fixtures.generate_test_repo import generate

SUFFIXES = {
    ".py", ".go", ".rs", ".java", ".c", ".h", ".cc", ".cpp", ".hpp", ".js", ".jsx", ".ts", ".tsx", ".rb", ".php",
    ".cs", ".sh", ".md", ".yaml", ".yml", ".toml", ".sql", ".proto", ".html", ".css",
}  # fmt: skip
"""Languages and documents that both programs know; not JSON and other data, of which they take different parts."""

KUBERNETES = "k8s.io/kubernetes@v1.34.4"


def sources(folder: Path | None) -> dict[str, Path]:
    """Return what to index, by name: `folder`, else the installed packages and, if there, Kubernetes."""
    if folder is not None:
        return {folder.resolve().name: folder.resolve()}
    found = {"site-packages": Path(sysconfig.get_path("purelib"))}
    if kubernetes := _kubernetes():
        found["kubernetes"] = kubernetes
    return found


def real_code() -> dict[str, tuple[Path, float]]:
    """Return real code that machines of this kind have, with how many MB to take of it: some 400,000 chunks."""
    modules = _kubernetes()
    go, interpreters = Path("/usr/local/go/src"), Path("/root/.pyenv/versions")
    found = {
        "packages": (Path(sysconfig.get_path("purelib")), 150.0),
        "modules": (modules.parents[1] if modules else go, 120.0),
        "kubernetes": (modules or go, 150.0),
        "go": (go, 120.0),
        "include": (Path("/usr/include"), 100.0),
        "python": (interpreters, 120.0),
    }
    return {name: (source, megabytes) for name, (source, megabytes) in found.items() if source.is_dir()}


def copy(source: Path, target: Path, megabytes: float, *, seed: int = 1) -> float:
    """Copy files that both programs index, a random choice up to a size; return the MB."""
    paths = list(_indexable(source))
    random.Random(seed).shuffle(paths)
    left = megabytes * 1e6
    for path in paths:
        data = path.read_bytes()
        if len(data) > left or by_content(data):
            continue
        left -= len(data)
        place = target / path.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
    return megabytes - left / 1e6


def change(folder: Path, share: float) -> int:
    """Add a line to a share of the files; return how many."""
    paths = sorted(p for p in folder.rglob("*") if p.is_file() and ".git" not in p.relative_to(folder).parts)
    chosen = random.Random(2).sample(paths, max(1, round(len(paths) * share)))
    for path in chosen:
        with path.open("a") as file:
            file.write("\n# changed\n")
    return len(chosen)


def generated(folder: Path, files: int) -> None:
    """Make the quickstart's repository with so many files, 30 KB each, tracked by git."""
    generate(folder, file_count=files)
    git = ["git", "-C", str(folder), "-c", "core.compression=0", "-c", "core.looseCompression=0"]
    subprocess.run([*git, "init", "--quiet"], check=True)
    subprocess.run([*git, "add", "--all"], check=True)


def without_git(folder: Path) -> None:
    """Leave the files alone, so that nobody vouches for them."""
    shutil.rmtree(folder / ".git")


@cache
def _indexable(source: Path) -> Sequence[Path]:
    """Return the files that both programs index, sorted. Each repository that is made of them asks again."""

    def fits(path: Path) -> bool:
        if path.suffix not in SUFFIXES or by_name(path.name) or "node_modules" in path.parts:
            return False
        return path.is_file() and not path.is_symlink() and MIN_BYTES < path.stat().st_size <= MAX_BYTES

    return sorted(filter(fits, source.rglob("*")))


def _kubernetes() -> Path | None:
    """Return the source that the local cluster is built from, if Go has it."""
    if shutil.which("go") is None:
        return None
    command = ["go", "env", "-json", "GOMODCACHE"]
    cache = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    folder = Path(cache["GOMODCACHE"]) / KUBERNETES
    return folder if folder.is_dir() else None
