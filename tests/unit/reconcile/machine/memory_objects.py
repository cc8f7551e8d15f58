"""A store of checkpoints in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from trimtab.store.port import StoreAway


class MemoryObjects:
    """A store of checkpoints; `is_away` makes it fail, `is_stuck` makes it hang."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.writes = 0
        self.is_away = False
        self.is_stuck = False

    async def save(self, name: str, raw: Callable[[], bytes]) -> None:
        await self._answer()
        self.writes += 1
        self.objects[name] = raw()

    async def load(self, name: str) -> bytes | None:
        await self._answer()
        return self.objects.get(name)

    async def _answer(self) -> None:
        if self.is_stuck:
            await asyncio.Event().wait()
        if self.is_away:
            raise StoreAway("connection refused")
