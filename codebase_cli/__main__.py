"""Entry points: `codebase-mcp`, `python -m codebase_cli`, and `kubectl codebase` as a plugin of kubectl."""

import sys
from collections.abc import Sequence

from codebase_cli.exits import ExitCode


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    return _run(sys.argv[1:] if arguments is None else list(arguments), "codebase-mcp")


def kubectl_plugin(arguments: Sequence[str] | None = None) -> int:
    """Run it for `kubectl codebase`: the same, but never with a server of this machine."""
    from codebase_cli.servers.options import only_clusters

    only_clusters()
    return _run(sys.argv[1:] if arguments is None else list(arguments), "kubectl codebase")


def _run(arguments: list[str], program: str) -> int:
    if arguments[:1] == ["admin"]:
        # Needs the store and nothing else: it runs in the operator's image, which has no packages for people.
        from codebase_cli import admin

        return admin.main(arguments[1:])
    try:
        from codebase_cli.app import run
    except ModuleNotFoundError as missing:
        if (missing.name or "codebase_").startswith("codebase_"):
            raise
        print(
            f"{program}: the package {missing.name} is not installed: this is the image of one program, where "
            f"only `{program} admin` runs; install the wheel where you work (pipx install, uvx)",
            file=sys.stderr,
        )
        return ExitCode.USAGE
    return run(arguments, program)


if __name__ == "__main__":
    sys.exit(main())
