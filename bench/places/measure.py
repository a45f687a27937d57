"""How many lines name the definition that they lie in, and how many definitions end where they end.

`python -m bench.places.measure FOLDER...`: each folder is a repository; ours against the parsers of `truth`.
"""

import argparse
import json
import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.places.truth import PARSERS, Truth
from codebase_index.definitions import Definitions, pack
from codebase_index.languages import detect
from codebase_index.symbols import Kind
from codebase_indexer.chunking import chunker
from codebase_indexer.content.skipping import MAX_FILE_BYTES, by_content, by_name

BATCH = 500
MAX_EXAMPLES = 400

_CONSTANTS = frozenset([Kind.CONSTANT, Kind.PROPERTY])
_Named = tuple[str, int] | None


def files_of(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield the files of a folder that would be indexed, with their grammars."""
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in (".git", "node_modules"))
        for path in sorted(Path(root, name) for name in names):
            if path.is_symlink() or not path.is_file() or by_name(path.name):
                continue
            data = path.read_bytes()
            grammar = detect(path.name, data[:256]).grammar
            if grammar in PARSERS and 0 < len(data) <= MAX_FILE_BYTES and not by_content(data):
                yield grammar, path


def compare(grammar: str, path: Path, truth: Sequence[Truth], examples: list[str]) -> Counter[str]:
    """Count lines and definitions of a file, and those that agree."""
    data = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
    ours = Definitions(pack(chunker.split(data, grammar).definitions))
    lines, counted = data.count(b"\n") + 1, Counter[str]()
    true_names = innermost([(t.first, t.last, t.name) for t in truth if t.kind != "constant"], lines)
    our_names = innermost(
        [(d.first_line, d.last_line, plain(d.name)) for d in ours if d.kind not in _CONSTANTS], lines
    )
    counted["lines"] = lines
    for line in range(1, lines + 1):
        if same(true_names[line], our_names[line]):
            counted["named right"] += 1
        elif len(examples) < MAX_EXAMPLES:
            examples.append(f"{path}:{line}: {true_names[line]} is named {our_names[line]}")
    ends = {(plain(d.name), d.first_line): d.last_line for d in ours}
    for t in truth:
        if t.kind == "constant":
            continue
        counted["definitions"] += 1
        name = next((n for n in ends if n[1] in (t.first, t.line) and same((t.name, 0), (n[0], 0))), None)
        counted["found"] += name is not None
        counted["end right"] += name is not None and ends[name] == t.last
        if name is None and len(examples) < MAX_EXAMPLES:
            examples.append(f"{path}:{t.line}: {t.name} ({t.kind}) is not found")
    return counted


def innermost(spans: Sequence[tuple[int, int, str]], lines: int) -> list[_Named]:
    """Return for each line, from 1, name and end of the innermost definition that it lies in."""
    named: list[_Named] = [None] * (lines + 2)
    for first, last, name in sorted(spans, key=lambda span: (span[0], -span[1])):
        for line in range(first, min(last, lines) + 1):
            named[line] = (name, last)
    return named


def same(true: _Named, ours: _Named) -> bool:
    """Return whether two names are one: an `impl` of Rust has the name of its type, which syn's tree has not."""
    if true is None or ours is None:
        return true is ours
    return true[1] == ours[1] and (true[0] == ours[0] or true[0] == "impl")


def plain(name: str) -> str:
    """Return a name without what qualifies it."""
    if name.endswith("]"):  # TypeScript's [Symbol.iterator]
        return name[name.rindex("[") :]
    if name.rsplit(".", 1)[-1].startswith("operator"):
        return name.rsplit(".", 1)[-1]
    return name.replace("::", ".").rsplit(".", 1)[-1].split("<")[0]


def main() -> None:
    """Measure, and print a table."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("folder", type=Path, nargs="+")
    arguments.add_argument("--grammars", default="", help="only these, with commas")
    arguments.add_argument("--examples", type=Path, help="write what differs here")
    arguments.add_argument("--json", type=Path)
    given = arguments.parse_args()
    wanted = set(given.grammars.split(",")) - {""} or set(PARSERS)
    results, examples = {}, list[str]()
    for folder in given.folder:
        files: dict[str, list[Path]] = defaultdict(list)
        for grammar, path in files_of(folder):
            if grammar in wanted:
                files[grammar].append(path)
        for grammar, paths in sorted(files.items()):
            counted = Counter[str]()
            for begin in range(0, len(paths), BATCH):
                for path, truth in PARSERS[grammar].read(paths[begin : begin + BATCH]):
                    counted += compare(grammar, path, truth, examples)
                    counted["files"] += 1
            counted["files that only we parse"] = len(paths) - counted["files"]
            results[f"{folder.name}: {grammar}"] = dict(counted)
            print(row(folder.name, grammar, counted), flush=True)
    if given.examples:
        given.examples.write_text("\n".join(examples) + "\n")
    if given.json:
        given.json.write_text(json.dumps(results, indent=1) + "\n")


def row(name: str, grammar: str, counted: Counter[str]) -> str:
    """Return a row of the table."""

    def share(part: str, whole: str) -> float:
        return 100 * counted[part] / max(counted[whole], 1)

    return (
        f"{name:24} {grammar:11} {PARSERS[grammar].name:22} {counted['files']:6} files {counted['lines']:8} lines "
        f"{share('named right', 'lines'):6.2f} % right; {counted['definitions']:6} definitions, "
        f"{share('found', 'definitions'):6.2f} % found, {share('end right', 'definitions'):6.2f} % end right"
    )


if __name__ == "__main__":
    main()
