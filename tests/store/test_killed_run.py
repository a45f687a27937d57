"""A test run that is killed leaves neither its Postgres nor its data."""

import subprocess
import sys
from pathlib import Path

from tests.support.waiting import wait_for

RUN = """
import time
from tests.support.postgres import running
with running() as uri:
    print(uri.partition("host=")[2], flush=True)
    time.sleep(600)
"""


def test_a_killed_run_leaves_no_server_and_no_folder() -> None:
    with subprocess.Popen([sys.executable, "-c", RUN], stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        folder = Path(run.stdout.readline().strip())
        pid = (folder / "data" / "postmaster.pid").read_text().split()[0]
        run.kill()
    wait_for(lambda: not folder.exists(), "the folder is gone")
    assert not Path("/proc", pid).exists()
