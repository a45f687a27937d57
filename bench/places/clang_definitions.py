"""Definitions of C and C++ files by clang: paths on standard input, a line of JSON each on standard output.

Runs in an environment of its own that has the package `libclang`. What is included and not there is left out; a
file in which clang then finds something else that it cannot parse is left out whole.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

from clang.cindex import Cursor, CursorKind, Diagnostic, Index, TranslationUnit, TranslationUnitLoadError

KEEP_GOING = 0x200
FUNCTIONS = {
    CursorKind.FUNCTION_DECL, CursorKind.CXX_METHOD, CursorKind.CONSTRUCTOR, CursorKind.DESTRUCTOR,
    CursorKind.CONVERSION_FUNCTION, CursorKind.FUNCTION_TEMPLATE,
}  # fmt: skip
TYPES = {
    CursorKind.STRUCT_DECL, CursorKind.UNION_DECL, CursorKind.ENUM_DECL, CursorKind.CLASS_DECL,
    CursorKind.CLASS_TEMPLATE, CursorKind.CLASS_TEMPLATE_PARTIAL_SPECIALIZATION, CursorKind.NAMESPACE,
}  # fmt: skip
NOT_THERE = ("file not found", "unknown type name", "use of undeclared", "no member named", "incomplete type")


def definitions(index: Index, path: str, language: list[str]) -> list[tuple[object, ...]] | None:
    folders = [f"-I{folder / sub}" for folder in list(Path(path).parents)[:6] for sub in (".", "include")]
    try:
        unit = index.parse(
            path, [*language, "-w", *folders], options=KEEP_GOING | TranslationUnit.PARSE_INCOMPLETE
        )
    except TranslationUnitLoadError:
        return None
    for found in unit.diagnostics:
        here = found.location.file and found.location.file.name == path
        if here and found.severity >= Diagnostic.Error and not any(text in found.spelling for text in NOT_THERE):
            return None
    return list(named(unit.cursor, path))


def named(root: Cursor, path: str) -> Iterator[tuple[object, ...]]:
    for cursor in root.walk_preorder():
        place, name, is_function = cursor.extent, cursor.spelling, cursor.kind in FUNCTIONS
        if not place.start.file or place.start.file.name != path or not name:
            continue
        if not is_function and (cursor.kind not in TYPES or "(" in name):  # the latter have no name
            continue
        if cursor.is_definition() or cursor.kind is CursorKind.NAMESPACE:
            name = name if name.startswith("operator") else name.split("<")[0]
            yield name, "function" if is_function else "type", place.start.line, place.start.line, place.end.line


def main() -> None:
    """Read paths, write definitions."""
    index = Index.create()
    language = ["-x", sys.argv[1], *(["-std=c++20"] if sys.argv[1] == "c++" else [])]
    for path in map(str.strip, sys.stdin):
        if (found := definitions(index, path, language)) is not None:
            print(json.dumps({"path": path, "definitions": found}), flush=True)


if __name__ == "__main__":
    main()
