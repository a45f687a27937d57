"""What a job says that found nothing to index."""

import pytest

from codebase_indexer.progress.messages import nothing_to_index
from tests.operator.builders import job, row


@pytest.mark.parametrize(
    ("patterns", "says"),
    [
        ({}, "it has no files, or .gitignore and .mcpignore exclude all of them"),
        ({"exclude": ["*.py"]}, "or the exclude of the job, .gitignore and .mcpignore exclude all of them"),
        ({"include": ["src/", "*.go"]}, "no file matches the include of the job (src/, *.go), or .gitignore and"),
    ],
)
def test_the_rules_that_may_be_wrong_are_named(patterns: dict[str, list[str]], says: str) -> None:
    listed = job("a")
    assert listed.spec
    spec = listed.spec.model_copy(update=patterns)
    assert says in nothing_to_index(spec, row(listed, "running", 1, files_total=0), {})


def test_skipped_files_are_counted_by_reason() -> None:
    listed = job("a")
    assert listed.spec
    message = nothing_to_index(listed.spec, row(listed, "running", 1, files_total=2), {"binary": 2})
    assert "all of its 2 files were skipped" in message
    assert "binary" in message
