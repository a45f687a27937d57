"""The static model that this version ships: where its files are, and its name, known without opening it."""

import json
from importlib import resources
from pathlib import Path

STATIC_FOLDER = Path(str(resources.files(__package__))) / "minilm-static-256"


def static_name(folder: Path = STATIC_FOLDER) -> str:
    """Return the `Embedder.name` of the static model in a folder. Raises OSError when it has none."""
    return f"static/{json.loads((folder / 'config.json').read_text())['name']}"
