"""Definitions of files by parsers that share nothing with ours: the language's own where one can be had."""

import ast
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

from bench.compilers import build_go, install_typescript

HERE = Path(__file__).parent
BUILT = Path(os.environ.get("PLACES_BUILD", "/tmp/codebase-places"))


class Truth(NamedTuple):
    """A definition by an independent parser; lines from 1, both ends included.

    `first` is where its decorators or annotations begin, `line` where it begins without those before it.
    """

    name: str
    kind: str  # function, type or constant
    first: int
    line: int
    last: int


@dataclass(frozen=True)
class Parser:
    """A parser: its name for the report, and how it reads files; those that it cannot parse are left out."""

    name: str
    read: "_Read"


def _python(paths: Sequence[Path]) -> Iterator[tuple[Path, list[Truth]]]:
    for path in paths:
        try:
            tree = ast.parse(path.read_bytes())
        except (SyntaxError, ValueError, RecursionError):
            continue
        yield path, list(_of_python(tree))


def _of_python(tree: ast.AST) -> Iterator[Truth]:
    stack: list[tuple[ast.AST, bool]] = [(tree, True)]
    while stack:
        node, top = stack.pop()
        inner = top
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            kind, inner = "type" if isinstance(node, ast.ClassDef) else "function", False
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            yield Truth(node.name, kind, first, node.lineno, node.end_lineno or 0)
        elif top and isinstance(node, ast.Assign | ast.AnnAssign):
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            if isinstance(target, ast.Name):
                yield Truth(target.id, "constant", node.lineno, node.lineno, node.end_lineno or 0)
        stack += [(child, inner) for child in ast.iter_child_nodes(node)]


_Read = Callable[[Sequence[Path]], Iterator[tuple[Path, list[Truth]]]]


def _program(command: Callable[[], Sequence[str]]) -> _Read:
    def read(paths: Sequence[Path]) -> Iterator[tuple[Path, list[Truth]]]:
        listed = "".join(f"{path}\n" for path in paths)
        done = subprocess.run(command(), input=listed, text=True, stdout=subprocess.PIPE, check=True)
        for line in done.stdout.splitlines():
            found = json.loads(line)
            yield Path(found["path"]), [Truth(*d) for d in found["definitions"]]

    return read


@cache
def _go() -> list[str]:
    return build_go(HERE / "go", BUILT / "go-places")


@cache
def _typescript() -> list[str]:
    return install_typescript(HERE / "typescript.cjs", BUILT / "typescript", "--max-old-space-size=2048")


@cache
def _java() -> list[str]:
    folder = BUILT / "java"
    subprocess.run(["javac", "-d", folder, HERE / "java" / "Places.java"], check=True)
    return ["java", "-Xmx1g", "-cp", str(folder), "Places"]


@cache
def _rust() -> list[str]:
    subprocess.run(
        ["cargo", "build", "--quiet", "--release", "--target-dir", BUILT / "rust"], cwd=HERE / "rust", check=True
    )
    return [str(BUILT / "rust" / "release" / "places")]


@cache
def _clang() -> list[str]:
    """Install clang's library into an environment of its own."""
    python = BUILT / "clang" / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", BUILT / "clang"], check=True)
    subprocess.run([python, "-m", "pip", "install", "--quiet", "libclang"], check=True)
    return [str(python), str(HERE / "clang_definitions.py")]


PARSERS = {
    "python": Parser("Python's ast", _python),
    "go": Parser("go/parser", _program(_go)),
    "javascript": Parser("TypeScript's compiler", _program(_typescript)),
    "typescript": Parser("TypeScript's compiler", _program(_typescript)),
    "tsx": Parser("TypeScript's compiler", _program(_typescript)),
    "java": Parser("javac", _program(_java)),
    "rust": Parser("syn", _program(_rust)),
    "ruby": Parser("Ripper", _program(lambda: ["ruby", str(HERE / "ruby.rb")])),
    "php": Parser("php-ast", _program(lambda: ["php", str(HERE / "php.php")])),
    "c": Parser("clang", _program(lambda: [*_clang(), "c"])),
    "cpp": Parser("clang", _program(lambda: [*_clang(), "c++"])),
}
