"""Run every suite, and say how long each took: what `make test` runs.

A suite is a target of the Makefile. Those that compute run two at a time; beside them goes what compiles and what
waits for the network, with the processor time that they leave. After these, each alone, come the suites that hold
the product against limits of time, which a busy machine would break. A suite that fails keeps no other from
running: one run tells all that is wrong. Ctrl-C asks each suite to end, which pytest does with its fixtures torn
down, and waits for that; a second one kills what is still there.
"""

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO

from hack.local_cluster.console import say

LANES = min(2, os.cpu_count() or 1)
_LOWEST = 19  # of the system's priorities
MAKE = ("make", "--no-print-directory")


@dataclass(frozen=True)
class Suite:
    """A target, and those that have to end before it begins, however they end."""

    target: str
    after: tuple[str, ...] = ()


COMPUTING = (
    Suite("lint"),
    Suite("test-unit", after=("clients",)),  # helm renders the chart, promtool judges its alerts
    Suite("test-store"),
    Suite("test-mcp"),
    Suite("test-operator"),
    Suite("test-embedded"),
    Suite("test-package"),
    Suite("test-model"),
)
"""What is quickly red comes first, then the longest."""

BESIDE = (Suite("clients"), Suite("tools"), Suite("image-archives"), Suite("test-publish"))
"""One after the other: two of them install Debian packages, and two use the images' builder."""

ALONE = (Suite("test-limits"), Suite("test-cluster"))


@dataclass(frozen=True)
class Outcome:
    """How a suite ended."""

    target: str
    seconds: float
    passed: bool


class Runner:
    """Runs suites. `command` is what a suite's target is given to."""

    def __init__(self, command: Sequence[str] = MAKE) -> None:
        self.outcomes: list[Outcome] = []
        """Of the suites that have ended, in that order."""
        self._command = command
        self._changed = threading.Condition()
        self._threads: list[threading.Thread] = []
        self._processes: list[subprocess.Popen[bytes]] = []
        self._is_ending = False

    def side_by_side(self, computing: Sequence[Suite], beside: Sequence[Suite] = ()) -> None:
        """Run these. What one prints is shown whole when it has ended."""
        lanes = [(list(beside), _LOWEST)] + [(list(computing), 0)] * LANES  # the lanes share one list
        self._threads = [threading.Thread(target=self._run_lane, args=lane, daemon=True) for lane in lanes]
        for thread in self._threads:
            thread.start()
        self._join()

    def alone(self, suites: Sequence[Suite]) -> None:
        """Run these one after the other. What they print is shown as it comes."""
        for suite in suites:
            self._run(suite)

    def passed(self, suites: Sequence[Suite]) -> bool:
        """Whether all of these have run, and none has failed."""
        return {suite.target for suite in suites} <= {outcome.target for outcome in self.outcomes} and all(
            outcome.passed for outcome in self.outcomes
        )

    def end(self) -> None:
        """Ask what runs to end, begin nothing more, and wait until it has torn down what it had set up.

        A KeyboardInterrupt meanwhile kills it.
        """
        try:
            self._signal(signal.SIGINT)
            self._wait()
        except KeyboardInterrupt:
            self._signal(signal.SIGKILL)
            self._wait()

    def _signal(self, number: signal.Signals) -> None:
        with self._changed:
            self._is_ending = True
            self._changed.notify_all()
            for process in self._processes:
                if process.poll() is None:
                    os.killpg(process.pid, number)

    def _wait(self) -> None:
        for process in self._processes:
            process.wait()
        self._join()

    def _join(self) -> None:
        for thread in self._threads:
            thread.join()

    def _run_lane(self, waiting: list[Suite], niceness: int) -> None:
        while suite := self._next(waiting):
            with tempfile.TemporaryFile() as output:
                self._run(suite, niceness, output)

    def _next(self, waiting: list[Suite]) -> Suite | None:
        """Take the first suite that may begin, waiting for it where all have to wait. None: there is none left."""
        with self._changed:
            while waiting and not self._is_ending:
                ended = {outcome.target for outcome in self.outcomes}
                if ready := next((suite for suite in waiting if ended.issuperset(suite.after)), None):
                    waiting.remove(ready)
                    return ready
                self._changed.wait()
            return None

    def _run(self, suite: Suite, niceness: int = 0, output: IO[bytes] | None = None) -> None:
        say(f"{suite.target} begins")
        began = time.monotonic()
        passed = False
        try:
            passed = self._run_command(["nice", "-n", str(niceness), *self._command, suite.target], output) == 0
        finally:  # also where it could not begin: others wait for its end
            with self._changed:
                self.outcomes.append(Outcome(suite.target, time.monotonic() - began, passed))
                self._changed.notify_all()
                if output is not None:
                    output.seek(0)
                    print(output.read().decode(errors="replace"), end="", flush=True)
                say(f"{suite.target} {'has passed' if passed else 'HAS FAILED'}")

    def _run_command(self, command: Sequence[str], output: IO[bytes] | None) -> int:
        with self._changed:  # so that `end` knows each that has begun
            if self._is_ending:
                return 1
            # A process group of its own: the terminal sends Ctrl-C to this program alone, which passes it on once.
            # pytest takes a second one for the wish to end without its teardown.
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, process_group=0
            )
            self._processes.append(process)
        return process.wait()


def summary(outcomes: Sequence[Outcome], seconds: float) -> str:
    """A line for each suite with the seconds that it took, the longest first, and one for the whole."""
    lines = [
        f"{outcome.target:16} {outcome.seconds:6.0f}{'' if outcome.passed else '  FAILED'}"
        for outcome in sorted(outcomes, key=lambda outcome: -outcome.seconds)
    ]
    return "\n".join([f"{'suite':16} seconds", *lines, f"{'whole':16} {seconds:6.0f}"])


def main() -> int:
    """Run all. Exit code 1 when one has failed, or has not run."""
    began = time.monotonic()
    runner = Runner()
    for number in (signal.SIGINT, signal.SIGTERM):  # also where a shell in the background had it ignored
        signal.signal(number, signal.default_int_handler)
    try:
        runner.side_by_side(COMPUTING, BESIDE)
        runner.alone(ALONE)
    except KeyboardInterrupt:
        say("ending what runs; once more kills it")
        runner.end()
        return 130
    finally:
        print(summary(runner.outcomes, time.monotonic() - began), flush=True)
    return 0 if runner.passed((*COMPUTING, *BESIDE, *ALONE)) else 1


if __name__ == "__main__":
    sys.exit(main())
