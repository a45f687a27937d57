"""What a job says, and how much it takes on at once."""

from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codebase_index.api.job import JobState, Phase
from codebase_index.store.ingest.batch import WorkItem
from codebase_index.store.jobs.rows import JobRow
from codebase_indexer.pipeline.pipeline import MAX_BATCH_FILES, Concurrency, by_bytes, plan_concurrency
from codebase_indexer.progress import messages
from codebase_indexer.progress.messages import Throughput
from codebase_indexer.progress.reporter import ProgressReporter

JOB = JobRow(
    id=UUID(int=1), namespace="n", cr_name="j", target="t", source="/repos/app", ref=None, name=None,
    state=JobState.RUNNING, attempt=1, failures=0, slot=True, pod="p", claimed_at=None, done_at_claim=0,
    phase="embedding", percent=10, message="",
    queue_position=None, commit=None, files_total=15_000, files_indexed=7_200, files_skipped=0,
    chunks_created=40_112, files_repeated=0, eta_seconds=None, error_type=None, error_message=None,
    blocked_since=None, created_at=datetime.now(UTC), started_at=None, heartbeat_at=None, completed_at=None,
    cancelled_at=None, arrival=1,
)  # fmt: skip


def job_with(**fields: int) -> JobRow:
    return JOB.model_copy(update=fields)


def test_the_message_of_the_contract() -> None:
    now = messages.indexing(JOB, 60, Throughput(7_200, 72))
    assert now.message == "Embedding: 7,200 of 15,000 files, 40,112 chunks; chunking 60 files ahead"
    assert now.phase == Phase.EMBEDDING
    assert now.percent == pytest.approx(10 + 80 * 0.48)
    assert now.eta_seconds == 78


def test_scanning_says_how_many_files_it_found() -> None:
    assert messages.scanning(1600, 3200).message == "Scanning: 3,200 files found"
    assert messages.opening("/repos/app", fetch=False).message == "Scanning: opening /repos/app"


def test_skipped_files_are_not_among_those_to_index() -> None:
    now = messages.indexing(job_with(files_total=100, files_skipped=20, files_indexed=40), 1, Throughput(0, 0))
    assert now.message.startswith("Embedding: 40 of 80 files")
    assert now.percent == 50
    assert now.eta_seconds is None


def test_the_end_names_what_was_skipped_and_why() -> None:
    job = job_with(files_indexed=1200, files_skipped=12, chunks_created=9000)
    stage_seconds = {"scanning": 0.52, "writing": 1234.0}
    assert messages.complete(job, {"binary": 9, "empty": 3}, messages.SweepResult(2, 5), stage_seconds) == (
        "Complete: 1,200 files indexed, 9,000 chunks, 12 skipped (9 binary, 3 empty), 2 deleted files removed, "
        "5 unreadable files kept as they were; scanning 0.5 s, writing 1,234.0 s"
    )


def test_the_end_names_what_was_decoded_and_redacted() -> None:
    job = job_with(files_indexed=9, files_transcoded=2, secrets_redacted=1)
    said = messages.complete(job, {}, messages.SweepResult(), {})
    assert ", 2 decoded from other encodings than UTF-8, 1 secrets redacted;" in said


def test_rare_reasons_are_summed_up() -> None:
    counts = {"a": 5, "b": 4, "c": 3, "d": 2, "e": 1, "f": 1}
    assert messages.reasons(counts) == "5 a, 4 b, 3 c, 2 d, 2 for other reasons"


def test_a_blocked_job_says_what_it_waits_for() -> None:
    reporter = ProgressReporter(describe=lambda job: messages.writing(0, "x"))
    reporter.blocked_reason = "Waiting for the embedding service"
    assert reporter.current(JOB).message == "Waiting for the embedding service"
    assert reporter.current(JOB).phase == Phase.WRITING


@given(st.integers(0, 20_000), st.integers(0, 20_000), st.integers(0, 20_000))
def test_each_phase_keeps_to_its_part_of_the_scale(total: int, indexed: int, skipped: int) -> None:
    job = job_with(files_total=total, files_indexed=min(indexed, total), files_skipped=min(skipped, total))
    assert 0 <= messages.scanning(min(indexed, total), total).percent <= 10
    assert 10 <= messages.indexing(job, 0, Throughput(1, 1)).percent <= 90
    assert 90 <= messages.writing(0.5, "x").percent < 100


FILES, WORKERS, PODS = st.integers(0, 200_000), st.integers(1, 64), st.integers(1, 16)


@given(FILES, WORKERS, PODS, st.integers(0, 3_000))
def test_what_is_in_flight_stays_under_one_percent(files: int, processes: int, pods: int, repeated: int) -> None:
    flight = plan_concurrency(files, processes, pods, repeated)
    assert flight.lanes >= 1
    assert 1 <= flight.batch_files <= MAX_BATCH_FILES
    in_flight = flight.lanes * flight.batch_files
    assert in_flight == 1 or in_flight * pods < files / 100


@given(FILES, WORKERS, PODS, st.integers(1, 40))
def test_crashes_share_one_percent(files: int, processes: int, pods: int, crashes: int) -> None:
    repeated = 0
    for _ in range(crashes):
        flight = plan_concurrency(files, processes, pods, repeated)
        repeated += flight.lanes * flight.batch_files * pods  # all of it is lost, in all pods
    # When nothing is left of it, a crash costs each pod one file.
    assert repeated <= max(0, files - 1) // 100 + crashes * pods


def test_a_large_repository_keeps_every_process_busy() -> None:
    flight = plan_concurrency(15_000, processes=2)
    assert (flight.lanes, flight.batch_files) == (3, 32)
    assert plan_concurrency(15_000, processes=2, repeated=80).batch_files == 5
    assert plan_concurrency(15_000, processes=2, repeated=148) == Concurrency(lanes=1, batch_files=1)


@given(st.lists(st.integers(0, 3_000_000), max_size=60))
def test_groups_hold_every_file_in_order_within_the_limit(sizes: list[int]) -> None:
    items = [WorkItem(i, f"f{i}", size) for i, size in enumerate(sizes)]
    groups = list(by_bytes(items, 1_000_000))
    assert [item for group in groups for item in group] == items
    assert all(len(g) == 1 or sum(item.size for item in g) <= 1_000_000 for g in groups)
