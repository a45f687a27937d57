"""Dividing a sequence by the size of its items. Pure."""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def grouped(items: Iterable[T], size: Callable[[T], int], limit: int) -> Iterator[list[T]]:
    """Divide items into consecutive groups of at most `limit` together; a larger item is alone."""
    group: list[T] = []
    room = limit
    for item in items:
        if group and size(item) > room:
            yield group
            group, room = [], limit
        group.append(item)
        room -= size(item)
    if group:
        yield group
