"""The kind of a file by its path. Pure."""

import re
from enum import StrEnum
from functools import lru_cache
from typing import Final


class FileKind(StrEnum):
    """Kinds of files that seldom answer a query, though they hold its words."""

    AUXILIARY = "auxiliary"  # tests, examples, benchmarks, vendored code
    PROSE = "prose"  # documents and data
    PLATFORM = "platform"  # for Windows or a rare system alone
    DECLARATIONS = "declarations"  # names and types without their code


ENTRY_FILES: Final = frozenset(["__init__", "index", "lib", "main", "mod"])
"""Files that stand for their folder, which then is their name."""

_AUXILIARY_FOLDERS: Final = frozenset(
    ["test", "tests", "testing", "testdata", "spec", "specs", "fixture", "fixtures", "mock", "mocks",
     "example", "examples", "sample", "samples", "demo", "demos", "bench", "benchmark", "benchmarks",
     "vendor", "vendored", "third_party", "third-party", "3rdparty", "node_modules"]
)  # fmt: skip
_AUXILIARY_FILE = re.compile(r"^test_|^conftest\.py$|(?:[._-](?:test|tests|spec|bench)|Tests?|Spec)\.\w+$")

_PROSE: Final = frozenset(["md", "markdown", "rst", "adoc", "txt", "html", "json", "csv", "svg", "lock"])
_PROSE_FILES: Final = frozenset(["doc.go"])  # where Go keeps a package's documentation

_WINDOWS: Final = frozenset(["win", "win32", "win64", "windows", "winnt", "msvc", "mingw", "cygwin"])
_RARE_SYSTEMS: Final = frozenset(
    ["plan9", "aix", "os390", "zos", "sunos", "solaris", "illumos", "ibmi", "haiku", "hurd", "qnx",
     "freebsd", "netbsd", "openbsd", "dragonfly"]
)  # fmt: skip
_SYSTEMS = re.compile(rf"(?:^|[/_.-])(?:{'|'.join(sorted(_WINDOWS | _RARE_SYSTEMS))})(?=[/_.-]|$)", re.IGNORECASE)

_DECLARATIONS = re.compile(r"\.(?:pyi|pxd|d\.[cm]?ts)$|[_.-]stubs?\.\w+$")

KIND_KEYWORDS: Final = {
    FileKind.AUXILIARY: frozenset(name for name in _AUXILIARY_FOLDERS if name.isalpha()),
    FileKind.PROSE: frozenset(["doc", "docs", "documentation", "readme", "changelog", "guide", "tutorial"]),
    FileKind.PLATFORM: _WINDOWS | _RARE_SYSTEMS | {"bsd", "iocp"},
    FileKind.DECLARATIONS: frozenset(["stub", "stubs", "declaration", "declarations", "pyi", "pxd"]),
}
"""Words in a query that ask for files of a kind."""


@lru_cache(maxsize=10_000)
def file_kinds(path: str) -> frozenset[FileKind]:
    """Return the kinds of a file; ordinary code has none."""
    *folders, name = path.split("/")
    found = set()
    if _AUXILIARY_FILE.search(name) or any(folder.strip("_.").lower() in _AUXILIARY_FOLDERS for folder in folders):
        found.add(FileKind.AUXILIARY)
    if name.rpartition(".")[2].lower() in _PROSE or name in _PROSE_FILES:
        found.add(FileKind.PROSE)
    if _SYSTEMS.search(path):
        found.add(FileKind.PLATFORM)
    if _DECLARATIONS.search(name):
        found.add(FileKind.DECLARATIONS)
    return frozenset(found)


@lru_cache(maxsize=10_000)
def possible_heads(path: str) -> tuple[str, ...]:
    """Return the files that a file may be a part of: `a/b.c` of `a/b.x.c`, and `a.c` of `a/b.c`.

    Many languages divide what one name stands for in one of these ways: partial classes in C#, modules in Ruby and
    Rust, a file and its folder in TypeScript.
    """
    folder, _, name = path.rpartition("/")
    first, *rest = name.split(".")
    if not rest:
        return ()
    whole = [f"{path[: -len(name)]}{first}.{rest[-1]}"] if first and len(rest) > 1 else []
    return (*whole, *([f"{folder}.{rest[-1]}"] if folder else []))
