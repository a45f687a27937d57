"""The chart for sites as they are: what each of sites/*.yaml changes of the default stands in a file beside it.

After a change that is meant, `UPDATE_GOLDEN=1 python -m pytest tests/unit/chart/test_sites.py` writes them anew.
"""

import os
from collections.abc import Iterator
from typing import Any

import pytest

from tests.unit.chart.rendering import SITES, Object, named, of_site, pods, render, rendered
from tests.unit.chart.test_pod_security import violations

EXPECTED_VIOLATIONS = {
    "old-kernel": {"seccompProfile"},
    "no-contexts": {"seccompProfile", "allowPrivilegeEscalation", "capabilities not dropped", "may run as root"},
    "cloud-sql": {"allowPrivilegeEscalation", "capabilities not dropped"},  # containers of the site's own
    "kept-volume": {"allowPrivilegeEscalation", "capabilities not dropped"},
}
"""What a site gives up of Pod Security `restricted`, because it says so."""


def flat(node: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every leaf of an object, with a path in which members of lists have their names."""
    children: list[tuple[str, Any]] = []
    if isinstance(node, dict):
        children = [(f"{path}.{name}", child) for name, child in node.items()]
    elif isinstance(node, list):
        names = [child.get("name", n) if isinstance(child, dict) else n for n, child in enumerate(node)]
        children = [(f"{path}[{name}]", child) for name, child in zip(names, node, strict=True)]
    if not children:
        yield path, node
    for name, child in children:
        yield from flat(child, name)


Leaves = dict[str, dict[str, Any]]
"""Of each object, by its name, the leaves by their paths."""


def leaves(objects: list[Object]) -> Leaves:
    """What is rendered, and an indexer's pod in place of its template; the definition is another test's."""
    indexer = [pod for component, pod in pods(objects) if component == "indexer"]
    named = [*(o for o in objects if o["kind"] != "CustomResourceDefinition" and not is_template(o)), *indexer]
    return {
        f"{o['kind']}/{o['metadata']['name']}": {path: v for path, v in flat(o) if "checksum/" not in path}
        for o in named
    }


def is_template(o: Object) -> bool:
    return o["kind"] == "ConfigMap" and "pod-template.json" in o["data"]


def difference(before: Leaves, after: Leaves) -> str:
    """A line for each leaf that is gone, new or another; one for an object that is gone as a whole."""
    lines = [f"- {name}" for name in before.keys() - after.keys()]
    for name, new in after.items():
        old = before.get(name, {})
        lines += [f"- {name}{path}: {old[path]!r}" for path in old.keys() - new.keys()]
        lines += [f"+ {name}{path}: {new[path]!r}" for path in new.keys() - old.keys()]
        changed = (path for path in old.keys() & new.keys() if old[path] != new[path])
        lines += [f"! {name}{path}: {old[path]!r} -> {new[path]!r}" for path in changed]
    return "".join(f"{line}\n" for line in sorted(lines, key=lambda line: line[2:]))


@pytest.mark.parametrize("site", SITES)
def test_a_site_changes_what_its_file_says(site: str) -> None:
    objects = of_site(site)
    found = difference(leaves(rendered("default")), leaves(objects))
    golden = SITES[site].with_suffix(".diff")
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(found)
    assert found == golden.read_text()
    faults = {fault.split(": ")[-1] for _, pod in pods(objects) for fault in violations(pod)}
    assert faults == EXPECTED_VIOLATIONS.get(site, set())


def test_an_added_object_is_taken_as_it_is_and_a_text_as_a_template() -> None:
    annotations = {"summary": "{{ $labels.namespace }} is slow"}
    added = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "literal", "annotations": annotations}}
    text = 'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: "{{ .Release.Name }}-evaluated"}\n'
    objects = render({"extraObjects": [added, text]})
    assert named(objects, "ConfigMap", "literal") == added
    assert named(objects, "ConfigMap", "rel-evaluated")
