"""The chart's default values: what the benchmarks run is what is shipped."""

from pathlib import Path
from typing import Any

import yaml

_VALUES = Path(__file__).parents[1] / "charts" / "codebase-mcp" / "values.yaml"


def values(component: str) -> dict[str, Any]:
    """Return the default values of one of the chart's components, such as `server`."""
    found: dict[str, Any] = yaml.safe_load(_VALUES.read_text())[component]
    return found
