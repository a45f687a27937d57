"""A root that agents know by another path than this process, and what a job sees of it."""

import os
from pathlib import Path, PurePosixPath

from codebase_index.api.source_policy import SourcePolicy
from codebase_indexer.source.checkout import Checkout, open_source
from codebase_indexer.source.scan import scan
from tests.unit.indexer.repositories import git, spec, write

HOST = PurePosixPath("/home/agent/code")
"""What the root is called where agents work. There is no such folder here, as there is none in a pod."""


def text(folder: Path, *arguments: str) -> str:
    return git(folder, *arguments).decode().strip()


def commit(folder: Path, name: str = "a.py", content: str = "inside = 1\n", named_by: str = "sha1") -> str:
    """Make a repository with a commit; return its hash."""
    folder.mkdir(parents=True, exist_ok=True)
    git(folder, "init", "--quiet", "--initial-branch=main", f"--object-format={named_by}")
    write(folder, name, text=content)
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "x")
    return text(folder, "rev-parse", "HEAD")


def opened(policy: SourcePolicy, path: str, work: Path, ref: str | None = None) -> Checkout:
    return open_source(spec(f"{HOST}/{path}", ref), policy, work, None)


def seen(checkout: Checkout) -> dict[str, str | None]:
    found = scan(checkout.folder, boundary=checkout.boundary, roots=checkout.roots)
    return {entry.path: entry.skip_reason for entry in found}


def worktree(mount: Path, name: str, *, relative: bool = False, absolute_common: bool = False) -> Path:
    """Add a linked worktree, and let it name its repository by the path that agents know."""
    tree = mount / name
    git(mount / "repo", "worktree", "add", "-q", "-b", tree.name, str(tree))
    write(tree, "b.py", "c.log", text="of_the_worktree = 1\n")
    git(tree, "add", "b.py")
    git(tree, "commit", "-qm", "y")
    git_dir = HOST / "repo/.git/worktrees" / tree.name
    pointer = os.path.relpath(git_dir, HOST / name) if relative else git_dir
    (tree / ".git").write_text(f"gitdir: {pointer}\n")
    (mount / "repo/.git/worktrees" / tree.name / "gitdir").write_text(f"{HOST / name}/.git\n")
    if absolute_common:
        (mount / "repo/.git/worktrees" / tree.name / "commondir").write_text(f"{HOST}/repo/.git\n")
    return tree
