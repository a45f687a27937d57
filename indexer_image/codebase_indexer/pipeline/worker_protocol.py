"""What the main process and its worker processes say to each other: batches one way, a word the other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from codebase_index.store.ingest.batch import StoredFile, WorkItem

READY = "ready"
"""What a process says when it has opened the model."""


@dataclass(frozen=True)
class Batch:
    """Files to process, and what the index already holds of them."""

    folder: Path
    items: Sequence[WorkItem]
    known: Mapping[str, StoredFile]
    boundary: Path | None = None
    """Below which no link is followed, by default `folder` itself."""
