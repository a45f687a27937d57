"""Waiting for what a test claims, with a bound."""

import time
from collections.abc import Callable
from typing import Any

PATIENCE = 90  # seconds until a hang is a hang


def wait_for(condition: Callable[[], Any], claim: str, patience: float | None = None, every: float = 0.2) -> Any:
    """Wait until a claim holds, and return its value; fail with it after `patience` seconds, or else PATIENCE."""
    patience = PATIENCE if patience is None else patience
    deadline = time.monotonic() + patience
    while not (value := condition()):
        assert time.monotonic() < deadline, f"after {patience} s it does not hold that {claim}"
        time.sleep(every)
    return value
