"""What is left behind by a test run that is killed is removed by a process that outlives it."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

# The end of its input is the end of the run, however it came: nothing else holds the other end of the pipe. In a
# session of its own, so that neither Ctrl-C nor the end of a process group reaches it.
_WAIT = """trap '' HUP INT TERM; cat && exec "$@" """


@contextmanager
def guarded(*command: str) -> Iterator[None]:
    """Run this command when this process ends meanwhile, also by SIGKILL; it is not run otherwise."""
    guard = subprocess.Popen(
        ["sh", "-c", _WAIT, "guard", *command], start_new_session=True,
        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield
    finally:
        guard.kill()
        guard.communicate()
