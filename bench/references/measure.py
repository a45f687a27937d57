"""What a lexer says that lines do with a name, beside the language's own parser: precision and recall by use.

`python -m bench.references.measure FOLDER...`: each folder is a repository. Of each file some pairs of a line and
a name that the repository defines are taken, by the same random numbers each time.
"""

import argparse
import ast
import io
import json
import random
import re
import tokenize
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.places.measure import files_of
from bench.references.programs import PROGRAMS
from codebase_indexer.chunking import chunker
from codebase_mcp.search.uses import Use, uses

PAIRS = 40
"""Of a file."""

Told = tuple[int, str, str]
"""A line, a name and what the line does with it."""

_ORDER = list(Use)
_TEXT: dict[str, str] = {Use.COMMENT: "comment or string", Use.STRING: "comment or string"}
_WORD = re.compile(r"\w+")


def of_python(paths: Sequence[Path]) -> Iterator[tuple[Path, list[Told]]]:
    """Yield what ast and tokenize say of files; those that they refuse are left out."""
    for path in paths:
        data = path.read_bytes()
        try:
            tree, found = ast.parse(data), list(_of_tokens(data))
        except (SyntaxError, ValueError, RecursionError, tokenize.TokenError):
            continue
        visitor = _Visitor()
        visitor.visit(tree)
        docs = visitor.docstrings
        yield path, visitor.told + [(n, w, "comment" if n in docs and u == "string" else u) for n, w, u in found]


def _of_tokens(data: bytes) -> Iterator[Told]:
    for token in tokenize.tokenize(io.BytesIO(data).readline):
        if token.type in (tokenize.COMMENT, tokenize.STRING):
            use = "comment" if token.type == tokenize.COMMENT else "string"
            for number, line in enumerate(token.string.split("\n"), start=token.start[0]):
                yield from ((number, word, use) for word in _WORD.findall(line))


class _Visitor(ast.NodeVisitor):
    """Collects uses; a node's own use is known from what holds it."""

    def __init__(self) -> None:
        self.told: list[Told] = []
        self.docstrings: set[int] = set()
        self._known: dict[ast.AST, str] = {}

    def generic_visit(self, node: ast.AST) -> None:
        for decorator in getattr(node, "decorator_list", ()):
            self._known.setdefault(decorator, "call")
        for annotation in (getattr(node, "annotation", None), getattr(node, "returns", None)):
            for part in ast.walk(annotation) if annotation else ():
                self._known.setdefault(part, "type")
        value = node.value if isinstance(node, ast.Expr) else None
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            self.docstrings.update(range(value.lineno, (value.end_lineno or 0) + 1))
        self._tell(node)
        super().generic_visit(node)

    def _tell(self, node: ast.AST) -> None:
        match node:
            case ast.Call():
                self._known[node.func] = "call"
            case ast.ClassDef():
                self._known.update((base, "inheritance") for base in node.bases)
                self.told.append((node.lineno, node.name, "definition"))
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                self.told.append((node.lineno, node.name, "definition"))
            case ast.alias():
                names = _WORD.findall(f"{node.name} {node.asname or ''}")
                self.told += [(node.lineno, name, "import") for name in names]
            case ast.Name():
                self.told.append((node.lineno, node.id, self._known.get(node, "mention")))
            case ast.Attribute():
                self.told.append((node.end_lineno or 0, node.attr, self._known.get(node, "mention")))
            case ast.arg() | ast.keyword() if node.arg:
                self.told.append((node.lineno, node.arg, "mention"))


def defined_names(files: Sequence[tuple[str, Path]]) -> frozenset[str]:
    """Return the plain names that some files define."""
    split = (chunker.split(path.read_bytes(), grammar) for grammar, path in files)
    return frozenset(definition.name for file in split for definition in file.definitions)


def compare(
    path: Path, grammar: str, told: Sequence[Told], names: frozenset[str]
) -> Iterator[tuple[str, str, str]]:
    """Yield the true use, ours, and where, of some pairs of a file."""
    true: dict[tuple[int, str], Use] = {}
    for line, name, use in told:
        if name in names:
            true[line, name] = min(true.get((line, name), Use.COMMENT), Use(use), key=_ORDER.index)
    language = "typescript" if grammar == "tsx" else grammar
    chunks = chunker.split(path.read_bytes(), grammar).chunks
    for line, name in random.Random(path.name).sample(sorted(true), min(PAIRS, len(true))):
        chunk = next((c for c in chunks if c.start_line <= line <= c.end_line), None)
        if chunk is not None:
            ours = uses(chunk.text, language, name, [line - chunk.start_line])[line - chunk.start_line]
            yield true[line, name], ours, f"{path}:{line}: {name}"


def report(told: Counter[tuple[str, str]]) -> dict[str, dict[str, float]]:
    """Return pairs, precision and recall in percent for each use, the share that is right of all, and that of code
    which is taken for a comment: such lines are left out of answers.
    """
    pairs: Counter[tuple[str, str]] = Counter()
    for (true_use, our_use), number in told.items():
        pairs[_TEXT.get(true_use, true_use), _TEXT.get(our_use, our_use)] += number
    code = sum(number for (true_use, _), number in told.items() if true_use not in _TEXT)
    hidden = sum(n for (true_use, ours), n in told.items() if true_use not in _TEXT and ours == Use.COMMENT)
    rows: dict[str, dict[str, float]] = {}
    for use in dict.fromkeys(_TEXT.get(use, use) for use in Use):
        right = pairs[use, use]
        true, ours = (sum(n for pair, n in pairs.items() if pair[side] == use) for side in (0, 1))
        if true:
            rows[use] = {
                "pairs": true,
                "precision": round(100 * right / max(ours, 1), 1),
                "recall": round(100 * right / true, 1),
            }
    agreed = sum(n for (true_use, our_use), n in pairs.items() if true_use == our_use)
    total = pairs.total()
    return rows | {
        "all": {
            "pairs": total,
            "right": round(100 * agreed / max(total, 1), 1),
            "code left out": round(100 * hidden / max(code, 1), 1),
        }
    }


def main() -> None:
    """Measure, and print a table."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("folder", type=Path, nargs="+")
    arguments.add_argument("--examples", type=Path, help="write what differs here")
    arguments.add_argument("--json", type=Path)
    given = arguments.parse_args()
    parsers = {"python": of_python, **PROGRAMS}
    results, examples = {}, list[str]()
    for folder in given.folder:
        files = [(grammar, path) for grammar, path in files_of(folder) if grammar in parsers]
        names = defined_names(files)
        for grammar in sorted({grammar for grammar, _ in files}):
            pairs: Counter[tuple[str, str]] = Counter()
            for path, told in parsers[grammar]([path for g, path in files if g == grammar]):
                for true, ours, where in compare(path, grammar, told, names):
                    pairs[true, ours] += 1
                    examples += (
                        []
                        if _TEXT.get(true, true) == _TEXT.get(ours, ours)
                        else [f"{where}: {true} is told as {ours}"]
                    )
            results[f"{folder.name}: {grammar}"] = report(pairs)
            print(folder.name, grammar, json.dumps(report(pairs)), flush=True)
    if given.examples:
        given.examples.write_text("\n".join(examples) + "\n")
    if given.json:
        given.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
