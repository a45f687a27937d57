"""The parsers of Go and TypeScript, each a program: paths on standard input, a line of JSON each on its output."""

import json
import os
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

from bench.compilers import build_go, install_typescript

HERE = Path(__file__).parent
BUILT = Path(os.environ.get("REFERENCES_BUILD", "/tmp/codebase-references"))

_Read = Callable[[Sequence[Path]], Iterator[tuple[Path, list[tuple[int, str, str]]]]]


@cache
def _go() -> list[str]:
    return build_go(HERE / "go", BUILT / "go-references")


@cache
def _typescript() -> list[str]:
    return install_typescript(HERE / "typescript.cjs", BUILT / "typescript")


def _program(command: Callable[[], Sequence[str]]) -> _Read:
    def read(paths: Sequence[Path]) -> Iterator[tuple[Path, list[tuple[int, str, str]]]]:
        listed = "".join(f"{path}\n" for path in paths)
        done = subprocess.run(command(), input=listed, text=True, stdout=subprocess.PIPE, check=True)
        for line in done.stdout.splitlines():
            found = json.loads(line)
            yield Path(found["path"]), [(number, name, use) for number, name, use in found["uses"]]

    return read


PROGRAMS: Mapping[str, _Read] = {
    "go": _program(_go),
    "typescript": _program(_typescript),
    "tsx": _program(_typescript),
}
