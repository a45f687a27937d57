"""A migration that takes long is no loop that hangs: the probe must not end it in the middle, again and again."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from codebase_operator import reconciler


async def test_a_long_migration_gives_signs_of_life_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconciler, "LIVENESS_INTERVAL", 0.01)
    signs, ended = list[None](), asyncio.Event()

    def mark_alive() -> None:
        signs.append(None)
        if len(signs) == 3:
            ended.set()

    async def migrate(namespace: str) -> list[str]:
        await ended.wait()
        return [namespace]

    parts = SimpleNamespace(
        _database=SimpleNamespace(migrate=migrate),
        _namespace="code",
        _cache=SimpleNamespace(mark_alive=mark_alive),
    )
    migrated = asyncio.wait_for(reconciler.ReconcileLoop._migrate(cast(Any, parts)), 30)
    assert await migrated == ["code"]
