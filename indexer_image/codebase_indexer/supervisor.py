"""PID 1 of the indexer pod: restarts the indexer at once after a crash, forwards SIGTERM, reaps orphans.

Kubernetes waits 10 s or more before it restarts a container that crashed twice, which is longer than a job may
take to resume. Only the standard library is imported, so that a start costs milliseconds.

Exit codes, chosen for `restartPolicy: OnFailure`: 0 when this pod is finished (the job is done, or failed with its
reason in the database, or another attempt has it), 1 when the indexer crashes repeatedly, so that the operator
counts a failure, 66 after SIGTERM.
"""

import contextlib
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from types import FrameType

from codebase_index.api.job import ExitCode

INDEXER_COMMAND = (sys.executable, "-m", "codebase_indexer")

BACKOFF = (0.2, 0.5, 1.0, 2.0)
"""Seconds before a restart, by the number of crashes in the window: a job has 10 s to resume."""

CRASH_LIMIT = 5
CRASH_WINDOW = 60.0
"""Seconds; after CRASH_LIMIT crashes within them another restart will not help."""

STOP_GRACE = 2
"""Whole seconds (for alarm()) that the indexer has after SIGTERM; the pod's grace period is 3."""

_FINAL = {ExitCode.DONE, ExitCode.FAILED, ExitCode.FENCED}


class Supervisor:
    """Runs one command until its exit code is final."""

    def __init__(
        self,
        command: Sequence[str] = INDEXER_COMMAND,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._command = list(command)
        self._sleep = sleep
        self._clock = clock
        self._indexer: int | None = None
        self._stopping = False
        self._crashes: deque[float] = deque(maxlen=CRASH_LIMIT)

    def run(self) -> int:
        """Start the indexer, and restart it after each crash. Return the exit code of the pod."""
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGINT, self._stop)
        signal.signal(signal.SIGALRM, self._kill)
        while not self._stopping:
            code = self._run_once()
            if code in _FINAL:
                return 0
            if code == ExitCode.STOPPED:
                break
            if self._stopping:
                break
            delay = self._delay_after_crash()
            if delay is None:
                _log(f"the indexer ended with {code}, {CRASH_LIMIT} times in {CRASH_WINDOW:.0f} s: giving up")
                return ExitCode.RETRY
            _log(f"the indexer ended with {code}: restarting it in {delay} s")
            self._sleep(delay)
        return ExitCode.STOPPED

    def _run_once(self) -> int:
        """Run the indexer to its end, reaping orphans meanwhile. Return its exit code, -N after signal N."""
        # Blocked over the start, so that a SIGTERM can not fall between the fork and the note of its pid.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
        try:
            # Its own process group: what it leaves behind is killed with it.
            self._indexer = indexer = os.posix_spawn(
                self._command[0], self._command, os.environ, setpgroup=0, setsigmask=()
            )
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM, signal.SIGINT})
        while True:
            pid, status = os.waitpid(-1, 0)
            if pid == indexer:
                break
        self._indexer = None
        signal.alarm(0)
        _kill_group(indexer)
        return os.waitstatus_to_exitcode(status)

    def _delay_after_crash(self) -> float | None:
        """Return how long to wait before the next start, None when there were too many crashes."""
        now = self._clock()
        self._crashes.append(now)
        recent = sum(now - crash < CRASH_WINDOW for crash in self._crashes)
        return BACKOFF[min(recent, len(BACKOFF)) - 1] if recent < CRASH_LIMIT else None

    def _stop(self, _signal: int, _frame: FrameType | None) -> None:
        self._stopping = True
        if self._indexer is not None:
            os.kill(self._indexer, signal.SIGTERM)
            signal.alarm(STOP_GRACE)

    def _kill(self, _signal: int, _frame: FrameType | None) -> None:
        if self._indexer is not None:
            _kill_group(self._indexer)


def _kill_group(group: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):  # nothing is left in it
        os.killpg(group, signal.SIGKILL)


def _log(message: str) -> None:
    # The fields of codebase_index.logs, without the cost of importing logging.
    when = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime())
    fields = f'"time": "{when}", "level": "warning", "program": "indexer", "logger": "supervisor"'
    sys.stderr.write(f'{{{fields}, "message": "{message}"}}\n')


if __name__ == "__main__":
    sys.exit(Supervisor().run())
