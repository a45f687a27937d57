"""`make test`: every suite runs, in an order that keeps limits of time honest, and is told with its seconds."""

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from hack import suites
from hack.suites import ALONE, BESIDE, COMPUTING, Outcome, Runner, Suite, summary
from tests.support.packages import CHECKOUT
from tests.support.waiting import wait_for

ON_REQUEST = {
    "test-ops",
    "test-clients",
    "test-ollama",
    "test-large",
    "test-chart",
}  # the last is a part of test-unit
PREPARATIONS = {"clients", "tools", "image-archives"}


def test_every_suite_of_the_makefile_is_run_once() -> None:
    targets = re.findall(r"^(test-[a-z]+|lint):", (CHECKOUT / "Makefile").read_text(), re.M)
    run = [suite.target for suite in (*COMPUTING, *BESIDE, *ALONE)]
    assert sorted(run) == sorted({*targets, *PREPARATIONS} - ON_REQUEST)


def test_what_a_suite_waits_for_is_run_beside_it() -> None:
    beside = {suite.target for suite in BESIDE}
    assert all(set(suite.after) <= beside for suite in COMPUTING)


def test_a_suite_waits_for_what_it_needs_and_those_behind_it_do_not() -> None:
    runner = Runner(("sh", "-c", ":"))
    runner.side_by_side([Suite("late", after=("early",)), Suite("free")], [Suite("early")])
    ended = [outcome.target for outcome in runner.outcomes]
    assert ended.index("early") < ended.index("late") and set(ended) == {"early", "free", "late"}


def test_one_that_fails_is_told_and_keeps_no_other_from_running(capfd: pytest.CaptureFixture[str]) -> None:
    runner = Runner(("sh", "-c", 'echo "said by $0"; test "$0" = good'))
    runner.side_by_side([Suite("bad"), Suite("good")])
    runner.alone([Suite("worse"), Suite("good")])
    assert sorted((o.target, o.passed) for o in runner.outcomes) == [
        ("bad", False), ("good", True), ("good", True), ("worse", False),
    ]  # fmt: skip
    assert "said by bad\n" in capfd.readouterr().out


def test_what_two_print_is_not_mixed(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suites, "LANES", 2)
    Runner(("sh", "-c", 'for i in 1 2 3; do echo "$0"; sleep 0.02; done')).side_by_side([Suite("a"), Suite("b")])
    printed = [line for line in capfd.readouterr().out.splitlines() if line in ("a", "b")]
    assert printed in (["a"] * 3 + ["b"] * 3, ["b"] * 3 + ["a"] * 3)


def test_what_runs_is_ended_when_the_run_is_and_nothing_more_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(suites, "LANES", 1)
    runner = Runner(("sh", "-c", f'touch {tmp_path}/"$0"; exec sleep 600'))
    run = threading.Thread(target=runner.side_by_side, args=([Suite("first"), Suite("second")],))
    run.start()
    wait_for((tmp_path / "first").exists, "the first one runs", every=0.02)
    runner.end()
    run.join()
    assert [(o.target, o.passed) for o in runner.outcomes] == [("first", False)]
    assert not (tmp_path / "second").exists()


TEARDOWN = """
import pathlib, signal, sys, time
folder = pathlib.Path(sys.argv[1])
try:
    (folder / "begun").touch()
    time.sleep(600)
finally:
    signal.signal(signal.SIGINT, lambda *_: (folder / "asked again").touch())
    (folder / "ending").touch()
    while not (folder / "let go").exists():
        time.sleep(0.02)
    (folder / "torn down").touch()
"""
"""A suite that tears down something, for as long as the test wants."""

RUN = """
import sys
from hack import suites
suites.COMPUTING, suites.BESIDE, suites.ALONE = (suites.Suite("only"),), (), ()
suites.MAKE = (sys.executable, "-c", sys.argv[1], sys.argv[2])
suites.Runner.__init__.__defaults__ = (suites.MAKE,)
sys.exit(suites.main())
"""


@pytest.fixture
def interrupted(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A run of one suite that has been asked to end, by Ctrl-C in its terminal, and tears down."""
    command = [sys.executable, "-c", RUN, TEARDOWN, str(tmp_path)]
    with subprocess.Popen(command, cwd=CHECKOUT, process_group=0) as run:
        wait_for((tmp_path / "begun").exists, "the suite runs", every=0.02)
        os.killpg(run.pid, signal.SIGINT)
        wait_for((tmp_path / "ending").exists, "the suite tears down", every=0.02)
        yield run
        run.kill()


def test_ctrl_c_ends_a_suite_once_and_waits_for_its_teardown(
    interrupted: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    assert interrupted.poll() is None
    (tmp_path / "let go").touch()
    assert interrupted.wait() == 130
    assert (tmp_path / "torn down").exists() and not (tmp_path / "asked again").exists()


def test_a_second_ctrl_c_kills(interrupted: subprocess.Popen[bytes], tmp_path: Path) -> None:
    os.killpg(interrupted.pid, signal.SIGINT)
    assert interrupted.wait() == 130
    assert not (tmp_path / "torn down").exists()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_what_cannot_begin_has_failed_and_nobody_waits_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise OSError("no process can be made")

    runner = Runner()
    monkeypatch.setattr("subprocess.Popen", broken)
    runner.side_by_side([Suite("late", after=("early",))], [Suite("early")])
    assert {(o.target, o.passed) for o in runner.outcomes} == {("early", False), ("late", False)}


def test_a_suite_that_did_not_run_is_none_that_passed() -> None:
    runner = Runner(("sh", "-c", ":"))
    runner.alone([Suite("one")])
    assert runner.passed([Suite("one")]) and not runner.passed([Suite("one"), Suite("two")])


def test_the_summary_has_a_line_for_each_suite_the_longest_first() -> None:
    text = summary([Outcome("lint", 61.4, True), Outcome("test-store", 300.2, False)], 305)
    assert [line.split() for line in text.splitlines()] == [
        ["suite", "seconds"], ["test-store", "300", "FAILED"], ["lint", "61"], ["whole", "305"],
    ]  # fmt: skip
