"""How the command ends: its exit codes, and the errors that lead to them."""

from enum import IntEnum
from typing import ClassVar


class ExitCode(IntEnum):
    """Exit codes of every sub-command. docs/command.md has the same list."""

    DONE = 0
    FAILED = 1
    """It was refused, or it failed: the message says why, and what to do."""
    USAGE = 2
    """The arguments are wrong."""
    NO_SERVER = 3
    """No server was found, or it does not answer."""
    NOTHING_FOUND = 4
    """A search without a result."""
    JOB_NOT_COMPLETED = 5
    """The job that was waited for failed or was cancelled."""
    INTERRUPTED = 130
    """Ctrl-C. A job that was started goes on."""


class CommandFailed(Exception):
    """What was asked for cannot be done. The message says what happened, why, and what to do."""

    code: ClassVar[ExitCode] = ExitCode.FAILED


class NoServer(CommandFailed):
    """No server was found, or it does not answer."""

    code = ExitCode.NO_SERVER
