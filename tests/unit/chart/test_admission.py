"""Admission policies: each pod that the operator makes passes, and what an intruder would make does not."""

import copy
import functools
from typing import Any

import pytest

from tests.support import admission as samples
from tests.support.admission import VALUES, changed, pods_of_the_operator
from tests.unit.chart.admission import denials
from tests.unit.chart.rendering import CASES, Object, every_case, named, of_kind, render

OPERATOR = "system:serviceaccount:ns:rel-codebase-mcp-operator"
ON: Object = {"admissionPolicies": {"enabled": True}}


@functools.cache
def _rendered() -> list[Object]:
    return render(VALUES)


def policy(name: str) -> Object:
    return named(_rendered(), "ValidatingAdmissionPolicy", f"ns-rel-codebase-mcp-{name}")


def resource(spec: Object) -> Object:
    """A job as the API server completes it."""
    return {"spec": {"priority": 0, "parallelism": 1, "embedding": {"provider": "static"}, **spec}}


@pytest.fixture(scope="module")
def private_pod() -> Object:
    return pods_of_the_operator(_rendered())[-1]


@pytest.mark.parametrize("what", samples.ALLOWED_JOBS)
def test_a_job_within_the_limits_is_made(what: str) -> None:
    assert denials(policy("jobs"), resource(samples.ALLOWED_JOBS[what])) == []


@pytest.mark.parametrize("what", samples.REFUSED_JOBS)
def test_a_job_beyond_them_is_refused_with_the_field_that_is(what: str) -> None:
    spec, words = samples.REFUSED_JOBS[what]
    (message,) = denials(policy("jobs"), resource(spec))
    assert message.startswith(words)


def test_a_job_from_before_the_limits_keeps_what_it_has_and_gets_no_more() -> None:
    before = resource(samples.OLD_JOB)

    def after(change: Object) -> list[str]:
        return denials(policy("jobs"), {"spec": {**before["spec"], **change}}, before=before)

    assert [after(change) for change in samples.ALLOWED_CHANGES.values()] == [[], [], []]
    for change, words in samples.REFUSED_CHANGES.values():
        (message,) = after(change)
        assert message.startswith(words)


@every_case
def test_every_pod_that_the_operator_makes_passes(case: str) -> None:
    objects = render({**CASES[case], **ON})
    policies = of_kind(objects, "ValidatingAdmissionPolicy")
    (found,) = [o for o in policies if o["metadata"]["name"].endswith("-pods")]
    user = found["spec"]["matchConditions"][0]["expression"].split('"')[1]
    pods = pods_of_the_operator(objects)
    if case == "everything":  # its jobs may name two Secrets
        pods[-1]["spec"]["volumes"][-1]["secret"]["secretName"] = "two"
    if case == "folders alone":  # there, none
        del pods[-1]
    assert [denials(found, pod, user) for pod in pods] == [[]] * len(pods)


@pytest.mark.parametrize("what", samples.ALLOWED_PODS)
def test_what_a_cluster_adds_to_a_pod_passes(what: str, private_pod: Object) -> None:
    assert denials(policy("pods"), changed(private_pod, samples.ALLOWED_PODS[what]), OPERATOR) == []


@pytest.mark.parametrize("what", samples.REFUSED_PODS)
def test_the_operators_account_makes_no_other_pod(what: str, private_pod: Object) -> None:
    change, words = samples.REFUSED_PODS[what]
    pod = changed(private_pod, change)
    refused = denials(policy("pods"), pod, OPERATOR)
    assert any(words in message for message in refused), refused
    assert denials(policy("pods"), pod, "somebody else") == []


@pytest.mark.parametrize(("allowed", "passes"), [(["shop-git"], True), (["other"], False), ([], False)])
def test_where_the_values_name_the_secrets_for_git_there_are_no_others(allowed: list[str], passes: bool) -> None:
    values: dict[str, Any] = copy.deepcopy(VALUES)
    values["repositories"]["gitSecrets"] = allowed
    objects = render(values)
    name = "ns-rel-codebase-mcp-"
    pods, jobs = (named(objects, "ValidatingAdmissionPolicy", f"{name}{what}") for what in ("pods", "jobs"))
    wanted = resource(samples.ALLOWED_JOBS["with a Secret"])
    assert (denials(jobs, wanted) == []) is passes
    assert (denials(pods, pods_of_the_operator(objects)[-1], OPERATOR) == []) is passes


def test_they_act_in_the_namespace_of_the_release_alone_and_where_kubernetes_has_them() -> None:
    bindings = of_kind(_rendered(), "ValidatingAdmissionPolicyBinding")
    selectors = [binding["spec"]["matchResources"]["namespaceSelector"]["matchLabels"] for binding in bindings]
    assert selectors == [{"kubernetes.io/metadata.name": "ns"}] * 2
    assert all(binding["spec"]["policyName"] == binding["metadata"]["name"] for binding in bindings)
    assert not of_kind(render(VALUES, kubernetes="1.29.9"), "ValidatingAdmissionPolicy")
    assert not of_kind(render({"postgres": {"existingSecret": "own"}}), "ValidatingAdmissionPolicy")
