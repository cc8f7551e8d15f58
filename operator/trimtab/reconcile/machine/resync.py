"""Lists what is watched, and repairs the view: watches can lose deletions.

A watch begins with a list of its own, also when it comes back after the server forgot where it was
(410), and tells nothing of what vanished before. So a kind is listed by us whenever its watches
have listed it, and everything is once every ten minutes, never two operators in step. What differed
is counted and its readers are woken. Passes begin when that has happened for every kind: what is
known then is kept up to date.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Collection, Iterable, Sequence

from trimtab.api.resource import Resource
from trimtab.cluster.port import OWN_KINDS
from trimtab.errors import Refused, RetryLater
from trimtab.reconcile.machine import observability
from trimtab.reconcile.machine.cache import Change, key_of
from trimtab.reconcile.machine.engine import Engine
from trimtab.reconcile.machine.queue import BackOff
from trimtab.reconcile.machine.watched import watched

logger = logging.getLogger(__name__)

EVERY_SECONDS = 600.0
SPREAD = 0.2
BACK_OFF = BackOff(first=1.0, most=30.0)
AT_MOST_EVERY_SECONDS = 1.0
"""A kind is listed, however often its watches break."""
ALL_NAMESPACES = ""


class Resync:
    """The first list of each kind, and its repeats."""

    def __init__(
        self,
        engine: Engine,
        *,
        namespaces: Sequence[str] = (),
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """namespaces: those that are watched one by one; none: all are watched as one."""
        self._engine = engine
        self._clock = clock
        self._chance = chance
        self._awaited = {
            (resource, namespace)
            for resource in watched()
            for namespace in namespaces or (ALL_NAMESPACES,)
        }
        """Watches that have not begun yet."""
        self._behind = set(watched())
        """Kinds that were not listed since all of their watches began."""
        self._due: set[Resource] = set()
        self._something = asyncio.Event()
        self.caught_up = asyncio.Event()
        """Whether every kind was listed since its watches began."""
        self.is_of_leader = False
        """Whether this process led already when it began to list."""
        self.listed_at: float | None = None
        """When everything was last listed, by the clock; None before the first time."""

    def on_watch(self, resource: Resource, namespace: str = ALL_NAMESPACES) -> None:
        """A watch has listed, and tells of changes from now on."""
        self._awaited.discard((resource, namespace))
        self.list_soon(resource)

    def list_soon(self, resource: Resource) -> None:
        """List a kind at once: what is known of it has proven old."""
        self._due.add(resource)
        self._something.set()

    async def run(self) -> None:
        """List what is due until cancelled, however often that fails."""
        again = self._next_repeat()
        while True:
            await self._until(again if self.caught_up.is_set() else None)
            if not self._due:
                again = self._next_repeat()
                self._due |= set(watched())
            due, self._due = self._due, set()
            await self._repaired(due)
            if self.caught_up.is_set():
                await asyncio.sleep(AT_MOST_EVERY_SECONDS)

    async def anew(self) -> None:
        """List everything, however often that fails.

        Who has waited for the Lease may have heard nothing of what the leader before it wrote last.
        """
        await self._repaired(watched())

    async def _repaired(self, kinds: Collection[Resource]) -> None:
        """Repair what is known of these kinds, however often that fails."""
        failures = 0
        while True:
            try:
                await self.repair(kinds)
                return
            except (RetryLater, Refused) as error:
                failures += 1
                wait = BACK_OFF.seconds(failures, self._chance())
                logger.warning("list: %s; again in %.0f s", error, wait)
                await asyncio.sleep(wait)

    async def _until(self, again: float | None) -> None:
        """Wait until a kind is due, or until `again` by the clock."""
        self._something.clear()
        if self._due:
            return
        try:
            async with asyncio.timeout(None if again is None else max(0.0, again - self._clock())):
                await self._something.wait()
        except TimeoutError:
            return

    def _next_repeat(self) -> float:
        return self._clock() + EVERY_SECONDS * (1 + SPREAD * (2 * self._chance() - 1))

    async def repair(self, kinds: Iterable[Resource] | None = None) -> int:
        """List these kinds, or all; take in what differs, wake its readers; return how much."""
        wanted = set(watched() if kinds is None else kinds)
        repaired = 0
        for resource in watched():
            if resource in wanted:
                repaired += await self._list(resource)
        if wanted.issuperset(watched()):
            self._all_listed()
        if repaired:
            logger.info("the view of %d objects was repaired", repaired)
        return repaired

    async def _list(self, resource: Resource) -> int:
        """List a kind; the first time is no repair."""
        is_first = resource in self._behind
        if self.listed_at is None and len(self._behind) == len(watched()):
            self.is_of_leader = self._engine.is_allowed
        is_watched = all(resource != other for other, _ in self._awaited)
        changes = await self._take_in(resource)
        for change in changes:
            self._engine.on_change(change)
            if not is_first:
                observability.REPAIRS.labels(resource.plural).inc()
        if is_first and is_watched:
            self._catch_up(resource)
        return 0 if is_first else len(changes)

    async def _take_in(self, resource: Resource) -> list[Change]:
        cache = self._engine.world.cache
        before = cache.keys(resource)
        listed = await self._engine.world.cluster.list(resource)
        changes = cache.replace(resource, listed, before)
        observability.CACHED_OBJECTS.labels(resource.plural).set(len(cache.keys(resource)))
        return changes

    def _catch_up(self, resource: Resource) -> None:
        """Ask for a pass over all objects of ours once everything is known."""
        self._behind.discard(resource)
        if self._behind or self.caught_up.is_set():
            return
        cache = self._engine.world.cache
        for own in OWN_KINDS:
            for obj in cache.all(own):
                self._engine.queue.add(key_of(own, obj))
        self._all_listed()
        self.caught_up.set()

    def _all_listed(self) -> None:
        self.listed_at = self._clock()
        observability.RESYNC_TIMESTAMP.set_to_current_time()
