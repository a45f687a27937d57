"""The command line: `python3 -m hack.local_cluster up|stop|down|status|load-image ARCHIVE|build-tools|...`."""

import argparse
import fcntl
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from . import build, cleanup, cluster, host, kind, status
from .console import fail, say
from .errors import ClusterError
from .paths import State, own_state


def main() -> int:
    """Run one command. Exit codes: 0 done, 1 status is not healthy, 2 an expected failure, 130 interrupted."""
    host.complete_path()
    arguments = _parser().parse_args()
    try:
        return _dispatch(arguments, own_state())
    except ClusterError as error:
        return fail(error)
    except OSError as error:  # a full disk, a read-only file system: the system's own words are the best
        return fail(ClusterError(f"The system refused something: {error}."))
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python3 -m hack.local_cluster", description="A real local Kubernetes.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("up", help="start the cluster, or what is missing of it (NODES=2: with two nodes)")
    commands.add_parser("stop", help="end all processes, as a power failure does; `up` goes on where it was")
    commands.add_parser("down", help="end the cluster and remove all of it, its data too")
    commands.add_parser("status", help="show nodes, programs and pods; exits with 1 when something is not well")
    load = commands.add_parser("load-image", help="put an image archive into every node")
    load.add_argument("archive", type=Path, help="OCI or Docker archive file")
    commands.add_parser("build-tools", help="compile what `up` needs into the cache, and nothing else")
    commands.add_parser("build-clients", help="the same for kubectl and helm, where they are not on PATH")
    return parser


def _dispatch(arguments: argparse.Namespace, state: State) -> int:
    if arguments.command == "build-tools":
        print(build.kind() if _on_docker(state) else build.ensure())
        return 0
    if arguments.command == "build-clients":
        print(*(" ".join(map(str, build.tool(name))) for name in build.CLIENTS), sep="\n")
        return 0
    if arguments.command == "status":
        return 0 if status.report(state) else 1
    with _one_at_a_time():
        match arguments.command:
            case "up":
                nodes = cluster.check_nodes(os.environ.get("NODES", "1"))
                (kind if _on_docker(state) else cluster).up(state, nodes)
            case "stop":
                if kind.is_ours(state):
                    raise ClusterError("kind has no stop: `docker kill` its nodes, and `docker start` them again.")
                cluster.stop(state)
            case "down":
                (kind if kind.is_ours(state) else cluster).down(state)
            case "load-image":
                (kind if kind.is_ours(state) else cluster).load_image(state, arguments.archive)
    return 0


def _on_docker(state: State) -> bool:
    """Which cluster `up` means: the kind that is there already; for a new one, kind where Docker answers."""
    return kind.is_ours(state) or (cleanup.owner() != state and host.docker_answers())


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Hold a lock over all checkouts of this machine: the lock on a folder leaves no file behind."""
    descriptor = os.open("/run" if os.access("/run", os.R_OK) else "/tmp", os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("Another `local_cluster` command runs on this machine; waiting for it to end.")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


if __name__ == "__main__":
    sys.exit(main())
