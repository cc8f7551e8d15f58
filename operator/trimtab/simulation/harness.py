"""Runs reconcilers against the cluster in memory: discrete events, one pass at a time.

Time jumps from one due thing to the next (a key, a pod, a Job, a ticker); at each moment passes
run until nothing is due. The same queue, cache and fan-out as in production decide who runs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from trimtab.api.resource import Resource
from trimtab.cluster.port import OWN_KINDS, Json, Key
from trimtab.errors import Refused, RetryLater, SpecError, TrimtabError
from trimtab.reconcile.machine.cache import Cache, Change, key_of
from trimtab.reconcile.machine.engine import Reconciler
from trimtab.reconcile.machine.interest import interested, interested_in_own_write
from trimtab.reconcile.machine.queue import WorkQueue
from trimtab.reconcile.machine.watched import watched
from trimtab.reconcile.machine.world import Settings, World
from trimtab.simulation.cluster import START, EventType, SimulatedCluster
from trimtab.simulation.jobs import JobController
from trimtab.simulation.kubelet import Kubelet

if TYPE_CHECKING:
    from trimtab.store.port import Store
    from trimtab.telemetry.port import Telemetry

MOST_PASSES_AT_ONCE = 500


@dataclass
class Ticker:
    """Something that happens at fixed intervals, such as traffic and a scrape."""

    every: timedelta
    callback: Callable[[], Awaitable[None]]
    due: datetime


class Harness:
    """One operator process after another on one simulated cluster."""

    def __init__(
        self,
        cluster: SimulatedCluster,
        reconcilers: Mapping[Resource, Reconciler],
        *,
        make_telemetry: Callable[[], Telemetry],
        make_store: Callable[[], Store],
        settings: Settings,
    ) -> None:
        self.cluster = cluster
        self.kubelet = Kubelet(cluster)
        self.jobs = JobController(cluster)
        self.reconcilers = reconcilers
        self.make_telemetry = make_telemetry
        self.make_store = make_store
        self.settings = settings
        self.tickers: list[Ticker] = []
        self.errors: list[tuple[datetime, Key, TrimtabError]] = []
        """What reconcilers raised; they were tried again."""
        self.passes: Counter[Key] = Counter()
        self.events_held = False
        """Watch events wait for `deliver`: passes see an old view but for their own writes."""
        self._held: list[tuple[EventType, Resource, Json]] = []
        self.loses: Callable[[Resource, Json], bool] = lambda resource, obj: False
        """Which watch events never come."""
        self.restart()

    def restart(self) -> None:
        """Start a new operator process: memory is empty, everything is listed and due."""
        self.cluster.forget_listeners()
        self._held.clear()
        self.queue = WorkQueue(self._clock, chance=lambda: 0.5)
        cache = Cache()
        cache.on_own_write = self._after_own_write
        self.world = World(
            cluster=self.cluster,
            cache=cache,
            telemetry=self.make_telemetry(),
            store=self.make_store(),
            settings=self.settings,
            enqueue=self.queue.add,
            now=self.cluster.now,
        )
        for resource in watched():
            for obj in self.cluster.find(resource):
                cache.take_in(resource, obj)
                if resource in OWN_KINDS:
                    self.queue.add(key_of(resource, obj))
        self.cluster.listen(self._on_event)

    def tick_every(self, seconds: float, callback: Callable[[], Awaitable[None]]) -> None:
        """Call back at fixed intervals from now on."""
        every = timedelta(seconds=seconds)
        self.tickers.append(Ticker(every, callback, self.cluster.time + every))

    def deliver(self) -> None:
        """Hand over the watch events that were held."""
        held, self._held = self._held, []
        for event in held:
            self._take(*event)

    async def settle(self) -> None:
        """Run what is due now until nothing is; AssertionError if that does not end."""
        for _ in range(MOST_PASSES_AT_ONCE):
            self.kubelet.step()
            self.jobs.step()
            key = self.queue.take()
            if key is None:
                return
            await self._run(key)
        raise AssertionError(f"still busy after {MOST_PASSES_AT_ONCE} passes: {self.passes}")

    async def advance(self, seconds: float) -> None:
        """Let that much time go by, stopping at everything that becomes due."""
        end = self.cluster.time + timedelta(seconds=seconds)
        await self.settle()
        while (moment := self._next_moment()) is not None and moment <= end:
            await self._jump(moment)
        self.cluster.time = end
        await self.settle()

    async def run_until(self, reached: Callable[[], bool], limit: float = 3600.0) -> float:
        """Let time go by until something is so; return the seconds that took.

        AssertionError if it does not come within `limit` seconds or nothing is left to happen.
        """
        start = self.cluster.time
        end = start + timedelta(seconds=limit)
        await self.settle()
        while not reached():
            moment = self._next_moment()
            if moment is None or moment > end:
                raise AssertionError(f"not reached within {limit} s; now {self.cluster.time}")
            await self._jump(moment)
        return (self.cluster.time - start).total_seconds()

    # --- inside -----------------------------------------------------------------------------

    async def _run(self, key: Key) -> None:
        self.passes[key] += 1
        try:
            again = await self.reconcilers[key.resource](self.world, key)
        except RetryLater as error:
            self.errors.append((self.cluster.time, key, error))
            self.queue.failed(key, after=error.after_seconds)
        except (SpecError, Refused) as error:
            self.errors.append((self.cluster.time, key, error))
            self.queue.failed(key)
        else:
            self.queue.done(key, look_again=None if again is None else seconds_of(again))

    async def _jump(self, moment: datetime) -> None:
        self.cluster.time = max(moment, self.cluster.time)
        for ticker in self.tickers:
            if ticker.due <= self.cluster.time:
                ticker.due += ticker.every
                await ticker.callback()
        await self.settle()

    def _next_moment(self) -> datetime | None:
        moments = [ticker.due for ticker in self.tickers]
        if (wait := self.queue.wait_seconds()) is not None:
            # Rounded up to the clock's resolution, or the key would never be due.
            moments.append(self.cluster.time + timedelta(seconds=wait, microseconds=1))
        moments += [m for m in (self.kubelet.next_at(), self.jobs.next_at()) if m is not None]
        return min(moments, default=None)

    def _clock(self) -> float:
        return seconds_of(self.cluster.time)

    def _on_event(self, event: EventType, resource: Resource, obj: Json) -> None:
        if resource not in watched() or self.loses(resource, obj):
            return
        if self.events_held:
            self._held.append((event, resource, obj))
        else:
            self._take(event, resource, obj)

    def _take(self, event: EventType, resource: Resource, obj: Json) -> None:
        cache = self.world.cache
        take = cache.take_out if event == "DELETED" else cache.take_in
        change = take(resource, obj)
        if change is not None:
            for key in sorted(interested(cache, change), key=str):
                self.queue.add(key)

    def _after_own_write(self, change: Change) -> None:
        for key in sorted(interested_in_own_write(self.world.cache, change), key=str):
            self.queue.add(key)


def seconds_of(moment: datetime) -> float:
    """Return the simulated time as the queue counts it."""
    return (moment - START).total_seconds()
