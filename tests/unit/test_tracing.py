"""A trace's place is read strictly, goes on where it was, and is in every log line."""

import json
import logging

import pytest

from codebase_index import tracing
from codebase_index.logs import JsonFormatter
from codebase_index.trace_context import ANNOTATION, TraceContext
from codebase_operator.cluster.pods import indexer_pod
from codebase_operator.model.snapshot import Job
from codebase_operator.settings import PodTemplate
from tests.operator.builders import job

GIVEN = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def line() -> dict[str, object]:
    record = logging.makeLogRecord({"msg": "x", "levelname": "INFO"})
    return dict(json.loads(JsonFormatter("test").format(record)))


def test_what_is_written_is_read_again() -> None:
    assert str(TraceContext.parse(GIVEN)) == GIVEN


@pytest.mark.parametrize(
    "text",
    [None, 7, "", GIVEN.upper(), GIVEN + "\n", GIVEN.replace("00-4b", "01-4b"), "00-" + "0" * 32 + GIVEN[35:],
     GIVEN[:36] + "0" * 16 + "-01", GIVEN[:-3]],
)  # fmt: skip
def test_what_is_no_traceparent_is_none(text: object) -> None:
    assert TraceContext.parse(text) is None


def test_a_span_goes_on_with_the_trace_of_its_parent_and_says_so_in_the_log() -> None:
    with tracing.span("call", TraceContext.parse(GIVEN)):
        assert line()["trace_id"] == GIVEN[3:35]
        assert tracing.annotations() == {ANNOTATION: GIVEN}
    assert "trace_id" not in line() and tracing.annotations() == {}


def test_a_call_without_a_parent_begins_a_trace_of_its_own() -> None:
    seen = []
    for _ in range(2):
        with tracing.span("call"):
            outer = tracing.current()
            with tracing.span("within", TraceContext.parse(GIVEN)):
                assert tracing.current() == outer
            seen.append(str(outer))
    assert seen[0] != seen[1] and all(TraceContext.parse(text) for text in seen)


def test_a_pod_is_told_the_trace_of_its_job_and_of_no_invented_one() -> None:
    def variables(given: object) -> dict[str, str]:
        metadata = {"name": "a", "namespace": "ns", "uid": str(job("a").id), "resourceVersion": "1",
                    "creationTimestamp": "2026-01-01T00:00:00Z", "annotations": {ANNOTATION: given}}  # fmt: skip
        read = Job.parse({"metadata": metadata, "spec": {"source": {"path": "/srv/a"}}})
        (container,) = indexer_pod(read, 1, PodTemplate(image="i"))["spec"]["containers"]
        return {entry["name"]: entry.get("value", "") for entry in container["env"]}

    assert variables(GIVEN)["TRACEPARENT"] == GIVEN
    assert "TRACEPARENT" not in variables("$(CODEBASE_DATABASE_URL)")
