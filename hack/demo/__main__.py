"""`make demo [REPO=path or URL]`: index a repository on this machine and search it, as a person would type it."""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
COMMAND = str(Path(sys.executable).with_name("codebase-mcp"))

NOTHING_FOUND = 4

QUERIES = {
    "own": ["which job may start next", "fencing token"],
    "any": ["parse the configuration", "error handling and retries"],
}


class DemoFailed(Exception):
    """A command of the demo failed; it has said why."""


def main() -> int:
    """Run the demo; return the process' exit code."""
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("repo", nargs="?", default=str(CHECKOUT), help="a folder of this machine, or a git URL")
    parser.add_argument("--query", action="append", help="what to search for (repeatable)")
    arguments = parser.parse_args()
    is_url = "://" in arguments.repo
    source = arguments.repo if is_url else str(Path(arguments.repo).resolve())
    queries = arguments.query or QUERIES["own" if source == str(CHECKOUT) else "any"]
    if not is_url and not Path(source).is_relative_to(Path.home()):
        # The server of a person indexes what lies below their home, unless it is told of more when it starts.
        os.environ.setdefault("CODEBASE_EMBEDDED_ROOTS", os.pathsep.join((str(Path.home()), source)))
    try:
        demonstrate(source, queries)
    except DemoFailed as failed:
        print(f"\ndemo failed: {failed}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print(CLOSING)
    return 0


def demonstrate(source: str, queries: list[str]) -> None:
    """Index, search, and say how long each took."""
    run("index", source, "--wait", "--embedded")
    for query in queries:
        run("search", query, "--repo", source, "--limit", "3", "--embedded")


def run(*arguments: str) -> None:
    """Show a command as a person would type it, run it, and say how long it took. Raises DemoFailed."""
    typed = " ".join(f'"{word}"' if " " in word else word for word in ("codebase-mcp", *arguments))
    print(f"\n$ {typed}", flush=True)
    began = time.monotonic()
    code = subprocess.run([COMMAND, *arguments], check=False).returncode
    print(f"  ({time.monotonic() - began:.1f} s)", flush=True)
    if code not in (0, NOTHING_FOUND):
        raise DemoFailed(f"`{typed}` ended with exit code {code}")


CLOSING = f"""
Go on, with {COMMAND}:
  codebase-mcp setup                 which MCP clients there are
  codebase-mcp setup claude-code     let an agent search (or vscode, cursor, codex, gemini, zed, ...)
  codebase-mcp search "…"            search by meaning; --mode symbol, text or regex
  codebase-mcp doctor                check that everything is well
  codebase-mcp stop                  end the server, which otherwise ends some minutes after its last use"""


if __name__ == "__main__":
    raise SystemExit(main())
