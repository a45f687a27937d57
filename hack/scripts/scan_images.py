"""Look for known vulnerabilities in what the images hold, by their bills of materials: `make scan`.

grype fetches its database of the day, so this is no part of a commit's tests. `.grype.yaml` names what is
accepted, each with its reason.
"""

import subprocess
import sys

from hack.images.build import OUTPUT
from hack.images.catalog import CHECKOUT, IMAGES
from hack.local_cluster.build import go_program
from hack.local_cluster.errors import ClusterError

_GRYPE = ("github.com/anchore/grype/cmd/grype", "v0.121.3")


def main() -> int:
    """Scan every image. Returns 0 where nothing is found that is high or critical and that an update mends."""
    try:
        grype = go_program(*_GRYPE)
    except ClusterError as error:
        print(f"scan: {error}", file=sys.stderr)
        return 2
    codes = []
    for image in IMAGES:
        print(f"--- {image.name}", flush=True)
        bill = OUTPUT / f"{image.name}.cdx.json"
        command = [str(grype), f"sbom:{bill}", "--only-fixed", "--fail-on", "high"]
        codes.append(subprocess.run(command, cwd=CHECKOUT, check=False).returncode)
    return max(codes)


if __name__ == "__main__":
    sys.exit(main())
