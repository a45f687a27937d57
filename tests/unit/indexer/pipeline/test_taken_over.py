"""A parser process that a file has taken over: what it tries is refused, and costs that file alone.

Each attack runs in a real parser process, in place of the function that cuts a file into chunks. What it says
comes back as the text of a chunk, so that an attack that succeeds is seen.
"""

import asyncio
import logging
import os
import textwrap
from collections.abc import Mapping
from pathlib import Path

import pytest

from codebase_index.store.ingest.batch import IndexedFile, SkippedFile, WorkItem
from codebase_indexer.content.encodings import decode
from codebase_indexer.content.skipping import Skip
from codebase_indexer.pipeline.parser_protocol import ParseRequest, ParserSettings
from codebase_indexer.pipeline.pool import ParserPool, Unconfined

REFUSED = {
    "the file with the database's address": "open(SECRET).read()",
    "the same by a link in the source": "open(SOURCE + '/link').read()",
    "the same by a way up": "open(SOURCE + '/../secret').read()",
    "the main process' environment": "open(f'/proc/{MAIN}/environ', 'rb').read()",
    "the environment of the first process": "open('/proc/1/environ', 'rb').read()",
    "its own environment": "open('/proc/self/environ', 'rb').read()",
    "the main process' memory": "open(f'/proc/{MAIN}/mem', 'rb').read(1)",
    "the main process' descriptors": "os.listdir(f'/proc/{MAIN}/fd')",
    "the user database": "open('/etc/passwd').read()",
    "the names in the source": "os.listdir(SOURCE)",
    "writing outside": "open(OUTSIDE, 'w')",
    "writing in the source": "open(SOURCE + '/new.py', 'w')",
    "changing a file of the source": "open(SOURCE + '/plain.py', 'a')",
    "a folder": "os.mkdir(OUTSIDE)",
    "removing a file": "os.unlink(SOURCE + '/plain.py')",
    "renaming a file": "os.rename(SOURCE + '/plain.py', SOURCE + '/other.py')",
    "emptying a file": "os.truncate(SOURCE + '/plain.py', 0)",
    "the rights of a file": "os.chmod(SOURCE + '/plain.py', 0o777)",
    "a link": "os.link(SECRET, SOURCE + '/hard.py')",
    "a process": "os.fork() or os._exit(0)",
    "a program by posix_spawn": "os.posix_spawn('/bin/true', ['true'], {})",
    "a thread": "threading.Thread(target=print).start()",
    "a signal to the main process": "os.kill(MAIN, 0)",
    "signals to it by way of a descriptor": "fcntl.fcntl(CHANNEL, fcntl.F_SETOWN, MAIN)",
    "its niceness": "os.nice(-1)",
    "higher limits": "resource.setrlimit(resource.RLIMIT_NOFILE, (9999, 9999))",
    "memory without end": "bytearray(2**32)",
    "descriptors without end": "many_descriptors()",
}
"""What fails, so that the process goes on."""

FATAL = {
    "TCP": "socket.socket().connect(('127.0.0.1', 5432))",
    "UDP": "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', 53))",
    "a Unix socket": "socket.socket(socket.AF_UNIX).connect('/var/run/postgresql/.s.PGSQL.5432')",
    "a program": "os.execv('/bin/true', ['true'])",
    "a program in memory": "os.memfd_create('program')",
    "a debugger": "libc.ptrace(16, MAIN, 0, 0)",
    "the main process' memory by a call": "libc.process_vm_readv(MAIN, 0, 0, 0, 0, 0)",
    "io_uring": "libc.syscall(425, 1, ctypes.create_string_buffer(120))",
    "a file by its handle": "libc.syscall(304, -100, ctypes.create_string_buffer(16), 0)",
    "its end": "os.abort()",
}
"""What ends the process."""

UNTRUE = {
    "an endless frame": "os.write(CHANNEL, b'\\xff' * 100)",
    "a frame of noise": "os.write(CHANNEL, (100).to_bytes(4) + os.urandom(100))",
    "an empty frame": "os.write(CHANNEL, bytes(4))",
    "a pickle": "os.write(CHANNEL, framed(pickle.dumps(Command())))",
    "two answers": "os.write(CHANNEL, 2 * framed(b'{}'))",
    "nothing that is a batch": "os.write(CHANNEL, framed((1).to_bytes(4) + (2).to_bytes(4) + b'{}'))",
}
"""What the main process refuses to read."""

ATTACKS = {**REFUSED, **FATAL, **UNTRUE}

PROGRAM = """
import ctypes, fcntl, os, pickle, resource, signal, socket, sys, threading
import codebase_indexer.pipeline.files as files

SECRET, SOURCE, OUTSIDE = {secret!r}, {source!r}, {outside!r}
ATTACKS = {attacks!r}
MAIN = os.getppid()
CHANNEL = int(sys.orig_argv[-1].rpartition("(")[2].rstrip(")"))
libc = ctypes.CDLL(None)
real = files.split

class Command:
    def __reduce__(self):
        return os.mkdir, (OUTSIDE,)

def many_descriptors():
    made = []
    try:
        while len(made) < 100:
            made.append(os.dup(0))
    finally:
        for descriptor in made:
            os.close(descriptor)

def framed(data):
    return len(data).to_bytes(4) + data

def split(data, grammar):
    attack = ATTACKS.get(data.decode().strip().removeprefix("# attack "))
    if attack is None:
        return real(data, grammar)
    try:
        said = f"done: {{eval(attack)!r}}"
    except BaseException as error:
        said = f"refused: {{error!r}}"
    return real(said.encode(), None)

files.split = split
"""


def install(folder: Path, monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    """Have every parser process run this at its start, as Python does with a module of this name."""
    (folder / "fault").mkdir()
    (folder / "fault" / "sitecustomize.py").write_text(textwrap.dedent(program))
    monkeypatch.setenv("PYTHONPATH", str(folder / "fault"), prepend=os.pathsep)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """What became of each attack: the text of its chunk, or why its file was skipped."""
    folder = tmp_path_factory.mktemp("taken-over")
    source = folder / "source"
    source.mkdir()
    (folder / "secret").write_text("postgresql://user:hunter2@host/db")
    (source / "link").symlink_to(folder / "secret")
    (source / "plain.py").write_text("plain = 1\n")
    for number, name in enumerate(ATTACKS):
        (source / f"{number}.py").write_text(f"# attack {name}\n")
    program = PROGRAM.format(
        secret=str(folder / "secret"), source=str(source), outside=str(folder / "outside"), attacks=ATTACKS
    )
    items = [WorkItem(number, f"{number}.py", 1) for number in range(len(ATTACKS))]
    plain = WorkItem(len(ATTACKS), "plain.py", 1)
    with pytest.MonkeyPatch.context() as patch:
        install(folder, patch, program)
        pool = ParserPool(1, ParserSettings(source, source, "1:test", None))

        async def run() -> list[str]:
            quiet = (await pool.process(ParseRequest(items[: len(REFUSED)], {}))).results
            rest = (await pool.process(ParseRequest([*items[len(REFUSED) :], plain], {}))).results
            return [r.reason if isinstance(r, SkippedFile) else r.chunks[0].text for r in [*quiet, *rest]]

        try:
            found = asyncio.run(run())
        finally:
            pool.close()
    assert found.pop() == "plain = 1\n"
    assert not (folder / "outside").exists()
    assert (source / "plain.py").read_text() == "plain = 1\n"
    return dict(zip(ATTACKS, found, strict=True))


@pytest.mark.parametrize("attack", REFUSED)
def test_what_is_no_business_of_a_parser_is_refused(attack: str, results: Mapping[str, str]) -> None:
    assert results[attack].startswith("refused: ")


@pytest.mark.parametrize("attack", [*FATAL, *UNTRUE])
def test_who_tries_more_or_answers_what_no_parser_would_is_ended_and_its_file_skipped(
    attack: str, results: Mapping[str, str]
) -> None:
    assert results[attack] == Skip.CRASHED


WITHOUT_LANDLOCK = """
from codebase_indexer.confinement import landlock
landlock._CREATE_RULESET = 9999
"""
"""A number that no kernel has yet."""


async def test_a_kernel_without_the_sandbox_is_told_of_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    install(tmp_path, monkeypatch, WITHOUT_LANDLOCK)
    (tmp_path / "a.py").write_text("a = 1\n")
    request = ParseRequest([WorkItem(0, "a.py", 1)], {})
    pool = ParserPool(2, ParserSettings(tmp_path, tmp_path, "1:test", None))
    with caplog.at_level(logging.WARNING):
        try:
            found = [r for _ in range(3) for r in (await pool.process(request)).results]
        finally:
            pool.close()
    assert all(isinstance(result, IndexedFile) for result in found)
    assert [record.missing for record in caplog.records] == [("Landlock: the kernel does not have it",)]  # type: ignore[attr-defined]


async def test_a_site_that_requires_the_sandbox_reads_no_file_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, monkeypatch, WITHOUT_LANDLOCK)
    pool = ParserPool(1, ParserSettings(tmp_path, tmp_path, "1:test", None), confined=True)
    try:
        with pytest.raises(Unconfined, match=r"Landlock: the kernel does not have it.*indexer\.requireSandbox"):
            await pool.process(ParseRequest([WorkItem(0, "a.py", 1)], {}))
    finally:
        pool.close()


async def test_a_site_that_requires_the_sandbox_has_it_here(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("a = 1\n")
    pool = ParserPool(1, ParserSettings(tmp_path, tmp_path, "1:test", None), confined=True)
    try:
        (result,) = (await pool.process(ParseRequest([WorkItem(0, "a.py", 1)], {}))).results
    finally:
        pool.close()
    assert isinstance(result, IndexedFile)


@pytest.mark.parametrize("encoding", ["utf-16", "shift_jis", "euc_kr", "koi8-r", "cp1252"])
async def test_codecs_that_are_loaded_late_are_there_for_a_confined_process(encoding: str, tmp_path: Path) -> None:
    texts = {"koi8-r": "расстояние до дома", "cp1252": "größe der Straße", "euc_kr": "거리를 계산하는 함수"}
    text = texts.get(encoding, "二点間の距離を計算する関数です")
    data = (f"# coding: {encoding}\n" + f"# {text}\n" * 8).encode(encoding)
    expected = decode(data)
    assert expected is not None and expected.encoding is not None
    (tmp_path / "a.py").write_bytes(data)
    pool = ParserPool(1, ParserSettings(tmp_path, tmp_path, "1:test", None), confined=True)
    try:
        (result,) = (await pool.process(ParseRequest([WorkItem(0, "a.py", 1)], {}))).results
    finally:
        pool.close()
    assert isinstance(result, IndexedFile)
    assert (result.encoding, result.chunks[0].text) == (expected.encoding, expected.data.decode())
