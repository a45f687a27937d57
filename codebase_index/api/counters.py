"""What a job counts: the one table that its row, its resource, its answers, events and log lines are made from."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict


@dataclass(frozen=True)
class Wording:
    """How a counter is described; `kubectl explain` shows the docstring below its field.

    `answer` is what the tools' schemas say; None: the name is enough. `summary` follows the number in the last
    message of a job, where it is not 0; None: not mentioned there.
    """

    answer: str | None = None
    summary: str | None = None


class Counters(BaseModel):
    """The counters of a job; none of them ever falls. Each has a column of its name in `jobs`.

    CONTRIBUTING.md says what a new one takes.
    """

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    files_indexed: int = 0
    """Files whose content is in the index."""
    files_skipped: int = 0
    """Files that were left out, each for a reason that is recorded."""
    chunks_created: int = 0
    """Pieces of files that can be found, written by this job."""
    files_transcoded: Annotated[
        int,
        Wording(
            answer="decoded from other encodings than UTF-8", summary="decoded from other encodings than UTF-8"
        ),
    ] = 0
    """Decoded from another encoding than UTF-8."""
    secrets_redacted: Annotated[
        int, Wording(answer="tokens and private keys that are not in the index", summary="secrets redacted")
    ] = 0
    """Tokens and private keys that were taken out before indexing."""

    def counts(self) -> dict[str, int]:
        """Return the counters alone, by name and in the order above, of whatever has more fields."""
        return self.model_dump(include=set(Counters.model_fields))


def _wording(metadata: list[object]) -> Wording:
    return next((item for item in metadata if isinstance(item, Wording)), Wording())


WORDING: Final[Mapping[str, Wording]] = {
    name: _wording(field.metadata) for name, field in Counters.model_fields.items()
}
"""The description of each counter, by its name and in order."""
