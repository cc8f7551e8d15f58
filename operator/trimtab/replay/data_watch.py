"""Broken data in recorded counters: watched at every reading, as the operator does."""

from __future__ import annotations

from collections.abc import Mapping

from trimtab.api.drift_policy import DriftPolicy, Signal
from trimtab.contract.artifact import Baseline
from trimtab.contract.metrics import Series, SeriesKey
from trimtab.decide.drift.counts import Finding
from trimtab.decide.drift.signals.data import DataState, data_finding, watch_data, watched_series

USUAL_INTERVAL = 5.0
"""Seconds between two readings where the recording does not say."""


class DataWatch:
    """The data signal of a policy over readings in order of time; without one it finds nothing."""

    def __init__(self, policy: DriftPolicy, baseline: Baseline) -> None:
        spec = policy.spec
        self._signal: Signal | None = next((s for s in spec.signals if s.kind == "data"), None)
        self._per_quarter = spec.false_alarms.per_quarter / len(spec.signals)
        self._baseline = baseline
        self._counted: dict[str, Series] = {}
        self._state = DataState()
        self._fault: Finding | None = None

    def add(
        self, process: str, grown: Mapping[SeriesKey, float], now: float, interval: float
    ) -> None:
        """Take increments that were seen at `now`; looks once an interval, both in seconds."""
        if self._signal is None:
            return
        own = dict(self._counted.get(process, {}))
        for key, value in watched_series(grown, self._baseline.digest).items():
            own[key] = own.get(key, 0.0) + value
        self._counted[process] = own
        looked_at = self._state.looked_at
        if looked_at is not None and now - looked_at < interval:
            return
        self._state = watch_data(
            self._state,
            self._counted,
            self._baseline,
            self._signal,
            now=now,
            per_quarter=self._per_quarter,
            interval_seconds=interval or USUAL_INTERVAL,
        )
        finding = data_finding(self._state)
        if finding.verdict == "Drifting" and self._fault is None:
            self._fault = finding

    def close(self) -> Finding | None:
        """Return what was found in the window that ends: its first fault, else how it stands."""
        if self._signal is None:
            return None
        found, self._fault = self._fault or data_finding(self._state), None
        return found
