"""The generated CRD: not stale, structural, and bounded everywhere. test_wiring_cluster installs it for real."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from codebase_index.api import crd

ROOT = Path(crd.__file__).resolve().parents[2]


@pytest.mark.parametrize("path", crd.FILES, ids=str)
def test_the_generated_file_is_not_stale(path: Path) -> None:
    assert (ROOT / path).read_text() == crd.document(), "run `make generate`"


def test_the_text_is_the_definition() -> None:
    assert yaml.safe_load(crd.document()) == crd.crd()


def schemas(node: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, node
    for name, child in node.get("properties", {}).items():
        yield from schemas(child, f"{path}.{name}")
    if "items" in node:
        yield from schemas(node["items"], f"{path}[]")


def root_schema() -> dict[str, Any]:
    return dict(crd.crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"])


def ours() -> list[tuple[str, dict[str, Any]]]:
    return [(path, node) for path, node in schemas(root_schema()) if path.startswith((".spec", ".status"))]


def test_every_string_is_bounded() -> None:
    free = [
        path for path, node in ours()
        if node["type"] == "string" and not {"maxLength", "enum", "format"} & node.keys()
    ]  # fmt: skip
    assert free == []


def test_every_list_is_bounded() -> None:
    assert [path for path, node in ours() if node["type"] == "array" and "maxItems" not in node] == []


def test_the_schema_is_structural() -> None:
    forbidden = {"$ref", "$defs", "anyOf", "oneOf", "title", "additionalProperties", "const"}
    assert [path for path, node in schemas(root_schema()) if forbidden & node.keys() or "type" not in node] == []


def test_no_default_is_null() -> None:
    assert all(None not in node["default"].values() for _, node in ours() if isinstance(node.get("default"), dict))


def test_the_columns_are_those_of_the_contract() -> None:
    columns = crd.crd()["spec"]["versions"][0]["additionalPrinterColumns"]
    assert [c["name"] for c in columns if not c.get("priority")] == [
        "Source", "Ref", "Phase", "Progress", "Files", "Total", "Queue", "Reason", "Age",
    ]  # fmt: skip
    assert [c["name"] for c in columns if c.get("priority")] == [
        "Chunks", "Commit", "Pod", "Node", "Attempt", "Message",
    ]  # fmt: skip


def test_every_field_is_described() -> None:
    def undescribed(path: str, node: dict[str, Any]) -> Iterator[str]:
        for name, child in node.get("properties", {}).items():
            if not child.get("description"):
                yield f"{path}.{name}"
            yield from undescribed(f"{path}.{name}", child)
        if "items" in node:
            yield from undescribed(path, node["items"])

    columns = crd.crd()["spec"]["versions"][0]["additionalPrinterColumns"]
    assert list(undescribed("", root_schema())) == [
        ".metadata"
    ]  # described by the API server, which refuses another
    assert [c["name"] for c in columns if not c.get("description")] == []
