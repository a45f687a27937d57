"""Each mutant still applies to the sources: one that does not shows nothing."""

import pytest

from tests.mutants import MUTANTS, ROOT, Change


@pytest.mark.parametrize("change", [c for mutant in MUTANTS for c in mutant.changes], ids=lambda c: c.path)
def test_its_changes_find_their_place(change: Change) -> None:
    assert (ROOT / change.path).read_text().count(change.old) == 1
