"""The messages between the indexer's main process and its parser processes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from codebase_index.store.ingest.batch import StoredFile, WorkItem

READY = "ready"
"""Sent by a parser process once it has loaded the model."""


@dataclass(frozen=True)
class ParseRequest:
    """Files to parse, and what the index already has of them."""

    folder: Path
    items: Sequence[WorkItem]
    known: Mapping[str, StoredFile]
    boundary: Path | None = None
    """The folder below which no link is followed; by default `folder` itself."""
