"""Parser processes, real ones: what they return, and what becomes of a batch whose process dies."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from codebase_index.store.ingest.batch import IndexedFile, PackedBatch, PackedFile, SkippedFile, WorkItem
from codebase_indexer.content.skipping import Skip
from codebase_indexer.pipeline import pool as pool_module
from codebase_indexer.pipeline.parser_protocol import ParseRequest, ParserSettings
from codebase_indexer.pipeline.pool import ParserDied, ParserPool, ParserStalled, PoolBroken, receive
from codebase_indexer.source import git


@pytest.fixture
async def pool(tmp_path: Path) -> AsyncIterator[ParserPool]:
    pool = ParserPool(1, ParserSettings(tmp_path, tmp_path, "1:test", ("static", None)))
    yield pool
    pool.close()


def batch(folder: Path, count: int) -> ParseRequest:
    for number in range(count):
        (folder / f"f{number}.py").write_text(f"value_{number} = {number}\n" * 50)
    return ParseRequest([WorkItem(number, f"f{number}.py", 10) for number in range(count)], {})


def children(pid: int | None = None) -> list[psutil.Process]:
    """The parser processes of a process, by default this one's."""
    name = "codebase_indexer.pipeline.parser_process"
    return [child for child in psutil.Process(pid).children() if name in " ".join(child.cmdline())]


async def test_a_batch_comes_back_whole_and_in_order(pool: ParserPool, tmp_path: Path) -> None:
    results = (await pool.process(batch(tmp_path, 5))).results
    assert [r.seq for r in results] == [0, 1, 2, 3, 4]
    assert all(isinstance(r, PackedFile) and len(r.rows.vectors) == r.count * 2 * 256 for r in results)


async def test_a_process_that_dies_between_batches_is_replaced(pool: ParserPool, tmp_path: Path) -> None:
    await pool.process(batch(tmp_path, 1))
    (child,) = children()
    child.kill()
    child.wait(30)
    assert all(isinstance(r, PackedFile) for r in (await pool.process(batch(tmp_path, 3))).results)


async def test_a_file_whose_disk_does_not_answer_is_not_called_a_crash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "fault").mkdir()
    (tmp_path / "fault" / "sitecustomize.py").write_text(
        "import time\nfrom codebase_index.beneath import Tree\nTree.read = lambda *arguments: time.sleep(600)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "fault"), prepend=os.pathsep)
    monkeypatch.setattr(pool_module, "FILE_SECONDS", 5.0)
    pool = ParserPool(1, ParserSettings(tmp_path, tmp_path, "1:test", None))
    try:
        found = await pool.process(batch(tmp_path, 1))
    finally:
        pool.close()
    assert found.results == [SkippedFile(0, Skip.STALLED)]


async def test_a_process_killed_while_it_works_costs_no_file(pool: ParserPool, tmp_path: Path) -> None:
    await pool.process(batch(tmp_path, 1))
    (child,) = children()
    child.suspend()  # so that it surely holds the batch when it dies
    running = asyncio.create_task(pool.process(batch(tmp_path, 3)))
    await asyncio.sleep(0.2)
    os.kill(child.pid, signal.SIGKILL)
    assert all(isinstance(r, PackedFile) for r in (await running).results)


async def test_a_process_that_hangs_is_ended(
    pool: ParserPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await pool.process(batch(tmp_path, 1))
    (child,) = children()
    child.suspend()
    monkeypatch.setattr(pool_module, "FILE_SECONDS", 0.2)
    running = asyncio.create_task(pool.process(batch(tmp_path, 1)))
    async with asyncio.timeout(60):
        await asyncio.to_thread(child.wait)
    monkeypatch.undo()
    assert all(isinstance(r, PackedFile) for r in (await running).results)


@pytest.mark.parametrize(
    ("cpu", "computes", "outcome"),
    [
        pytest.param([0, 3, 6], True, "answer", id="it waits for a processor"),
        pytest.param([0, 14], True, "died", id="it computes"),
        pytest.param([0, 1, 2, 3, 4], True, "died", id="it waits too long for a processor"),
        pytest.param([0, 0], False, "stalled", id="it sleeps"),
    ],
)
def test_a_busy_node_makes_no_crash(cpu: list[float], computes: bool, outcome: str) -> None:
    """The answer comes after 30 to 45 s by the clock, in which the process had a processor for a few."""
    answers = [False, False, outcome == "answer", False]
    channel: Any = SimpleNamespace(receive=lambda seconds: b"answer" if answers.pop(0) else None)
    process: Any = SimpleNamespace(cpu_seconds=lambda: cpu.pop(0), is_computing=lambda: computes)
    try:
        found = receive(channel, process, 15.0, pool_module.BUSY_FACTOR)
    except ParserStalled:
        found = b"stalled"
    except ParserDied:
        found = b"died"
    assert found.decode() == outcome


@pytest.mark.parametrize("model", [None, ("static", None)], ids=["no model here", "a model"])
@pytest.mark.parametrize(
    ("fault", "seconds"),
    [
        pytest.param("os.kill(os.getpid(), signal.SIGKILL)", 15.0, id="killed"),
        pytest.param("os.abort()", 15.0, id="aborted"),
        pytest.param("max(iter(int, 1))", 0.7, id="computes without end"),
    ],
)
async def test_a_file_that_ends_every_process_costs_its_batch_nothing_else(
    fault: str, seconds: float, model: tuple[str, None] | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Python runs this at the start of every process: a parser with a fault.
    (tmp_path / "fault").mkdir()
    (tmp_path / "fault" / "sitecustomize.py").write_text(
        "import os, signal, time\nimport codebase_indexer.pipeline.files as files\nreal = files.split\n"
        f"files.split = lambda data, grammar: {fault} if b'value_1 ' in data else real(data, grammar)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "fault"), prepend=os.pathsep)
    pool = ParserPool(1, ParserSettings(tmp_path, tmp_path, "1:test", model))
    try:
        await pool.process(batch(tmp_path, 1))
        monkeypatch.setattr(pool_module, "FILE_SECONDS", seconds)
        found = await pool.process(batch(tmp_path, 8))
    finally:
        pool.close()
    skipped = [r.seq for r in found.results if r == SkippedFile(r.seq, Skip.CRASHED)]
    indexed = [r for r in found.results if isinstance(r, PackedFile if model else IndexedFile)]
    assert ([r.seq for r in found.results], skipped, len(indexed)) == (list(range(8)), [1], 7)
    # All that is indexed can be searched, by words and, where vectors are made here, by these.
    assert sum(part.chunks for part in found.parts) == sum(file.count for file in indexed) == 7
    assert all(part.quantized for part in found.parts) if isinstance(found, PackedBatch) else model is None


async def test_a_pool_that_can_not_start_blames_no_file(tmp_path: Path) -> None:
    pool = ParserPool(1, ParserSettings(tmp_path, tmp_path, "1:test", ("static", "no-such-model")))
    try:
        with pytest.raises(PoolBroken, match="does not start"):
            await pool.process(batch(tmp_path, 1))
    finally:
        pool.close()


async def test_a_cancelled_batch_leaves_no_answer_behind(pool: ParserPool, tmp_path: Path) -> None:
    await pool.process(batch(tmp_path, 1))
    (child,) = children()
    child.suspend()
    running = asyncio.create_task(pool.process(batch(tmp_path, 2)))
    await asyncio.sleep(0.2)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert [r.seq for r in (await pool.process(batch(tmp_path, 3))).results] == [0, 1, 2]


def test_processes_end_with_the_main_process_however_it_ends(tmp_path: Path) -> None:
    code = (
        "import asyncio, sys\n"
        "from pathlib import Path\n"
        "from codebase_indexer.pipeline.parser_protocol import ParserSettings\n"
        "from codebase_indexer.pipeline.pool import ParserPool\n"
        "async def main():\n"
        "    pool = ParserPool(2, ParserSettings(Path('/usr'), Path('/usr'), 'x', None))\n"
        "    print('started', flush=True)\n"
        "    sys.stdin.read()\n"
        "if __name__ == '__main__':\n"
        "    asyncio.run(main())\n"
    )
    script = tmp_path / "script.py"
    script.write_text(code)
    with subprocess.Popen([sys.executable, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as main:
        assert main.stdout and main.stdout.readline()
        parsers = children(main.pid)
        main.kill()
    assert len(parsers) == 2
    _, alive = psutil.wait_procs(parsers, timeout=60)
    assert not alive


SECRETS = {
    "CODEBASE_DATABASE_URL": "postgresql://user:hunter2@host/db", "CODEBASE_DATABASE_URL_FILE": "/hunter2",
    "PGPASSWORD": "hunter2", "OPENAI_API_KEY": "hunter2", "GIT_ASKPASS": "hunter2", "CODEBASE_JOB_SPEC": "hunter2",
    "AWS_SECRET_ACCESS_KEY": "hunter2", "HTTPS_PROXY": "http://user:hunter2@proxy",
}  # fmt: skip


async def test_processes_on_untrusted_files_are_given_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By what the kernel keeps of them from their start, neither those that parse nor git."""
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    pool = ParserPool(2, ParserSettings(tmp_path, tmp_path, "1:test", None))
    try:
        await pool.process(batch(tmp_path, 3))
        seen = [(Path("/proc") / str(child.pid) / "environ").read_bytes() for child in psutil.Process().children()]
    finally:
        pool.close()
    assert len(seen) >= 2
    assert not [one for one in seen if b"hunter2" in one]
    for protocols in ("none", "file"):
        assert "hunter2" not in str(git.environment(protocols))
    assert set(SECRETS) & git.environment("https:ssh").keys() == {"HTTPS_PROXY"}
