"""Labels that come hours after their rows: what the hour ledger held when they were judged."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import timedelta

from trimtab.contract import metrics
from trimtab.contract.metrics import SeriesKey
from trimtab.decide.drift.counts import predicted_rows
from trimtab.replay.recording import RecordedLabels, shown, time_of
from trimtab.telemetry.hours import HourStore

KEY = "recording"
_HOUR_SECONDS = 3600

RowsOf = Callable[[float, float], float | None]


class LateLabels:
    """Looks once at each window whose labels have had their time; length: whole hours.

    baseline: digest of that whose versions are meant.
    """

    def __init__(self, length: timedelta, delay: timedelta, baseline: str) -> None:
        self._length = length.total_seconds()
        self._delay = delay.total_seconds()
        self._baseline = "baseline", baseline
        self._ledger = HourStore()
        kept = math.ceil((self._delay + 2 * self._length) / _HOUR_SECONDS) + 1
        self._ledger.watch(KEY, kept)
        self._versions: set[str] = set()
        self._next: float | None = None
        self.found: list[RecordedLabels] = []

    def add(self, grown: Mapping[SeriesKey, float], now: float) -> None:
        """Book increments that were seen at `now`, Unix seconds."""
        self._ledger.add(KEY, grown, now)
        for _, labels in grown:
            if self._baseline in labels:
                self._versions.update(value for label, value in labels if label == "digest")

    def look(self, now: float, rows: RowsOf) -> None:
        """Take what is booked for every window that was due up to `now`.

        rows: predicted rows by start and length of a window, where pods do not tell them by hour.
        To be called before what was seen at `now` is booked.
        """
        if self._next is None:
            self._next = (now - self._delay) // self._length * self._length + self._length
        while self._next + self._delay <= now:
            self._take(self._next - self._length, rows)
            self._next += self._length

    def _take(self, start: float, rows: RowsOf) -> None:
        end = start + self._length
        counts: dict[SeriesKey, float] = {}
        for version in self._versions:
            for hour, booked in self._ledger.hours(KEY, version).items():
                if start <= hour * _HOUR_SECONDS < end:
                    for key, value in booked.items():
                        counts[key] = counts.get(key, 0.0) + value
        predicted = predicted_rows(counts) or rows(start, self._length)
        labels = {key: value for key, value in counts.items() if key[0] != metrics.PREDICTED}
        if any(labels.values()):
            judged = time_of(end + self._delay)
            span = time_of(start), time_of(end), judged
            self.found.append(RecordedLabels(shown(start), *span, labels, predicted or None))
