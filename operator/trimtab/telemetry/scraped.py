"""Telemetry by scraping pods, the embedded default, or from a backend that has scraped them.

Both count into the same stores, so that a figure means the same whoever has read it.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from trimtab.contract.metrics import Series
from trimtab.telemetry.checkpoint import Checkpoint
from trimtab.telemetry.counters import CounterStore
from trimtab.telemetry.credentials import Readers
from trimtab.telemetry.exposition import Exposition
from trimtab.telemetry.hours import HourStore, by_hour
from trimtab.telemetry.port import (
    Backend,
    Losses,
    NoData,
    OnSample,
    ProcessCounters,
    Target,
    Window,
)
from trimtab.telemetry.prometheus_answer import Sampled
from trimtab.telemetry.prometheus_looks import PrometheusLooks
from trimtab.telemetry.scrape import DEFAULT_CONCURRENCY, Schedule, Scraper
from trimtab.telemetry.windows import WindowStore


class ScrapedTelemetry:
    """The port `Telemetry` over scrapes. To be made and used on one running event loop.

    now: Unix seconds, for samples and windows; the schedule, and how long nothing has come, have a
    clock of their own, which does not jump. on_sample is called after each round: all pods of a
    Deployment have answered or failed.
    """

    def __init__(
        self,
        on_sample: OnSample,
        scraper: Scraper | None = None,
        now: Callable[[], float] = time.time,
        concurrency: int = DEFAULT_CONCURRENCY,
        readers: Readers | None = None,
        clock: Callable[[], float] | None = None,
    ) -> None:
        """clock: seconds that never jump; those of the event loop by default."""
        self._on_sample = on_sample
        self._scraper = scraper or Scraper(concurrency=concurrency, now=now)
        self._now = now
        self._counters = CounterStore(clock=clock or asyncio.get_running_loop().time)
        self._windows = WindowStore()
        self._hours = HourStore()
        self._readers = readers or Readers()
        self._looks = PrometheusLooks(self, self._readers.reader, on_sample, now, concurrency)
        self._schedule = Schedule(self._scrape, self._missed, concurrency, self._begin)

    async def run(self) -> None:
        """Read until cancelled, then close the connections."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._schedule.run())
                group.create_task(self._looks.run())
        finally:
            await self._scraper.close()
            await self._readers.close()

    def set_targets(
        self, key: str, targets: Iterable[Target], backend: Backend | None = None
    ) -> None:
        """Read these and no others for `key`; call it, if empty, as soon as the key is known.

        Processes born after the first call count from zero, older ones from their first scrape.
        """
        wanted = list(targets)
        self._counters.set_targets(key, wanted, self._now())
        if backend is None:
            self._looks.forget(key)
            self._schedule.set_targets(key, wanted)
        else:
            self._schedule.set_targets(key, ())
            self._looks.set_targets(key, backend, wanted)

    def forget(self, key: str) -> None:
        self._looks.forget(key)
        self._schedule.set_targets(key, ())
        self._counters.forget(key)
        self._windows.watch(key, None)
        self._hours.watch(key, None)

    def processes(self, key: str) -> tuple[ProcessCounters, ...]:
        return self._counters.processes(key)

    def losses(self, key: str) -> Losses:
        return self._counters.losses(key)

    def watch_windows(self, key: str, seconds: float | None) -> None:
        self._windows.watch(key, seconds)

    def windows(self, key: str) -> tuple[Window, ...]:
        return self._windows.windows(key)

    def watch_labels(self, key: str, hours: int | None) -> None:
        """What processes have counted before is booked when the watch begins."""
        if self._hours.watch(key, hours):
            for counted in self._counters.counted(key):
                self._hours.add(key, by_hour(counted), self._now())

    def labels_by_hour(self, key: str, digest: str) -> Mapping[int, Series]:
        return self._hours.hours(key, digest)

    def checkpoint(self, key: str) -> Checkpoint | None:
        windows = self._windows.save(key)
        if windows is None or key not in self._counters:
            return None
        watched_since, processes, changes = self._counters.save(key)
        hours = self._hours.save(key)
        return Checkpoint(key, watched_since, windows, processes, changes, hours)

    def restore(self, checkpoint: Checkpoint) -> None:
        self._counters.restore(checkpoint.key, checkpoint.watched_since, checkpoint.processes)
        self._windows.restore(checkpoint.key, checkpoint.windows)
        self._hours.restore(checkpoint.key, checkpoint.hours)

    async def _scrape(self, key: str, target: Target) -> None:
        try:
            found = await self._scraper.scrape(target)
            before = self._counters.rounds_ended(key)
            if self._schedule.is_current(key, target):
                self._take(key, target, found)
        finally:
            self._counters.end_round(key, target.process)
        if self._counters.rounds_ended(key) != before:
            self._on_sample(key)

    def _take(self, key: str, target: Target, found: Sampled | NoData) -> None:
        if isinstance(found, NoData):
            self._counters.record_failure(key, target.process, found, self._now())
        else:
            self._count(key, target.process, found.sample, found.at)

    def _begin(self, key: str, targets: Sequence[Target]) -> None:
        self._counters.begin_round(key, [target.process for target in targets])

    def _count(
        self, key: str, process: str, sample: Exposition, at: float, *, is_late: bool = False
    ) -> None:
        grown = self._counters.record(key, process, sample, at, is_late=is_late)
        since = self._counters.since(key, process)
        self._windows.add(key, grown, at, since, clock=self._now())
        self._hours.add(key, grown, at)

    # --- the book of `PrometheusLooks`

    def take(self, key: str, process: str, sampled: Sampled) -> None:
        """See `Book`."""
        self._count(key, process, sampled.sample, sampled.at, is_late=True)

    def fail(self, key: str, process: str, problem: NoData) -> None:
        """See `Book`."""
        self._counters.record_failure(key, process, problem, self._now())

    def last(self, key: str, process: str) -> Sampled | None:
        """See `Book`."""
        found = self._counters.last(key, process)
        if found is None:
            return None
        at, reading = found
        return Sampled(at, Exposition(dict(reading.values), reading.process_start))

    def begin(self, key: str, processes: Iterable[str]) -> None:
        """See `Book`."""
        self._counters.begin_round(key, processes, is_look=True)

    def end(self, key: str) -> None:
        """See `Book`."""
        self._counters.end_round(key)

    def ended(self, key: str) -> tuple[Target, ...]:
        """See `Book`."""
        return self._counters.only_saved(key)

    def _missed(self, key: str, target: Target) -> None:
        self._counters.record_missed(key, target.process)
