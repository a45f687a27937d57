"""Labelled queries: reading sets of them, and scoring a ranking by nDCG. No database.

A set is a folder with one NAME.json for each corpus. The development set has the corpus beside it as NAME.tar.xz;
our own set (`bench/retrieval`) is about this project's code and packages that it depends on, which are installed
wherever the tests run; that of other scripts (`bench/scripts`) has its files in NAME.json.
"""

import ast
import json
import math
import shutil
import statistics
import tarfile
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

OWN_SET = Path(__file__).parents[1] / "retrieval"
PROJECT = Path(__file__).parents[2]
TOP = 10

_NOT_SOURCE = shutil.ignore_patterns("__pycache__", "*.pyc", "*.so", "*.npy", "tokenizer.json", "node_modules")


@dataclass(frozen=True)
class Target:
    """A relevant place: lines from 1, inclusive; None for the whole file."""

    path: str
    start: int | None
    end: int | None

    def is_hit_by(self, path: str, start: int, end: int) -> bool:
        """Return whether a result overlaps it."""
        inside = self.start is None or self.end is None or (start <= self.end and self.start <= end)
        return path == self.path and inside


@dataclass(frozen=True)
class Question:
    """A query and all its relevant places."""

    text: str
    category: str
    targets: tuple[Target, ...]


@dataclass(frozen=True)
class Corpus:
    """A repository to index, unpacked in a folder, and its questions."""

    name: str
    folder: Path
    questions: tuple[Question, ...]


def corpora(folder: Path, scratch: Path) -> list[Corpus]:
    """Unpack a set into `scratch`. Raises FileNotFoundError when the folder holds none."""
    files = sorted(folder.glob("*.json"))
    if not files:
        raise FileNotFoundError(
            f"no retrieval set at {folder}: it needs NAME.json, and NAME.tar.xz or the name of a package; "
            "give the folder of one: make bench-search SET=path"
        )
    return [_corpus(file, scratch / file.stem) for file in files]


def _corpus(file: Path, target: Path) -> Corpus:
    description = json.loads(file.read_text())
    if "package" in description:
        spec = find_spec(description["package"])
        assert spec is not None and spec.origin is not None, (
            f"{description['package']} is not installed: make venv"
        )
        shutil.copytree(Path(spec.origin).parent, target, ignore=_NOT_SOURCE)
    elif "folders" in description:
        for name in description["folders"]:
            shutil.copytree(PROJECT / name, target / name, ignore=_NOT_SOURCE)
    elif "files" in description:
        for path, text in description["files"].items():
            (target / path).parent.mkdir(parents=True, exist_ok=True)
            (target / path).write_text(text)
    else:
        with tarfile.open(file.with_suffix(".tar.xz")) as tar:
            tar.extractall(target, filter="data")
    questions = [
        Question(q["query"], q["category"], tuple(_target(target, t) for t in [*q["relevant"], *q["secondary"]]))
        for q in description["queries"]
    ]
    return Corpus(file.stem, target, tuple(questions))


def _target(folder: Path, label: Mapping[str, Any]) -> Target:
    """Resolve a label. Ours name a symbol, since lines move with every edit."""
    if "symbol" not in label:
        return Target(label["path"], label["start"], label["end"])
    file = folder / label["path"]
    if not file.is_file():
        raise FileNotFoundError(f"a query's answer is gone: {label['path']}; change its label in {OWN_SET}")
    if label["symbol"] is None:
        return Target(label["path"], None, None)
    for node in ast.walk(ast.parse(file.read_text())):
        if (
            isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
            and node.name == label["symbol"]
        ):
            return Target(label["path"], node.lineno, node.end_lineno)
    raise LookupError(f"{label['path']} defines no {label['symbol']} any more; change the label in {OWN_SET}")


def ndcg(results: Sequence[tuple[str, int, int]], targets: Sequence[Target]) -> float:
    """Return nDCG@10 with gain 1 for each target, at the rank of the first result that hits it.

    `results` are (path, first line, last line), best first. Several targets hit first by one result count once;
    the ideal has a target at each rank.
    """
    ranks = set()
    for target in targets:
        hits = (rank for rank, result in enumerate(results[:TOP], 1) if target.is_hit_by(*result))
        ranks.add(next(hits, None))
    ideal = sum(1 / math.log2(rank + 1) for rank in range(1, min(TOP, len(targets)) + 1))
    return sum(1 / math.log2(rank + 1) for rank in ranks - {None} if rank) / ideal


@dataclass(frozen=True)
class Figures:
    """Means of nDCG@10: over a repository's queries, and over the repositories for the total."""

    by_repository: Mapping[str, float]
    by_category: Mapping[str, float]

    @property
    def total(self) -> float:
        """The mean of the repositories."""
        return statistics.mean(self.by_repository.values())

    @classmethod
    def of(cls, scores: Iterable[tuple[str, str, float]]) -> "Figures":
        """Sum up (repository, category, nDCG) of each query."""
        repositories: dict[str, list[float]] = defaultdict(list)
        categories: dict[str, list[float]] = defaultdict(list)
        for repository, category, score in scores:
            repositories[repository].append(score)
            categories[category].append(score)
        return cls(
            {name: statistics.mean(values) for name, values in repositories.items()},
            {name: statistics.mean(values) for name, values in sorted(categories.items())},
        )
