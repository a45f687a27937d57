"""Repositories that git makes for tests, what git lists of them, and what the scan does."""

import os
import subprocess
from pathlib import Path

from codebase_index.api.resource import IndexingJobSpec
from codebase_indexer.source.scan import scan

ENV = {
    **{k: v for k, v in os.environ.items() if not k.startswith("GIT_")},
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@example.org",
    "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@example.org",
}  # fmt: skip


def git(folder: Path, *arguments: str) -> bytes:
    return subprocess.run(["git", "-C", folder, *arguments], env=ENV, check=True, capture_output=True).stdout


def write(folder: Path, *paths: str, text: str = "some text\n") -> None:
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)


def listed(folder: Path, boundary: Path | None = None, **patterns: list[str]) -> dict[str, str | None]:
    """Path -> reason why it is skipped, None for files to index."""
    return {e.path: e.skip_reason for e in scan(folder, boundary=boundary or folder, **patterns)}  # type: ignore[arg-type]


def oracle(folder: Path) -> set[str]:
    out = git(folder, "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--deduplicate")
    return {path.decode().rstrip("/") for path in out.split(b"\0") if path}


def spec(path: str = "/repos/repo", ref: str | None = None) -> IndexingJobSpec:
    return IndexingJobSpec.model_validate({"source": {"path": path}, "ref": ref})
