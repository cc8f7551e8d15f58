"""Lists everything now and then and repairs the view: watches can lose deletions.

After a list of its own a watch tells nothing of what vanished meanwhile, and neither does the time
between our first list and the start of the watches: hence one early repeat, then one every ten
minutes, never two operators in step. What differed is counted and its readers are woken.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable

from trimtab.cluster.port import OWN_KINDS
from trimtab.errors import Refused, RetryLater
from trimtab.reconcile.machine import observability
from trimtab.reconcile.machine.cache import Change, key_of
from trimtab.reconcile.machine.engine import Engine
from trimtab.reconcile.machine.queue import BackOff
from trimtab.reconcile.machine.watched import watched

logger = logging.getLogger(__name__)

EARLY_REPEAT_SECONDS = 30.0
EVERY_SECONDS = 600.0
SPREAD = 0.2
FIRST_LIST_BACK_OFF = BackOff(first=1.0, most=30.0)


class Resync:
    """The first list and its repeats."""

    def __init__(
        self,
        engine: Engine,
        *,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._chance = chance
        self.listed_at: float | None = None
        """When everything was last listed, by the clock; None before the first time."""

    async def list_first(self) -> None:
        """List everything, however often that fails, and ask for a pass over all our objects."""
        failures = 0
        while True:
            try:
                await self._list_all()
                break
            except (RetryLater, Refused) as error:
                failures += 1
                wait = FIRST_LIST_BACK_OFF.seconds(failures, self._chance())
                logger.warning("first list: %s; again in %.0f s", error, wait)
                await asyncio.sleep(wait)
        cache = self._engine.world.cache
        for resource in OWN_KINDS:
            for obj in cache.all(resource):
                self._engine.queue.add(key_of(resource, obj))

    async def run(self) -> None:
        """Repeat until cancelled."""
        await asyncio.sleep(EARLY_REPEAT_SECONDS)
        while True:
            try:
                await self.repair()
            except (RetryLater, Refused) as error:
                logger.warning("list: %s", error)
            await asyncio.sleep(EVERY_SECONDS * (1 + SPREAD * (2 * self._chance() - 1)))

    async def repair(self) -> int:
        """List, take in what differs, wake its readers; return how much differed."""
        changes = await self._list_all()
        for change in changes:
            observability.REPAIRS.labels(change.resource.plural).inc()
            self._engine.on_change(change)
        if changes:
            logger.info("the view of %d objects was repaired", len(changes))
        return len(changes)

    async def _list_all(self) -> list[Change]:
        cache = self._engine.world.cache
        changes: list[Change] = []
        for resource in watched():
            before = cache.keys(resource)
            listed = await self._engine.world.cluster.list(resource)
            changes += cache.replace(resource, listed, before)
            observability.CACHED_OBJECTS.labels(resource.plural).set(len(cache.keys(resource)))
        self.listed_at = self._clock()
        observability.RESYNC_TIMESTAMP.set_to_current_time()
        return changes
