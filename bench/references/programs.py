"""The parsers of Go and TypeScript, each a program: paths on standard input, a line of JSON each on its output."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

HERE = Path(__file__).parent
BUILT = Path(os.environ.get("REFERENCES_BUILD", "/tmp/codebase-references"))

_Read = Callable[[Sequence[Path]], Iterator[tuple[Path, list[tuple[int, str, str]]]]]


@cache
def _go() -> list[str]:
    target = BUILT / "go-references"
    go = shutil.which("go") or "/usr/local/go/bin/go"
    subprocess.run([go, "build", "-o", target, "main.go"], cwd=HERE / "go", check=True)
    return [str(target)]


@cache
def _typescript() -> list[str]:
    """Install the compiler beside a copy of the program, where node looks for it."""
    folder = BUILT / "typescript"
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(HERE / "typescript.cjs", folder)
    if not (folder / "node_modules" / "typescript").is_dir():
        subprocess.run(["npm", "install", "--silent", "--prefix", folder, "typescript@5"], check=True)
    return ["node", str(folder / "typescript.cjs")]


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
