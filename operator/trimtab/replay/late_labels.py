"""Labels that come hours after their rows: what the hour ledger held when they were judged."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta

from trimtab.contract.metrics import SeriesKey
from trimtab.decide.drift.counts import labels_of_hours
from trimtab.decide.drift.windows import label_hours_kept
from trimtab.replay.recording import RecordedLabels, shown, time_of
from trimtab.telemetry.hours import HourStore

KEY = "recording"

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
        self._ledger.watch(KEY, label_hours_kept(length, delay))
        self._versions: set[str] = set()
        self._next: float | None = None
        self.judged: list[RecordedLabels] = []

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
        ledgers = (self._ledger.hours(KEY, version) for version in self._versions)
        labels, booked = labels_of_hours(ledgers, start, end)
        predicted = booked or rows(start, self._length)
        if any(labels.values()):
            span = time_of(start), time_of(end), time_of(end + self._delay)
            self.judged.append(RecordedLabels(shown(start), *span, labels, predicted or None))
