"""Labels that come hours after their rows: counters by hour, as they were when judged."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from trimtab.contract import metrics
from trimtab.replay.recording import RecordedLabels, SeriesKey, shown, time_of
from trimtab.telemetry.port import ProcessCounters

TOTAL_OF_HOURLY = {
    metrics.OUTCOMES_BY_HOUR: metrics.OUTCOMES,
    metrics.OUTCOME_ERRORS_BY_HOUR_COUNT: metrics.OUTCOME_ERRORS_COUNT,
    metrics.OUTCOME_ERRORS_BY_HOUR_SUM: metrics.OUTCOME_ERRORS_SUM,
    metrics.OUTCOME_ERRORS_BY_HOUR_SQUARES: metrics.OUTCOME_ERRORS_SQUARES,
    metrics.OUTCOME_ERRORS_BY_HOUR_ABSOLUTE: metrics.OUTCOME_ERRORS_ABSOLUTE,
}
_HOUR_SECONDS = 3600
_OF_ROWS = frozenset({"predicted", "actual", "correct"})

Processes = Callable[[], tuple[ProcessCounters, ...]]
RowsOf = Callable[[float, float], float | None]


class LateLabels:
    """Looks once at each window whose labels have had their time; length: at least an hour."""

    def __init__(self, length: timedelta, delay: timedelta, digest: str) -> None:
        self._length = length.total_seconds()
        self._delay = delay.total_seconds()
        self._digest = digest
        self._next: float | None = None
        self.found: list[RecordedLabels] = []

    def look(self, now: float, processes: Processes, rows: RowsOf) -> None:
        """Take what `processes` have counted, for every window that was due up to `now`.

        rows: predicted rows by start and length of a window. To be called before a reading of
        `now` is counted.
        """
        if self._next is None:
            self._next = self._end_before(now) + self._length
        while self._next + self._delay <= now:
            self._take(self._next - self._length, processes(), rows)
            self._next += self._length

    def _end_before(self, now: float) -> float:
        """Return the end of the newest window that was due at `now`."""
        return (now - self._delay) // self._length * self._length

    def _take(self, start: float, processes: tuple[ProcessCounters, ...], rows: RowsOf) -> None:
        end = start + self._length
        counts: dict[SeriesKey, float] = {}
        for process in processes:
            for (name, labels), value in process.series.items():
                total = TOTAL_OF_HOURLY.get(name)
                if total is None or ("baseline", self._digest) not in labels:
                    continue
                hour = dict(labels).get("hour", "")
                if hour.isdigit() and start <= int(hour) * _HOUR_SECONDS < end:
                    key = total, frozenset(pair for pair in labels if pair[0] in _OF_ROWS)
                    counts[key] = counts.get(key, 0.0) + value
        if any(counts.values()):
            judged = time_of(end + self._delay)
            known = rows(start, self._length)
            self.found.append(
                RecordedLabels(shown(start), time_of(start), time_of(end), judged, counts, known)
            )
