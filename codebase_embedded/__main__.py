"""`python -m codebase_embedded HOW SETTINGS`: be an instance, or the bridge to one.

A process of its own, without all that a command line loads: it is there for as long as its client or its user.
"""

import sys
from collections.abc import Callable
from typing import Final

from codebase_embedded import bridge, service_manager
from codebase_embedded.instance import ALREADY_RUNNING, Instance, InstanceFailed
from codebase_embedded.service_manager import AlreadyRunning
from codebase_embedded.settings import Settings

FAILED: Final = 1


def main() -> int:
    """Run until it is done; return the exit code."""
    _, how, settings = sys.argv
    try:
        return _WAYS[how](Settings.of_json(settings))
    except AlreadyRunning as error:
        _say(str(error))
        return ALREADY_RUNNING
    except (InstanceFailed, OSError) as error:
        _say(str(error))
        return FAILED
    except KeyboardInterrupt:
        return 130


def _background(settings: Settings) -> int:
    service_manager.run(settings, background=True)
    return 0


def _foreground(settings: Settings) -> int:
    service_manager.run(settings, announce=_announce)
    return 0


def _announce(instance: Instance) -> None:
    _say(f"serving MCP at {instance.url}; its token is in {instance.token_file}; Ctrl-C ends it")


def _say(message: str) -> None:
    print(f"codebase-mcp: {message}", file=sys.stderr, flush=True)  # noqa: T201 - standard output may be a client's


_WAYS: dict[str, Callable[[Settings], int]] = {
    "--background": _background,
    "--foreground": _foreground,
    "--stdio": bridge.run,
}


if __name__ == "__main__":
    sys.exit(main())
