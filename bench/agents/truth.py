"""What is right for a task, by Python's own parser and tokenizer: neither side of the benchmark is asked."""

import ast
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

Line = tuple[str, int]
"""A path in a repository, and a line of it, from 1."""


@dataclass(frozen=True)
class Defined:
    """A class or function: its qualified name, the line of its `def` or `class`, its first and last line."""

    path: str
    name: str
    line: int
    first: int
    last: int

    @property
    def lines(self) -> set[Line]:
        """All of its lines."""
        return {(self.path, number) for number in range(self.first, self.last + 1)}


@dataclass(frozen=True)
class Sources:
    """The Python files of a repository in a folder."""

    folder: Path

    def paths(self, below: str = "") -> list[str]:
        """Return the paths of the files, in order."""
        return sorted(str(file.relative_to(self.folder)) for file in (self.folder / below).rglob("*.py"))

    def defined(self, path: str) -> list[Defined]:
        """Return the classes and functions of a file, those inside of functions left out."""
        return list(_defined(_parsed(self.folder / path), path, ""))

    def one(self, name: str, path: str | None = None) -> Defined:
        """Return the only definition of a name, qualified or not. Raises LookupError."""
        paths = [path] if path else self.paths()
        found = [d for p in paths for d in self.defined(p) if f".{d.name}".endswith(f".{name}")]
        if len(found) != 1:
            raise LookupError(f"{self.folder.name} defines {name} {len(found)} times{f' in {path}' * bool(path)}")
        return found[0]

    def calls(self, name: str) -> set[Line]:
        """Return the lines in which something of this name is called."""
        return {
            (path, node.func.end_lineno or node.lineno)
            for path in self.paths()
            for node in ast.walk(_parsed(self.folder / path))
            if isinstance(node, ast.Call) and _called(node.func) == name
        }

    def uses(self, name: str, below: str = "") -> set[Line]:
        """Return the lines that have a name as a token: its definition and its uses, not comments or strings."""
        return {(path, line) for path in self.paths(below) for line in _tokens(self.folder / path).get(name, ())}

    def tests(self, name: str) -> set[tuple[str, str]]:
        """Return the test functions that use a name, as (path, function)."""
        used = self.uses(name, "tests")
        return {
            (d.path, d.name.rpartition(".")[2])
            for path in {path for path, _ in used}
            for d in self.defined(path)
            if d.name.rpartition(".")[2].startswith("test_") and d.lines & used
        }


@cache
def _parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_text())


@cache
def _tokens(file: Path) -> dict[str, set[int]]:
    found: dict[str, set[int]] = {}
    with file.open("rb") as opened:
        for token in tokenize.tokenize(opened.readline):
            if token.type == tokenize.NAME:
                found.setdefault(token.string, set()).add(token.start[0])
    return found


def _defined(node: ast.AST, path: str, scope: str) -> Iterator[Defined]:
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            if not isinstance(child, ast.expr):
                yield from _defined(child, path, scope)
            continue
        first = min([child.lineno, *(decorator.lineno for decorator in child.decorator_list)])
        yield Defined(path, scope + child.name, child.lineno, first, child.end_lineno or child.lineno)
        if isinstance(child, ast.ClassDef):
            yield from _defined(child, path, f"{scope}{child.name}.")


def _called(function: ast.expr) -> str | None:
    if isinstance(function, ast.Name):
        return function.id
    return function.attr if isinstance(function, ast.Attribute) else None
