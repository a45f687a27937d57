"""Where the benchmarks' figures are kept."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def merge(file: Path, figures: Mapping[str, Any]) -> None:
    """Write figures down beside those that the file holds already."""
    before = json.loads(file.read_text()) if file.exists() else {}
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({**before, **figures}, indent=2) + "\n")
