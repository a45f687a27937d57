"""Parser processes, one per core: parsing holds the GIL, so threads would share a single core.

Each process has its own socket, so that the files it held when it died are known. It ends by itself when the main
process does, however that ends. It reads untrusted files, so it is confined before the first one
(confinement/sandbox.py), and what it answers is checked (answer_check.py).
"""

import asyncio
import contextlib
import logging
import math
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from codebase_index.store.ingest.batch import PackedBatch, ProcessedBatch, SkippedFile, WorkItem
from codebase_indexer.content.skipping import Skip
from codebase_indexer.pipeline.answer_check import decode_answer
from codebase_indexer.pipeline.channel import Channel, FrameRefused
from codebase_indexer.pipeline.parser_protocol import MAX_FRAME_BYTES, ParseRequest, ParserSettings, Ready

log = logging.getLogger(__name__)

FILE_SECONDS = 15.0
"""Time limit for each file of a batch: the parser's own limit is 5 s, the rest takes less than that."""

BUSY_FACTOR = 4
"""How many times its limit a process may take by the clock while it computes, without the processor to itself."""

START_SECONDS = 120.0
"""Time limit for a process to start and open the model: half a second on an idle machine."""

STOP_SECONDS = 5.0
"""Time limit for a process to be gone after SIGKILL."""

SEND_SECONDS = 15.0
"""Time limit for a process to take a request, which it does as soon as it has nothing else to do."""

_INHERITED: Final = re.compile(
    r"PATH|HOME|TMPDIR|TZ|LANG|LC_\w+|LD_LIBRARY_PATH|PYTHON\w+|(OPENBLAS|OMP|MKL)_\w+|PYDANTIC_DISABLE_PLUGINS|"
    r"CODEBASE_LOG_LEVEL"
)
"""Environment variables that a process which parses untrusted files may see: no address, key or credentials."""


class ParserDied(Exception):
    """A parser process ended, or hung, while it held a request."""


class ParserStalled(ParserDied):
    """A parser process neither answered in time nor used the CPU: it waits for its disk."""


class PoolBroken(Exception):
    """A parser process does not even start: no file is to blame; the attempt fails."""


class Unconfined(Exception):
    """The site requires that parser processes are confined, and this system cannot do it."""


class ParserPool:
    """Processes that turn files into rows. `close` ends them."""

    def __init__(self, count: int, settings: ParserSettings, *, confined: bool = False) -> None:
        """Start `count` processes; if `confined`, files are only read by processes that are fully confined."""
        self._result_type: type[PackedBatch] | type[ProcessedBatch] = (
            PackedBatch if settings.model else ProcessedBatch
        )
        self._confined = confined
        self._unconfined: tuple[str, ...] = ()
        self._threads = ThreadPoolExecutor(count, "pool")
        self._parsers = [_ParserProcess(settings, self._judge) for _ in range(count)]
        self._idle: asyncio.Queue[_ParserProcess] = asyncio.Queue()
        for parser in self._parsers:
            parser.start()
            self._idle.put_nowait(parser)

    async def process(self, batch: ParseRequest) -> PackedBatch | ProcessedBatch:
        """Return the results of a request, packed if there is a model.

        A file that crashes its process even when parsed alone, or lets it answer what no parser would, is skipped;
        so is one whose disk does not answer.

        Raises PoolBroken, Unconfined.
        """
        try:
            answer: PackedBatch | ProcessedBatch = await self._run(batch)
        except ParserDied as death:
            log.warning("parser process died", extra={"files": [i.path for i in batch.items], "error": str(death)})
        else:
            return answer
        alone = [await self._run_alone(batch, item) for item in batch.items]
        return self._result_type.join(alone)

    def close(self) -> None:
        """End the processes at once; their unfinished requests are lost."""
        for parser in self._parsers:
            parser.kill()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _judge(self, missing: tuple[str, ...]) -> None:
        """Say once how far the processes are confined. Raises Unconfined if that is too little."""
        if missing and self._confined:
            raise Unconfined(
                f"no file is read: the processes that parse them cannot be confined here ({'; '.join(missing)}), "
                "and the site requires it; use nodes with Linux 5.13 or later and Landlock in its parameter lsm=, "
                "or set indexer.requireSandbox to false (CODEBASE_REQUIRE_SANDBOX)"
            )
        if missing and missing != self._unconfined:
            log.warning("the processes that parse files are not fully confined", extra={"missing": missing})
        self._unconfined = missing

    async def _run_alone(self, batch: ParseRequest, item: WorkItem) -> Any:
        try:
            return await self._run(replace(batch, items=[item]))
        except ParserStalled as stall:
            log.error("file skipped: its disk does not answer", extra={"path": item.path, "error": str(stall)})
            return self._result_type([SkippedFile(item.seq, Skip.STALLED)])
        except ParserDied as death:
            log.error("file skipped: it crashes the parser", extra={"path": item.path, "error": str(death)})
            return self._result_type([SkippedFile(item.seq, Skip.CRASHED)])

    async def _run(self, batch: ParseRequest) -> Any:
        parser = await self._idle.get()
        answer = asyncio.get_running_loop().run_in_executor(self._threads, parser.run, batch)
        try:
            return await asyncio.shield(answer)
        except asyncio.CancelledError:
            parser.interrupt()  # its answer would be taken for the next batch's
            await asyncio.wait({answer})
            answer.exception()
            raise
        finally:
            self._idle.put_nowait(parser)


class _ParserProcess:
    """One process and the socket to it. Owned by the thread that is in `run`; `interrupt` alone is for others."""

    def __init__(self, settings: ParserSettings, judge: Callable[[tuple[str, ...]], None]) -> None:
        self._settings = settings
        self._judge = judge
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: Channel | None = None
        self._ready: Ready | None = None

    def start(self) -> None:
        # Not multiprocessing: forking copies locks that other threads hold, and what it spawns inherits all of the
        # environment. -P: nothing is imported from the folder that this runs in.
        ours, theirs = socket.socketpair()
        with theirs:  # closed here, else its end would never be noticed
            number = theirs.fileno()
            serve = f"from codebase_indexer.pipeline.parser_process import serve; serve({number})"
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", serve],
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[number],
            )
        self._channel = Channel(ours.detach(), MAX_FRAME_BYTES)
        with contextlib.suppress(OSError):  # it has ended, which is noticed when it is not ready
            self._channel.send(self._settings.encode(), SEND_SECONDS)

    def run(self, request: ParseRequest) -> PackedBatch | ProcessedBatch:
        """Process a request, blocking. Raises ParserDied, PoolBroken or Unconfined.

        After any of them the next call starts another process.
        """
        if self._process is None or self._process.poll() is not None:
            self.kill()
            self.start()
        ready = self._ready or self._wait_until_ready()
        assert self._channel is not None
        try:
            self._channel.send(request.encode(), SEND_SECONDS)
            answer = self._receive(FILE_SECONDS * len(request.items), BUSY_FACTOR)
            return decode_answer(answer, request, ready.dimension)
        except FrameRefused as error:
            self.kill()
            raise ParserDied(f"its answer is refused: {error}") from error
        except TimeoutError as error:
            self.kill()
            raise ParserDied("it takes no request") from error
        except (EOFError, OSError) as error:
            message = self._exit_reason()
            self.kill()
            raise ParserDied(message) from error
        except ParserDied:
            self.kill()
            raise

    def _wait_until_ready(self) -> Ready:
        try:
            ready = Ready.decode(self._receive(START_SECONDS))
        except (ParserDied, EOFError, OSError) as error:
            message = f"a parser process does not start ({error or self._exit_reason()})"
            self.kill()
            raise PoolBroken(message) from error
        try:
            self._judge(tuple(ready.unconfined))
        except Unconfined:
            self.kill()
            raise
        self._ready = ready
        return ready

    def _receive(self, seconds: float, factor: int = 1) -> bytes:
        assert self._channel is not None and self._process is not None
        return receive(self._channel, ProcessStat(self._process.pid), seconds, factor)

    def interrupt(self) -> None:
        """End the process under a `run` in another thread, which then raises ParserDied and cleans up."""
        process = self._process  # the thread may forget it at any moment
        if process is not None:
            process.kill()

    def kill(self) -> None:
        """End the process, if there is one, and forget it."""
        if self._process is not None:
            self._process.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_SECONDS)
            self._process = None
        self._ready = None
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    def _exit_reason(self) -> str:
        process = self._process
        if process is None:
            return "stopped"
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)
        if process.returncode == -signal.SIGSYS:
            return "ended by SIGSYS: it tried what no parser does (confinement/seccomp.py)"
        return f"ended with {process.returncode}"


@dataclass(frozen=True)
class ProcessStat:
    """What Linux says of a process."""

    pid: int

    def cpu_seconds(self) -> float:
        """Return the processor time that it has used; infinity if it cannot be told."""
        try:
            fields = self._fields()
        except OSError:
            return math.inf
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def is_computing(self) -> bool:
        """Say whether it is runnable; otherwise it sleeps in a system call."""
        try:
            return self._fields()[0] not in ("S", "D")
        except OSError:  # it has just ended, or this is no Linux
            return True

    def _fields(self) -> list[str]:
        return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()


def receive(channel: Channel, process: ProcessStat, seconds: float, factor: int = 1) -> bytes:
    """Return the next answer of a process: within `seconds` of processor time, `factor` times that by the clock.

    Raises ParserStalled for one that sleeps, ParserDied for one that computes, EOFError and OSError when it ends,
    FrameRefused.
    """
    begin = process.cpu_seconds()
    for _ in range(factor):
        if (answer := channel.receive(seconds)) is not None:
            return answer
        if not process.is_computing():
            raise ParserStalled(f"no answer within {seconds:.0f} s")
        if process.cpu_seconds() - begin > seconds / 2:
            break  # a busy node is no excuse any more
    raise ParserDied(f"no answer within {seconds:.0f} s of processor time")


def environment() -> dict[str, str]:
    """Return the environment of a parser process."""
    # With a process for each core, threads of the linear algebra would only get in their way, and those that run
    # already when it is confined would be left out.
    single = {f"{library}_NUM_THREADS": "1" for library in ("OPENBLAS", "OMP", "MKL")}
    inherited = {name: value for name, value in os.environ.items() if _INHERITED.fullmatch(name)}
    return {**inherited, **single}
