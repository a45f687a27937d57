"""First contact, as a person has it: install, first indexes, ten searches, a change, a restart; beside semble.

    python -m bench.first_contact [--sizes 50,500,3000] [--install] [--json FILE]

Both are used as an agent's host uses them: a program that runs beside the editor and is asked over a pipe. Ours is
the embedded runtime behind `codebase-mcp serve`, semble a process that keeps its index in memory and makes it anew
after a change, with our model (bench/indexing/semble.py says why). The repositories are generated, each with ten
planted functions; each search describes one in words, and finds it if its file is among the first ten results.
"""

import argparse
import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any, Final, Protocol

import psutil
from mcp import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from bench import figures
from bench.indexing import semble
from codebase_embedded import instance
from codebase_embedded.settings import Settings
from hack.deployment.mcp_client import Tools, finished
from tests.fixtures.generate_test_repo import generate

PLANTED: Final = {
    "parse_leap_seconds": "read the table of leap seconds from text",
    "retry_with_jitter": "retry a failing call after a random delay",
    "merge_overlapping_intervals": "join intervals that overlap",
    "mask_credit_card": "hide the digits of a credit card number",
    "convert_celsius": "convert a temperature from celsius to fahrenheit",
    "topological_order": "order the tasks so that dependencies come first",
    "rotate_log_files": "rotate the log files when they become large",
    "detect_byte_order_mark": "detect the byte order mark at the beginning of a file",
    "levenshtein_distance": "edit distance between two words",
    "throttle_requests": "limit how many requests a client sends in a minute",
}
"""Names of functions, each with the question that it answers."""

CHANGED: Final = ("spell_number_in_words", "write a number out in words")

_SEMBLE: Final = """
import json, sys
from pathlib import Path
from semble.index import SembleIndex
index = None
for line in sys.stdin:
    asked = json.loads(line)
    if asked["do"] == "index":
        index = SembleIndex.from_path(Path(asked["folder"]))
        answer = {}
    else:
        found = index.search(asked["query"], top_k=10)
        answer = {"paths": [str(one.chunk.file_path) for one in found]}
    print(json.dumps(answer), flush=True)
"""


class Searcher(Protocol):
    """A program that was started for an editor."""

    async def index(self, folder: Path) -> None:
        """Index a repository, or bring its index up to date."""

    async def search(self, folder: Path, query: str) -> list[str]:
        """Return the paths of the first ten results."""

    def megabytes(self) -> float:
        """The proportional set size of all its processes."""


class Ours:
    """The embedded runtime, asked over standard input and output."""

    def __init__(self, tools: Tools, data: Path) -> None:
        self._tools = tools
        self._data = data

    async def index(self, folder: Path) -> None:
        """Index a repository, and wait for the job's end."""
        job = await self._tools.call("start_indexing_background", repo_path=str(folder))
        status = await finished(self._tools, job["job_id"], timeout=1800)
        assert status["status"] == "completed", status["error_message"]

    async def search(self, folder: Path, query: str) -> list[str]:
        """Return the paths of the first ten results."""
        answer = await self._tools.call("search_code", query=query, repo=str(folder))
        return [hit["path"] for hit in answer["results"]]

    def megabytes(self) -> float:
        """The proportional set size of all processes of the instance."""
        found = instance.find(self._data)
        assert found is not None
        return _megabytes(found.pid)


class Semble:
    """A process that keeps its index in memory."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    async def index(self, folder: Path) -> None:
        """Make the index of a repository anew."""
        await asyncio.to_thread(self._ask, {"do": "index", "folder": str(folder)})

    async def search(self, folder: Path, query: str) -> list[str]:
        """Return the paths of the first ten results."""
        answer = await asyncio.to_thread(self._ask, {"do": "search", "query": query})
        return [str(path) for path in answer["paths"]]

    def megabytes(self) -> float:
        """The proportional set size of the process."""
        return _megabytes(self._process.pid)

    def _ask(self, asked: dict[str, str]) -> dict[str, Any]:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer


@asynccontextmanager
async def ours(data: Path, root: Path) -> AsyncIterator[Searcher]:
    """Start it as an editor does, and end it with the instance."""
    environment = {**os.environ, "CODEBASE_DATA": str(data), "CODEBASE_EMBEDDED_ROOTS": str(root)}
    settings = Settings.from_env(environment)
    parameters = StdioServerParameters(
        command=sys.executable, args=["-m", "codebase_embedded", "--stdio", settings.to_json()], env=environment
    )
    try:
        async with Client(stdio_client(parameters)) as client:
            yield Ours(Tools(client), data)
    finally:
        await asyncio.to_thread(instance.stop, data)


@asynccontextmanager
async def theirs() -> AsyncIterator[Searcher]:
    """The same for semble."""
    environment = {
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "SEMBLE_MODEL_NAME": str(semble.model()),
        "SEMBLE_INDEX_WORKERS": "4",
    }
    with subprocess.Popen(  # noqa: ASYNC220 - nothing else runs
        [str(semble.install()), "-c", _SEMBLE], env=environment, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as process:  # fmt: skip
        yield Semble(process)
        assert process.stdin
        process.stdin.close()


async def measure(open_: Callable[[], Any], folders: dict[int, Path]) -> dict[str, Any]:
    """Use a program as a person does; return seconds, megabytes and what was found."""
    found: dict[str, Any] = {}
    began = time.perf_counter()
    async with open_() as searcher:
        for size, folder in folders.items():
            of_size: dict[str, Any] = {}
            with _timed(of_size, "index_seconds"):
                await searcher.index(folder)
            if "start_to_first_answer_seconds" not in found:
                await searcher.search(folder, CHANGED[1])
                found["start_to_first_answer_seconds"] = round(time.perf_counter() - began, 2)
            with _timed(of_size, "ten_searches_seconds"):
                hits = [
                    f"{name}.py" in " ".join(await searcher.search(folder, question))
                    for name, question in PLANTED.items()
                ]
            of_size["found_of_ten"] = sum(hits)
            name, question = CHANGED
            with _timed(of_size, "change_and_search_seconds"):
                _plant(folder, name, question)
                await searcher.index(folder)
                of_size["change_found"] = f"{name}.py" in " ".join(await searcher.search(folder, question))
            of_size["megabytes"] = round(searcher.megabytes(), 1)
            found[f"{size} files"] = of_size
        largest = list(folders.values())[-1]
    again: dict[str, Any] = {}
    with _timed(again, "restart_and_search_seconds"):
        async with open_() as searcher:
            if isinstance(searcher, Semble):
                await searcher.index(largest)
            again["found"] = f"{CHANGED[0]}.py" in " ".join(await searcher.search(largest, CHANGED[1]))
    return {**found, **again}


async def at_rest(data: Path, root: Path) -> dict[str, float]:
    """Return how long a new instance takes to its first answer, and what it holds then, in MB."""
    began = time.perf_counter()
    async with ours(data, root) as searcher:
        assert isinstance(searcher, Ours)
        await searcher._tools.call("list_repositories")
        seconds = time.perf_counter() - began
        return {"first_start_seconds": round(seconds, 2), "at_rest_megabytes": round(searcher.megabytes(), 1)}


def _megabytes(pid: int) -> float:
    process = psutil.Process(pid)
    total = 0.0
    for part in (process, *process.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):  # an indexer that has just ended
            total += part.memory_full_info().pss
    return total / 1e6


@contextmanager
def _timed(into: dict[str, Any], name: str) -> Iterator[None]:
    began = time.perf_counter()
    yield
    into[name] = round(time.perf_counter() - began, 2)


def _plant(folder: Path, name: str, question: str) -> None:
    (folder / f"{name}.py").write_text(
        f'def {name}(value):\n    """{question.capitalize()}."""\n    return value\n'
    )


def _repositories(root: Path, sizes: list[int]) -> dict[int, Path]:
    folders = {}
    for size in sizes:
        folder = root / f"of-{size}"
        generate(folder, size)
        for name, question in PLANTED.items():
            _plant(folder, name, question)
        git = ("git", "-C", str(folder), "-c", "user.name=bench", "-c", "user.email=bench@example.org")
        for command in (("init", "-q"), ("add", "."), ("commit", "-qm", "generated")):
            subprocess.run([*git, *command], check=True)
        folders[size] = folder
    return folders


def _install(root: Path) -> dict[str, float]:
    """Return how long it takes to install each into an empty environment, in seconds."""
    seconds: dict[str, float] = {}
    for name, what in (("codebase-mcp", str(Path.cwd())), ("semble", f"semble=={semble.VERSION}")):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-m", "venv", str(root / name)], check=True)
        pip = (str(root / name / "bin" / "python"), "-m", "pip", "install", "--quiet", what)
        subprocess.run(pip, check=True)
        seconds[name] = round(time.perf_counter() - began, 1)
    return seconds


async def _run(sizes: list[int], root: Path) -> dict[str, Any]:
    """Measure both, each on repositories of its own; an end that is asked for leaves nothing behind."""
    result: dict[str, Any] = {"codebase-mcp": await at_rest(root / "rest", root)}
    print(json.dumps(result), flush=True)
    mine = _repositories(root / "a", sizes)
    result["codebase-mcp"] |= await measure(lambda: ours(root / "data", root), mine)
    result["semble"] = await measure(theirs, _repositories(root / "b", sizes))
    return result


def main() -> int:
    """Measure, print, and write down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="50,500,3000", help="files of each repository")
    parser.add_argument("--install", action="store_true", help="install both into empty environments, too")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="codebase-first-contact-"))
    root.chmod(0o711)  # of root's instance, Postgres runs as another user
    try:
        result = asyncio.run(_run([int(size) for size in asked.sizes.split(",")], root))
        result["load"] = {"processors": os.cpu_count(), "load_average": os.getloadavg()[0]}
        _tell(result, asked.json)
        if asked.install:
            _tell({"install_seconds": _install(root)}, asked.json)
    finally:
        shutil.rmtree(root, ignore_errors=True)
    return 0


def _tell(result: dict[str, Any], file: Path | None) -> None:
    print(json.dumps(result, indent=2), flush=True)
    if file:
        figures.merge(file, result)


if __name__ == "__main__":
    sys.exit(main())
