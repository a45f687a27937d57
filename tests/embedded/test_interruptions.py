"""A start that is killed: nothing of it stays, or stops the next one."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.support.embedded import EmbeddedRuntime, ended, settings_for
from tests.support.waiting import wait_for


def test_a_start_after_one_that_was_killed_while_it_made_the_database(
    repositories: Path, own_data_folder: Path
) -> None:
    """What the first one has begun neither stops the second nor stays."""
    with foreground(repositories, own_data_folder) as (process, runtime):
        begun = "new-postgres-*/postgres/base"
        wait_for(lambda: list(own_data_folder.glob(begun)), "initdb is at work", every=0.01)
        process.kill()
        process.wait()
        assert runtime.instance().ready()
        assert not list(own_data_folder.glob("new-postgres-*"))


@contextlib.contextmanager
def foreground(root: Path, data: Path) -> Iterator[tuple["subprocess.Popen[bytes]", EmbeddedRuntime]]:
    """`codebase-mcp serve --http` in this folder."""
    settings = settings_for(data, root)
    command = [sys.executable, "-m", "codebase_embedded", "--foreground", settings.to_json()]
    with ended(settings) as runtime, subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            yield process, runtime
        finally:
            process.terminate()
