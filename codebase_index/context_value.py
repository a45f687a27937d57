"""A context variable that has a value for a block."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

T = TypeVar("T")


@contextmanager
def set_for_block(variable: ContextVar[T], value: T) -> Iterator[None]:
    """Give the variable this value in the block, and in the tasks that it starts."""
    token = variable.set(value)
    try:
        yield
    finally:
        variable.reset(token)
