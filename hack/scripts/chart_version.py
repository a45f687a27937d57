"""Writes the distribution's version into the chart: `make generate`; with --check, fails when they differ."""

import re
import sys
import tomllib
from pathlib import Path

_CHECKOUT = Path(__file__).resolve().parents[2]
_PROJECT = _CHECKOUT / "pyproject.toml"
_CHART = _CHECKOUT / "charts" / "codebase-mcp" / "Chart.yaml"
_VERSIONS = re.compile(r"^(version|appVersion): .*$", re.MULTILINE)


def at_version(chart: str, version: str) -> str:
    """Return a Chart.yaml for a version. Its appVersion is also the tag of the images that it runs."""
    return _VERSIONS.sub(rf"\1: {version}", chart)


def main() -> int:
    """Write the chart's version, or compare it."""
    version: str = tomllib.loads(_PROJECT.read_text())["project"]["version"]
    there = _CHART.read_text()
    wanted = at_version(there, version)
    if "--check" not in sys.argv:
        _CHART.write_text(wanted)
    elif there != wanted:
        print(
            f"{_CHART.relative_to(_CHECKOUT)} is not at {version}, pyproject.toml's version: run `make generate`"
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
