"""`make test`: every suite runs, in an order that keeps limits of time honest, and is told with its seconds."""

import re
import shutil
import threading

import pytest

from hack import suites
from hack.suites import ALONE, BESIDE, COMPUTING, Outcome, Runner, Suite, summary
from tests.support.packages import CHECKOUT

ON_REQUEST = {"test-clients", "test-ollama", "test-large", "test-chart"}  # the last is a part of test-unit
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


def test_what_runs_is_ended_when_the_run_is() -> None:
    runner = Runner((shutil.which("sleep") or "sleep",))
    run = threading.Thread(target=runner.side_by_side, args=([Suite("600")],))
    run.start()
    while run.is_alive():
        runner.end()
        run.join(0.05)
    assert [(o.target, o.passed) for o in runner.outcomes] == [("600", False)]


def test_the_summary_has_a_line_for_each_suite_the_longest_first() -> None:
    text = summary([Outcome("lint", 61.4, True), Outcome("test-store", 300.2, False)], 305)
    assert [line.split() for line in text.splitlines()] == [
        ["suite", "seconds"], ["test-store", "300", "FAILED"], ["lint", "61"], ["whole", "305"],
    ]  # fmt: skip
