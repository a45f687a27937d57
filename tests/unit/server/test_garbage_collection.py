"""Full garbage collections of the server: what survives one is left out of the next, and cycles still go."""

import asyncio
import gc
import weakref

import pytest

from codebase_mcp import garbage_collection


class Node:
    """A part of a cycle."""

    def __init__(self) -> None:
        self.itself = self


async def test_what_is_kept_is_looked_at_once_and_cycles_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(garbage_collection, "INTERVAL_SECONDS", 0.01)
    before = gc.get_threshold()
    async with garbage_collection.periodic_collection():
        await asyncio.sleep(0.05)
        kept = gc.get_freeze_count()
        assert kept > 1000
        assert gc.get_threshold()[:2] == before[:2]
        assert gc.get_threshold()[2] > 1000 * before[2]
        await _gone(weakref.ref(Node()))
    assert gc.get_threshold() == before
    assert gc.get_freeze_count() == 0


async def test_a_cycle_that_was_in_use_goes_when_all_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(garbage_collection, "INTERVAL_SECONDS", 0.01)
    monkeypatch.setattr(garbage_collection, "COLLECTIONS_PER_FULL_SCAN", 20)
    async with garbage_collection.periodic_collection():
        node = Node()
        seen = weakref.ref(node)
        await asyncio.sleep(0.05)  # it is left out now
        del node
        gc.collect()
        assert seen() is not None
        await _gone(seen)


async def _gone(seen: "weakref.ref[Node]") -> None:
    """Wait until it is; a busy machine may take its time."""
    for _ in range(6_000):
        if seen() is None:
            return
        await asyncio.sleep(0.01)
    raise AssertionError("the cycle is still there")
