"""Telemetry by scraping pods: the embedded default, which needs nothing but the pods."""

import time
from collections.abc import Callable, Iterable, Mapping

from trimtab.telemetry.checkpoint import Checkpoint
from trimtab.telemetry.counters import CounterStore
from trimtab.telemetry.hours import HourStore, by_hour
from trimtab.telemetry.port import (
    Labels,
    Losses,
    NoData,
    OnSample,
    ProcessCounters,
    Series,
    Target,
    Window,
)
from trimtab.telemetry.scrape import DEFAULT_CONCURRENCY, Schedule, Scraper
from trimtab.telemetry.windows import WindowStore


class ScrapedTelemetry:
    """The port `Telemetry` over scrapes. To be made and used on one running event loop.

    now: Unix seconds, for samples and windows; the schedule has a clock of its own, which does not
    jump. on_sample is called after each completed scrape, failed ones included.
    """

    def __init__(
        self,
        on_sample: OnSample,
        scraper: Scraper | None = None,
        now: Callable[[], float] = time.time,
        concurrency: int = DEFAULT_CONCURRENCY,
    ) -> None:
        self._on_sample = on_sample
        self._scraper = scraper or Scraper(concurrency=concurrency)
        self._now = now
        self._counters = CounterStore()
        self._windows = WindowStore()
        self._hours = HourStore()
        self._schedule = Schedule(self._scrape, self._missed, concurrency)

    async def run(self) -> None:
        """Scrape until cancelled, then close the connections."""
        try:
            await self._schedule.run()
        finally:
            await self._scraper.close()

    def set_targets(self, key: str, targets: Iterable[Target]) -> None:
        """Scrape these and no others for `key`; call it, if empty, as soon as the key is known.

        Processes born after the first call count from zero, older ones from their first scrape.
        """
        wanted = list(targets)
        self._counters.set_targets(key, wanted, self._now())
        self._schedule.set_targets(key, wanted)

    def forget(self, key: str) -> None:
        self._schedule.set_targets(key, ())
        self._counters.forget(key)
        self._windows.watch(key, None)
        self._hours.watch(key, None)

    def processes(self, key: str) -> tuple[ProcessCounters, ...]:
        return self._counters.processes(key)

    def total(
        self, key: str, name: str, labels: Labels = frozenset(), revision: str | None = None
    ) -> float:
        """Sum of one metric over all processes that ever were, whose labels include `labels`."""
        return self._counters.total(key, name, labels, revision)

    def losses(self, key: str) -> Losses:
        return self._counters.losses(key)

    def watch_windows(self, key: str, seconds: float | None) -> None:
        self._windows.watch(key, seconds)

    def windows(self, key: str) -> tuple[Window, ...]:
        return self._windows.windows(key)

    def watch_labels(self, key: str, hours: int | None) -> None:
        """What processes have counted before is booked when the watch begins."""
        if self._hours.watch(key, hours):
            for process in self._counters.processes(key):
                self._hours.add(key, by_hour(process.series), self._now())

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
        found = await self._scraper.scrape(target)
        if not self._schedule.is_current(key, target):
            return
        if isinstance(found, NoData):
            self._counters.record_failure(key, target.process, found)
        else:
            now = self._now()
            grown = self._counters.record(key, target.process, found, now)
            since = self._counters.since(key, target.process)
            self._windows.add(key, grown, now, since)
            self._hours.add(key, grown, now)
        self._on_sample(key)

    def _missed(self, key: str, target: Target) -> None:
        self._counters.record_missed(key, target.process)
