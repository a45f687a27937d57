"""The chart, rendered with helm as a whole: what is in it, and that helm has nothing to say.

Two renderings are compared whole with files in data/: a changed object is visible in review. After a change that
is meant, `UPDATE_GOLDEN=1 python -m pytest tests/unit/chart/test_chart.py` writes the files anew.
"""

import copy
import json
import os

import pytest

from tests.unit.chart.rendering import CASES, CRD, DATA, call, every_case, of_kind, render, rendered

GOLDEN = {"default": "chart_default.json", "everything": "chart_everything.json"}


@pytest.mark.parametrize("case", GOLDEN)
def test_all_objects_are_those_of_the_file(case: str) -> None:
    objects = [o for o in rendered(case) if o["kind"] != "CustomResourceDefinition"]
    path = DATA / GOLDEN[case]
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(json.dumps(objects, indent=1) + "\n")
    assert objects == json.loads(path.read_text())


@every_case
def test_lint_has_nothing_to_say(case: str) -> None:
    done = call("lint", "--strict", values=CASES[case])
    assert done.returncode == 0, done.stdout + done.stderr


@every_case
def test_objects_have_names_of_their_own_and_all_namespaced_ones_a_namespace(case: str) -> None:
    objects = rendered(case)
    names = [(o["kind"], o["metadata"]["name"]) for o in objects]
    assert len(names) == len(set(names))
    of_the_cluster = {
        "CustomResourceDefinition", "PriorityClass", "ClusterRole",
        "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding",
    }  # fmt: skip
    assert all((o["kind"] in of_the_cluster) != (o["metadata"].get("namespace") == "ns") for o in objects)


def test_a_second_release_shares_no_object_of_the_cluster() -> None:
    switched_on = {"rbac": {"aggregateClusterRoles": True}, "admissionPolicies": {"enabled": True}}
    values = {"crds": {"enabled": False}, **switched_on}
    here, there = (
        {o["metadata"]["name"] for o in render(values, namespace=name) if "namespace" not in o["metadata"]}
        for name in ("ns", "other")
    )
    assert len(here) == len(there) == 5  # two ClusterRoles, the PriorityClass, two policies with their bindings
    assert not here & there


def test_the_definition_is_the_generated_file_and_kept_by_default() -> None:
    (kept,) = of_kind(rendered("default"), "CustomResourceDefinition")
    assert kept["metadata"].pop("annotations")["helm.sh/resource-policy"] == "keep"
    expected = copy.deepcopy(CRD)
    expected["metadata"].pop("annotations", None)
    assert kept == expected
    assert of_kind(rendered("everything"), "CustomResourceDefinition") == [CRD]
    assert not of_kind(rendered("nothing optional"), "CustomResourceDefinition")


@pytest.mark.parametrize(
    ("kubernetes", "selectable"), [("1.29.0", False), ("1.30.0", True), ("1.31.2-gke.1", True)]
)
def test_a_kubernetes_is_given_no_field_that_it_does_not_know(kubernetes: str, selectable: bool) -> None:
    (definition,) = of_kind(render(CASES["default"], kubernetes=kubernetes), "CustomResourceDefinition")
    assert ["selectableFields" in version for version in definition["spec"]["versions"]] == [selectable]
