"""Telemetry of a simulated cluster: the real counter and window stores, fed by simulated pods."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime

from trimtab.cluster.port import PODS, Key
from trimtab.contract.identity import Identifier
from trimtab.contract.metrics import Series
from trimtab.simulation.cluster import SimulatedCluster, is_pod_ready
from trimtab.simulation.traffic import Traffic
from trimtab.telemetry.checkpoint import Checkpoint
from trimtab.telemetry.counters import CounterStore
from trimtab.telemetry.exposition import Exposition
from trimtab.telemetry.hours import HourStore, by_hour
from trimtab.telemetry.port import (
    Backend,
    Losses,
    NoData,
    NoDataReason,
    ProcessCounters,
    Target,
    Window,
)
from trimtab.telemetry.windows import WindowStore


class SimulatedTelemetry:
    """The Telemetry port over `Traffic`."""

    def __init__(self, cluster: SimulatedCluster) -> None:
        self.cluster = cluster
        self.counters = CounterStore(clock=lambda: cluster.now().timestamp())
        self.window_store = WindowStore()
        self.hour_store = HourStore()
        self._targets: dict[str, tuple[Target, ...]] = {}
        self._identifier = Identifier()

    def _now(self) -> float:
        return self.cluster.now().timestamp()

    def set_targets(
        self, key: str, targets: Iterable[Target], backend: Backend | None = None
    ) -> None:
        """See the port."""
        self._targets[key] = tuple(targets)
        self.counters.set_targets(key, self._targets[key], self._now())

    def forget(self, key: str) -> None:
        """See the port."""
        self._targets.pop(key, None)
        self.counters.forget(key)
        self.window_store.watch(key, None)
        self.hour_store.watch(key, None)

    def processes(self, key: str) -> tuple[ProcessCounters, ...]:
        """See the port."""
        return self.counters.processes(key)

    def losses(self, key: str) -> Losses:
        """See the port."""
        return self.counters.losses(key)

    def watch_windows(self, key: str, seconds: float | None) -> None:
        """See the port."""
        self.window_store.watch(key, seconds)

    def windows(self, key: str) -> tuple[Window, ...]:
        """See the port."""
        return self.window_store.windows(key)

    def watch_labels(self, key: str, hours: int | None) -> None:
        """See the port. What processes have counted before is booked when the watch begins."""
        if self.hour_store.watch(key, hours):
            for process in self.counters.processes(key):
                self.hour_store.add(key, by_hour(process.series), self._now())

    def labels_by_hour(self, key: str, digest: str) -> Mapping[int, Series]:
        """See the port."""
        return self.hour_store.hours(key, digest)

    def checkpoint(self, key: str) -> Checkpoint | None:
        """See the port."""
        windows = self.window_store.save(key)
        if windows is None or key not in self.counters:
            return None
        watched_since, processes, changes = self.counters.save(key)
        hours = self.hour_store.save(key)
        return Checkpoint(key, watched_since, windows, processes, changes, hours)

    def restore(self, checkpoint: Checkpoint) -> None:
        """See the port."""
        self.counters.restore(checkpoint.key, checkpoint.watched_since, checkpoint.processes)
        self.window_store.restore(checkpoint.key, checkpoint.windows)
        self.hour_store.restore(checkpoint.key, checkpoint.hours)

    def scrape(self, traffic: Traffic, on_sample: Callable[[Key], None]) -> None:
        """Read every target of a Deployment once, as the scraper would.

        The port of a process that is still starting is closed.
        """
        deployment = traffic.deployment
        key = f"{deployment.namespace}/{deployment.name}"
        pods = {pod["metadata"]["name"]: pod for pod in self.cluster.views(PODS)}
        seen = {p.process for p in self.counters.processes(key) if p.sampled_at is not None}
        self.counters.begin_round(key, [target.process for target in self._targets.get(key, ())])
        for target in self._targets.get(key, ()):
            pod = pods.get(target.pod)
            if pod is None:
                continue
            how = traffic.behave(pod["metadata"]["labels"]["trimtab.dev/version"])
            is_starting = target.process not in seen and not is_pod_ready(pod)
            if how.silent or is_starting:
                problem = NoData(NoDataReason.BACKEND_DOWN, "connection refused", is_silent=True)
                self.counters.record_failure(key, target.process, problem, self._now())
            elif how.broken:
                problem = NoData(NoDataReason.NOT_A_NUMBER, "trimtab_requests_total is NaN")
                self.counters.record_failure(key, target.process, problem, self._now())
            else:
                values = {} if how.empty else traffic.series_of(pod)
                sample = Exposition(self._identifier.of(values), _started(target))
                grown = self.counters.record(key, target.process, sample, self._now() + how.late)
                since = self.counters.since(key, target.process)
                self.window_store.add(key, grown, self._now(), since)
                self.hour_store.add(key, grown, self._now())
        self.counters.end_round(key)
        on_sample(deployment)


def _started(target: Target) -> float:
    text = target.process.split("/", 1)[1]
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
