"""The generated references: every value and every field is there, and a stale page is noticed."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from hack.scripts import document_reference
from hack.scripts.document_reference import CHART, api_page, values_page

VALUES = yaml.safe_load((CHART / "values.yaml").read_text())


@pytest.mark.parametrize(
    ("page", "fresh"), document_reference.pages().items(), ids=lambda part: Path(part).name[:9]
)
def test_each_page_is_as_its_source_is(page: Path, fresh: str) -> None:
    assert page.read_text() == fresh


def leaves(values: dict[str, Any], above: str = "") -> Iterator[str]:
    for name, value in values.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, f"{above}{name}.")
        else:
            yield f"{above}{name}"


def test_every_value_is_named_or_lies_in_one_that_is() -> None:
    page = values_page((CHART / "values.yaml").read_text())
    for path in leaves(VALUES):
        parts = path.split(".")
        ways = [".".join(parts[:end]) for end in range(1, len(parts) + 1)]
        assert any(f"| `{way}` |" in page for way in ways), path


def test_a_comment_becomes_a_row_with_the_default() -> None:
    page = values_page(
        "# A part.\na:\n  # -- What it\n  # is | or not.\n  b: 3\n  c: {d: [1]}\n# -- Whole.\ne: {f: 1}\n"
    )
    assert "| `a.b` | `3` | What it is \\| or not. |" in page
    assert '| `a.c` | `{"d": [1]}` |  |' in page and '| `e` | `{"f": 1}` | Whole. |' in page
    assert "## a\n\nA part.\n" in page


def test_fields_say_their_bounds() -> None:
    field = {"type": "integer", "description": "How often.", "minimum": 1, "maximum": 9, "default": 2}
    schema = {"properties": {"spec": {"properties": {"n": field}, "required": ["n"]}, "status": {}}}
    version = {"name": "v1", "schema": {"openAPIV3Schema": schema}}
    names = {"kind": "Thing", "shortNames": ["th"]}
    page = api_page({"spec": {"group": "g", "names": names, "versions": [version]}})
    assert "| `spec.n` | integer | How often. Required. Default: `2`. From 1 to 9. |" in page
