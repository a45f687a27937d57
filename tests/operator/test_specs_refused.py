"""What no spec may hold: refused by the model and by the CRD alike, and a job that has it hurts no other."""

import re
from dataclasses import replace
from typing import Any

import jsonschema
import pytest
from kubernetes.aio import client
from pydantic import ValidationError

from codebase_index.api import crd
from codebase_index.api.job import ErrorType
from codebase_index.api.resource import IndexingJobSpec, problem_of
from codebase_index.api.shapes import python_pattern
from codebase_operator.model.actions import Admit, DeleteJob, EnsureRow, Fail, WriteStatus
from codebase_operator.model.snapshot import Job
from codebase_operator.planning.lifecycle import RETENTION
from codebase_operator.planning.planner import plan
from codebase_operator.reporting.status import completed_mirror
from tests.fixtures.specs import HOSTILE, ORDINARY, Spec
from tests.operator.builders import NOW, finished, job, row, snapshot
from tests.operator.harness import Bench
from tests.operator.wiring.environment import Cluster

every_hostile = pytest.mark.parametrize("claim", HOSTILE)
every_ordinary = pytest.mark.parametrize("claim", ORDINARY)


def in_python(node: Any) -> Any:
    """The CRD's schema with its patterns in Python's dialect, in which `$` also comes before a last line end."""
    if isinstance(node, dict):
        return {
            key: python_pattern(value)[:-1] + r"\Z" if key == "pattern" else in_python(value)
            for key, value in node.items()
        }
    return [in_python(child) for child in node] if isinstance(node, list) else node


SCHEMA = jsonschema.Draft202012Validator(in_python(crd.structural(IndexingJobSpec)))


@every_ordinary
def test_the_model_and_the_schema_take_what_is_ordinary(claim: str) -> None:
    IndexingJobSpec.model_validate(ORDINARY[claim])
    SCHEMA.validate(ORDINARY[claim])


@every_hostile
def test_the_model_refuses_it_and_says_what_is_allowed(claim: str) -> None:
    with pytest.raises(ValidationError) as refused:
        IndexingJobSpec.model_validate(HOSTILE[claim][0])
    said = problem_of(refused.value)
    assert re.match(r"spec\.[\w.]+ (must|the |Input should|String should|List should)", said), said
    assert said.isprintable()


@every_hostile
def test_the_schema_refuses_what_it_can_and_leaves_the_rest_to_a_rule(claim: str) -> None:
    spec, door = HOSTILE[claim]
    assert SCHEMA.is_valid(spec) is (door != "schema")


@pytest.mark.parametrize("shape", sorted({
    node["pattern"] for node in [*crd.structural(IndexingJobSpec)["properties"].values()] if "pattern" in node
}))  # fmt: skip
def test_patterns_are_anchored_at_both_ends(shape: str) -> None:
    assert shape.startswith("^") and shape.endswith("$")


def strings(node: dict[str, Any], path: str) -> list[str]:
    """Paths of the strings that any text would fit into."""
    found = [path] if node.get("type") == "string" and not {"pattern", "enum", "format"} & node.keys() else []
    for name, child in node.get("properties", {}).items():
        found += strings(child, f"{path}.{name}")
    return found + (strings(node["items"], f"{path}[]") if "items" in node else [])


def test_every_string_of_the_spec_has_a_shape() -> None:
    assert strings(crd.structural(IndexingJobSpec), "spec") == []


def stored(spec: Spec) -> Job:
    """A job that is in the cluster whatever the schema says today: it was stored before."""
    meta = {"name": "old", "namespace": "ns", "uid": "5f0c2ab3-4d5e-4f70-9f6a-0123456789ab"}
    return Job.parse({"metadata": {**meta, "creationTimestamp": "2026-05-01T11:00:00Z"}, "spec": spec})


@every_hostile
def test_a_stored_job_that_has_it_fails_alone(claim: str) -> None:
    bad, good = stored(HOSTILE[claim][0]), job("good")
    actions = plan(snapshot(bad, good, without_row=[good]))
    assert [a.job.name for a in actions if isinstance(a, EnsureRow | Admit)] == ["good", "good"]
    (status,) = [a.status for a in actions if isinstance(a, WriteStatus) and a.job is bad]
    assert (status.phase, status.reason) == ("Failed", "InvalidSpec")
    assert status.message and status.message.isprintable()
    assert "delete this job and create a corrected one" in status.message


def test_a_stored_job_that_runs_already_is_ended_with_its_reason() -> None:
    bad = stored(HOSTILE["a name with a NUL"][0])
    running = row(job("old"), "running", 1, slot=True).model_copy(update={"id": bad.id})
    (fail,) = [a for a in plan(snapshot(bad, rows=[running])) if isinstance(a, Fail)]
    assert (fail.error, fail.attempt) == (ErrorType.INVALID_SPEC, 1)


async def test_with_real_cycles_the_others_go_on(bench: Bench) -> None:
    """Postgres refuses a NUL, which once ended the pass for everybody."""
    for number, claim in enumerate(("a name with a NUL", "a path with a NUL", "a glob with a NUL", "two sources")):
        bench.server.create_job(f"bad-{number}", **HOSTILE[claim][0])
    bench.server.create_job("good")
    await bench.settle()
    assert set(bench.server.pods) == {"good-a1"}
    for number in range(4):
        assert bench.status(f"bad-{number}")["reason"] == "InvalidSpec"
    assert bench.status("good")["phase"] == "Pending"


@pytest.mark.cluster
async def test_the_api_server_agrees(cluster: Cluster) -> None:
    """One test for all: a namespace for each would take minutes."""
    taken, refused = [], []
    for claim, (spec, door) in HOSTILE.items():
        if door == "model":
            continue
        try:
            await cluster.create("hostile", **spec)
        except client.ApiException as error:
            assert error.status == 422, (claim, error)
        else:
            taken.append(claim)
            await cluster.delete("hostile")
    for number, (claim, spec) in enumerate(ORDINARY.items()):
        try:
            await cluster.create(f"ordinary-{number}", **spec)
        except client.ApiException as error:
            refused.append((claim, error.body))
    assert (taken, refused) == ([], [])


def told(mirror: Job) -> Job:
    """The same job with every condition that this release writes."""
    return replace(mirror, status=completed_mirror(mirror, NOW) or mirror.status)


@pytest.mark.parametrize("written", [True, False], ids=["told already", "not told yet"])
@pytest.mark.parametrize("url", [
    "https://h.example/a?x=1", "https://h.example/a#x", "https://h_1.example/a", "ssh://a%40b@h.example/a",
])  # fmt: skip
def test_a_stored_job_that_was_completed_stays_so(url: str, written: bool) -> None:
    old = stored({"source": {"git": {"url": url}}})
    assert old.spec is None and old.problem
    mirror = told(finished(old, ended=5)) if written else old
    actions = plan(snapshot(mirror, rows=[row(job("old"), "completed", 1).model_copy(update={"id": old.id})]))
    phases = [a.status.phase for a in actions if isinstance(a, WriteStatus)]
    assert phases == ([] if written else ["Completed"])
    assert [a for a in actions if isinstance(a, Fail)] == []


def test_a_stored_job_goes_in_its_time_and_when_it_is_deleted() -> None:
    old = stored({"source": {"git": {"url": "https://h.example/a?x=1"}}})
    late = finished(old, ended=RETENTION.total_seconds() + 1)
    assert [a for a in plan(snapshot(late)) if isinstance(a, DeleteJob)]
    assert plan(snapshot(replace(finished(old), deleting=True))) == []
