"""The command line: `python3 -m hack.images build|load|publish|sbom|list|clean`."""

import argparse
import sys

from hack.local_cluster.errors import ClusterError
from hack.local_cluster.host import complete_path

from . import build, load, publish, sbom


def main() -> int:
    """Run one command. Exit codes: 0 done, 2 an expected failure, 130 interrupted."""
    complete_path()
    parser = argparse.ArgumentParser(prog="python3 -m hack.images", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("build", help="build what has changed, as archives and values.yaml in .images/")
    commands.add_parser("load", help="put into the cluster's nodes what they do not have yet")
    to = commands.add_parser("publish", help="build what has changed, and push the images to a registry")
    to.add_argument("registry", metavar="REGISTRY", help="HOST[:PORT]/PATH, such as registry.example.org/search")
    to.add_argument(
        "--version", default="", metavar="TAG", help="the images' tag; else one that follows from the content"
    )
    commands.add_parser("sbom", help="say what each image holds, and under which licences, beside its archive")
    commands.add_parser("list", help="show each image's name, and whether it is built")
    commands.add_parser("clean", help="remove the archives and the builder's cached layers")
    arguments = parser.parse_args()
    actions = {
        "build": build.run, "load": load.run, "sbom": sbom.run, "list": build.show, "clean": build.clean,
    }  # fmt: skip
    try:
        if arguments.command == "publish":
            publish.run(arguments.registry, arguments.version)
        else:
            actions[arguments.command]()
    except ClusterError as error:
        print(f"images: {error}", file=sys.stderr, flush=True)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
