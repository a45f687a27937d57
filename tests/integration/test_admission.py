"""The chart's admission policies on the real API server, which judges objects without keeping them.

They stand in a namespace of their own, where no operator runs. tests/unit/chart/test_admission.py asks CEL's own
runtime about the same objects; what it cannot know is how the API server completes them before it judges.
"""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from codebase_index.api.job import GROUP, KIND, VERSION
from hack.deployment.commands import CommandFailed, kubectl
from tests.support import admission as samples
from tests.support.admission import changed, pods_of_the_operator
from tests.support.waiting import wait_for
from tests.unit.chart.rendering import Object, render

pytestmark = pytest.mark.cluster

NAMESPACE = "admission-policies"
OPERATOR = f"system:serviceaccount:{NAMESPACE}:rel-codebase-mcp-operator"
FIRST = {"ServiceAccount", "Role", "RoleBinding", "PriorityClass"}
POLICIES = {"ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"}


def resource(name: str, spec: Object) -> Object:
    metadata = {"name": name, "namespace": NAMESPACE}
    return {"apiVersion": f"{GROUP}/{VERSION}", "kind": KIND, "metadata": metadata, "spec": spec}


def simple(kind: str, name: str) -> Object:
    place = {} if kind == "Namespace" else {"namespace": NAMESPACE}
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name, **place}}


def apply(objects: list[Object]) -> None:
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=text)


def judged(o: Object, *arguments: str) -> str:
    """What the API server has against making an object; empty: nothing."""
    try:
        kubectl("create", "--dry-run=server", "-f", "-", *arguments, stdin=json.dumps(o))
    except CommandFailed as error:
        return str(error)
    return ""


@pytest.fixture(scope="module")
def chart(server: Any) -> Iterator[list[Object]]:
    """The chart's objects, with its policies in force. The release that `server` installs has the definition."""
    objects = render(samples.VALUES, namespace=NAMESPACE)
    apply([simple("Namespace", NAMESPACE)])
    try:
        apply([simple("ServiceAccount", "admin"), *(o for o in objects if o["kind"] in FIRST)])
        apply([resource("old", samples.OLD_JOB)])
        apply([o for o in objects if o["kind"] in POLICIES])
        refused = resource("new", samples.REFUSED_JOBS["a higher priority"][0])
        pod = changed(pods_of_the_operator(objects)[0], lambda pod: pod["spec"].update(hostPID=True))
        wait_for(lambda: judged(refused) and judged(of_namespace(pod), f"--as={OPERATOR}"), "the policies act")
        yield objects
    finally:
        kubectl("delete", "namespace", NAMESPACE, "--timeout=60s")
        for o in objects:
            if o["kind"] in POLICIES | {"PriorityClass"}:
                kubectl("delete", "--ignore-not-found", o["kind"], o["metadata"]["name"])


def of_namespace(pod: Object) -> Object:
    return changed(pod, lambda pod: pod["metadata"].update(namespace=NAMESPACE))


@pytest.fixture(scope="module")
def pods(chart: list[Object]) -> list[Object]:
    return [of_namespace(pod) for pod in pods_of_the_operator(chart)]


@pytest.mark.parametrize("what", samples.ALLOWED_JOBS)
def test_a_job_within_the_limits_is_made(what: str, chart: list[Object]) -> None:
    assert judged(resource("new", samples.ALLOWED_JOBS[what])) == ""


@pytest.mark.parametrize("what", samples.REFUSED_JOBS)
def test_a_job_beyond_them_is_refused_with_the_field_that_is(what: str, chart: list[Object]) -> None:
    spec, words = samples.REFUSED_JOBS[what]
    assert f"denied request: {words}" in judged(resource("new", spec))


def test_a_job_from_before_the_limits_keeps_what_it_has_and_gets_no_more(chart: list[Object]) -> None:
    def patch(change: Object) -> str:
        return kubectl(
            "patch",
            "ij",
            "old",
            "-n",
            NAMESPACE,
            "--type=merge",
            "--dry-run=server",
            "-p",
            json.dumps({"spec": change}),
        )

    for change in samples.ALLOWED_CHANGES.values():
        assert patch(change)
    for change, words in samples.REFUSED_CHANGES.values():
        with pytest.raises(CommandFailed, match=f"denied request: {words}"):
            patch(change)


def test_every_pod_that_the_operator_makes_passes(pods: list[Object]) -> None:
    assert [judged(pod, f"--as={OPERATOR}") for pod in pods] == [""] * len(pods)


@pytest.mark.parametrize("what", samples.ALLOWED_PODS)
def test_what_a_cluster_adds_to_a_pod_passes(what: str, pods: list[Object]) -> None:
    assert judged(changed(pods[-1], samples.ALLOWED_PODS[what]), f"--as={OPERATOR}") == ""


@pytest.mark.parametrize("what", samples.REFUSED_PODS)
def test_the_operators_account_makes_no_other_pod(what: str, pods: list[Object]) -> None:
    change, words = samples.REFUSED_PODS[what]
    pod = changed(pods[-1], change)
    assert words in judged(pod, f"--as={OPERATOR}")
    assert judged(pod) == ""  # by an administrator
