"""What a process gives up, where the kernel has all of it and where it has none. In processes of their own: it is
for good.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from codebase_indexer.settings import Settings

CONFINED = """
import json, os, resource, sys
from codebase_indexer.confinement import kernel, landlock, sandbox
{before}
missing = sandbox.enter(os.open(sys.argv[1], os.O_PATH | os.O_DIRECTORY))
asked = ("CORE", "NOFILE") if {limits} else ()
limits = {{name: resource.getrlimit(getattr(resource, "RLIMIT_" + name)) for name in asked}}
print(json.dumps([missing, limits]))
"""

NOTHING = """
def refused(name, number, *arguments):
    raise kernel.Unavailable(name + ": the kernel does not have it")
kernel.call = refused
"""

THREAD = "import threading, time; threading.Thread(target=time.sleep, args=(600,), daemon=True).start()"


def enter(folder: Path, before: str = "", *, limits: bool = False) -> tuple[list[str], dict[str, list[int]]]:
    """Confine a process after it did something; return what it lacks, and its limits if asked."""
    code = CONFINED.format(before=before, limits=limits)
    done = subprocess.run([sys.executable, "-c", code, folder], check=True, capture_output=True, text=True)
    missing, found = json.loads(done.stdout)
    return missing, found


def test_this_kernel_has_all_of_it(tmp_path: Path) -> None:
    assert enter(tmp_path) == ([], {})


def test_without_landlock_and_seccomp_the_limits_hold(tmp_path: Path) -> None:
    missing, limits = enter(tmp_path, NOTHING, limits=True)
    assert missing == ["Landlock: the kernel does not have it", "seccomp: the kernel does not have it"]
    assert limits == {"CORE": [0, 0], "NOFILE": [64, 64]}


def test_no_limit_is_raised(tmp_path: Path) -> None:
    lower = NOTHING + "\nresource.setrlimit(resource.RLIMIT_NOFILE, (32, 40))"
    _, limits = enter(tmp_path, lower, limits=True)
    assert limits["NOFILE"] == [32, 32]


def test_a_process_with_other_threads_does_not_call_itself_confined(tmp_path: Path) -> None:
    (missing,), _ = enter(tmp_path, THREAD)
    assert missing.startswith("Landlock: it would leave out the other threads")


@pytest.mark.parametrize(("value", "required"), [(None, False), ("false", False), ("true", True)])
def test_a_site_says_whether_it_is_required(value: str | None, required: bool) -> None:
    env = {
        "CODEBASE_JOB_ID": "00000000-0000-0000-0000-000000000001", "CODEBASE_ATTEMPT": "1", "CODEBASE_POD": "p",
        "CODEBASE_JOB_SPEC": "{}", "CODEBASE_DATABASE_URL": "postgresql://u@h/d", "CODEBASE_ROOTS": "[]",
        **({"CODEBASE_REQUIRE_SANDBOX": value} if value else {}),
    }  # fmt: skip
    assert Settings.from_env(env).requires_sandbox is required
