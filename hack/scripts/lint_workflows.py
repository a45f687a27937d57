"""Check the workflows: actionlint, with shellcheck for their scripts, and zizmor for their security."""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

from hack.local_cluster.build import go_program
from hack.local_cluster.errors import ClusterError

CHECKOUT = Path(__file__).resolve().parents[2]
_ACTIONLINT = ("github.com/rhysd/actionlint/cmd/actionlint", "v1.7.12")


def main() -> int:
    """Run both, and return 0 when neither has found anything."""
    tools = sysconfig.get_path("scripts")  # where shellcheck and zizmor are, from the locked requirements
    environment = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"}
    try:
        actionlint = go_program(*_ACTIONLINT)
    except ClusterError as error:
        print(f"lint: {error}", file=sys.stderr)
        return 2
    # Offline: what is asked of GitHub differs from day to day, and a check of a commit must not.
    zizmor = ["zizmor", "--quiet", "--offline", "--no-progress", "--strict-collection", ".github"]
    return max(
        subprocess.run(command, cwd=CHECKOUT, env=environment, check=False).returncode
        for command in ([actionlint], zizmor)
    )


if __name__ == "__main__":
    sys.exit(main())
