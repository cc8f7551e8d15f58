"""Broken data in a recording: watched at every reading as the operator does, or by windows."""

from __future__ import annotations

from collections.abc import Mapping

from trimtab.api.drift_policy import DriftPolicySpec
from trimtab.contract.artifact import Baseline
from trimtab.contract.metrics import Series, SeriesKey
from trimtab.decide.drift.finding import Finding
from trimtab.decide.drift.signals.data import DataState, data_finding, data_watch
from trimtab.replay.recording import RecordedWindow

USUAL_INTERVAL = 5.0
"""Seconds between two readings where the recording does not say."""
PROCESS = "recording"


class ReadingsWatch:
    """The data signal of a policy over readings in order of time; without one it finds nothing."""

    def __init__(self, spec: DriftPolicySpec, baseline: Baseline) -> None:
        self._watch = data_watch(spec, baseline)
        self._counted: dict[str, Series] = {}
        self._state = DataState()
        self._fault: Finding | None = None

    def add(
        self, process: str, grown: Mapping[SeriesKey, float], now: float, interval: float
    ) -> None:
        """Take increments that were seen at `now`; looks once an interval, both in seconds."""
        if self._watch is None:
            return
        own = dict(self._counted.get(process, {}))
        for key, value in self._watch.watched_series(grown).items():
            own[key] = own.get(key, 0.0) + value
        self._counted[process] = own
        looked_at = self._state.looked_at
        if looked_at is not None and now - looked_at < interval:
            return
        self._state = self._watch.look(
            self._state,
            self._counted,
            now=now,
            interval_seconds=interval or USUAL_INTERVAL,
        )
        finding = data_finding(self._state)
        if finding.verdict == "Drifting" and self._fault is None:
            self._fault = finding

    def close(self) -> Finding | None:
        """Return what the window that ends showed: its first fault, else how it stands."""
        if self._watch is None:
            return None
        finding, self._fault = self._fault or data_finding(self._state), None
        return finding


class WindowsWatch:
    """The same where only windows are recorded: as one process that is scraped once a window."""

    def __init__(self, spec: DriftPolicySpec, baseline: Baseline) -> None:
        self._watch = data_watch(spec, baseline)
        self._baseline = "baseline", baseline.digest
        self._interval = spec.window.total_seconds()
        self._total: dict[SeriesKey, float] = {}
        self._state = DataState()

    def finding(self, window: RecordedWindow) -> Finding | None:
        """Return what is known after a window; None where the policy does not watch its data."""
        if self._watch is None:
            return None
        if self._state.looked_at is None:
            self._look(window.start.timestamp())
        for (name, labels), value in (window.counts or {}).items():
            key = (name, labels | {self._baseline})
            self._total[key] = self._total.get(key, 0.0) + value
        self._look(window.end.timestamp())
        return data_finding(self._state)

    def _look(self, now: float) -> None:
        if self._watch is not None:
            processes = {PROCESS: self._watch.watched_series(self._total)}
            self._state = self._watch.look(
                self._state, processes, now=now, interval_seconds=self._interval
            )
