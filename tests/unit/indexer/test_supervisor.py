"""The supervisor, with real processes: what the pod does for each way in which its worker can end."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from codebase_index.api.job import ExitCode
from codebase_indexer.supervisor import BACKOFF, CRASH_LIMIT

# Runs in a process of its own, since the supervisor reaps every child and takes over the signals.
SUPERVISE = """
import sys
from codebase_indexer.supervisor import Supervisor
ticks = iter(range(0, 10**9, {tick}))
supervisor = Supervisor(
    [sys.executable, "-c", {worker!r}],
    sleep=lambda seconds: print("sleep", seconds, flush=True),
    clock=lambda: next(ticks),
)
sys.exit(supervisor.run())
"""


def supervise(worker: str, cwd: Path, tick: int = 0) -> subprocess.Popen[str]:
    """Start a supervisor over a worker's source; `tick` is what its clock gains with each crash, in seconds."""
    command = [sys.executable, "-c", SUPERVISE.format(worker=worker, tick=tick or 1)]
    return subprocess.Popen(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def counting(then: str) -> str:
    """A worker that notes each start in the file `starts` and has the count as `n`."""
    return f"import os, sys, time, signal; open('starts', 'a').write('x'); n = len(open('starts').read()); {then}"


def starts(folder: Path) -> int:
    return len((folder / "starts").read_text())


def wait_for(file: Path) -> str:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if file.exists() and (text := file.read_text()):
            return text
        time.sleep(0.02)
    raise AssertionError(f"{file} was not written")


@pytest.mark.parametrize(
    ("worker", "pod"),
    [
        pytest.param(ExitCode.DONE, 0, id="done"),
        pytest.param(ExitCode.FAILED, 0, id="failed, with the reason in the database"),
        pytest.param(ExitCode.FENCED, 0, id="another attempt holds the job"),
        pytest.param(ExitCode.STOPPED, ExitCode.STOPPED, id="told to stop"),
    ],
)
def test_these_ends_are_final(worker: int, pod: int, tmp_path: Path) -> None:
    process = supervise(counting(f"sys.exit({worker})"), tmp_path)
    process.communicate(timeout=60)
    assert process.returncode == pod
    assert starts(tmp_path) == 1


@pytest.mark.parametrize(
    "crash",
    ["sys.exit(1)", "os.kill(os.getpid(), signal.SIGKILL)", "os.abort()", "raise MemoryError"],
)
def test_a_crashed_worker_starts_again_at_once(crash: str, tmp_path: Path) -> None:
    process = supervise(counting(f"\nif n < 3: {crash}"), tmp_path)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert starts(tmp_path) == 3
    assert out.split() == ["sleep", str(BACKOFF[0]), "sleep", str(BACKOFF[1])]


def test_it_gives_up_when_the_worker_crashes_again_and_again(tmp_path: Path) -> None:
    process = supervise(counting("sys.exit(1)"), tmp_path)
    _, err = process.communicate(timeout=60)
    assert process.returncode == ExitCode.RETRY
    assert starts(tmp_path) == CRASH_LIMIT
    assert "giving up" in err


def test_crashes_that_are_far_apart_do_not_add_up(tmp_path: Path) -> None:
    process = supervise(counting(f"sys.exit(1 if n < {CRASH_LIMIT * 2} else 0)"), tmp_path, tick=100)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert starts(tmp_path) == CRASH_LIMIT * 2
    assert set(out.split()) == {"sleep", str(BACKOFF[0])}


def test_sigterm_reaches_the_worker(tmp_path: Path) -> None:
    trap = f"signal.signal(signal.SIGTERM, lambda *_: sys.exit({ExitCode.STOPPED}))"
    process = supervise(counting(f"{trap}; open('ready', 'w').write('x'); time.sleep(60)"), tmp_path)
    wait_for(tmp_path / "ready")
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == ExitCode.STOPPED
    assert starts(tmp_path) == 1


def test_a_worker_deaf_to_sigterm_is_killed(tmp_path: Path) -> None:
    deaf = "signal.signal(signal.SIGTERM, signal.SIG_IGN)"
    process = supervise(counting(f"{deaf}; open('ready', 'w').write('x'); time.sleep(600)"), tmp_path)
    wait_for(tmp_path / "ready")
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == ExitCode.STOPPED
    assert starts(tmp_path) == 1


def test_what_a_crashed_worker_leaves_behind_is_killed_before_the_next_start(tmp_path: Path) -> None:
    worker = counting(
        "\nif n == 1:\n"
        "    import subprocess\n"
        "    child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "    open('child', 'w').write(str(child.pid))\n"
        "    os._exit(1)\n"
    )
    process = supervise(worker, tmp_path)
    process.communicate(timeout=60)
    child = int((tmp_path / "child").read_text())
    deadline = time.monotonic() + 30
    while _alive(child) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not _alive(child)


def _alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_it_imports_next_to_nothing(tmp_path: Path) -> None:
    code = "import codebase_indexer.supervisor, sys; print('asyncio' in sys.modules, 'pydantic' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    assert out.stdout.split() == ["False", "False"]
