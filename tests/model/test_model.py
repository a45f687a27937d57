"""Random lives. The search is the same in every run, unless CODEBASE_MODEL_EXAMPLES asks for so many random ones
(`make test-model EXAMPLES=2000`).
"""

import logging
import os

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.model.harness import Bench
from tests.model.job_lifecycle import JobLifecycle

EXAMPLES = int(os.environ.get("CODEBASE_MODEL_EXAMPLES") or 0)
FIND_ONLY = "CODEBASE_MODEL_FIND_ONLY" in os.environ
"""For the mutants: that something is found is enough, the smallest example is of no interest."""


def test_nothing_is_lost_in_any_order_of_faults(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)  # thousands of refusals that are meant
    JobLifecycle.bench = bench
    phases = [Phase.generate] if FIND_ONLY else [Phase.generate, Phase.shrink]
    run_state_machine_as_test(
        JobLifecycle,
        settings=settings(
            max_examples=EXAMPLES or 100, derandomize=not EXAMPLES, database=None, stateful_step_count=30,
            deadline=None, phases=phases, print_blob=False,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
        ),
    )  # fmt: skip
