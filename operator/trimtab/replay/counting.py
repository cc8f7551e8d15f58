"""Readings of recorded processes become windows, by the operator's own stores of counters.

    readings in time order ──> CounterStore: increments, resets by process start
                                   └──> WindowStore: whole windows of one baseline

What was counted before a process was first seen is not counted, and neither is what reaches over
the start of a window where readings lie too far apart to tell: both as in the operator.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median_low

from trimtab.decide.drift.counts import predicted_rows
from trimtab.decide.drift.finding import Finding
from trimtab.decide.drift.windows import label_window
from trimtab.errors import SpecError
from trimtab.replay.data_watch import ReadingsWatch
from trimtab.replay.late_labels import LateLabels
from trimtab.replay.recording import (
    MOST_WINDOWS,
    RecordedLabels,
    RecordedWindow,
    shown,
    time_of,
)
from trimtab.stats.counts import SAME_START_SECONDS
from trimtab.telemetry.counters import CounterStore
from trimtab.telemetry.port import Target
from trimtab.telemetry.prometheus_answer import Sampled
from trimtab.telemetry.windows import WINDOWED_METRICS, WindowStore

KEY = "recording"
LONGEST_GAP = 0.1
"""Of a window: readings further apart cannot be shared out over the start of one."""
_GAPS_KEPT = 1000


@dataclass
class _Seen:
    """What is known of one process beside its counters."""

    at: float
    start: float | None


class Counting:
    """Takes the readings of all processes in order of time. window: the policy's.

    digest: baseline whose windows are wanted; others are only named. label_delay: where labels are
    so late that they are counted by the hour of their prediction, when they are judged. data: the
    watch of broken data, if there is one.
    """

    def __init__(
        self,
        window: timedelta,
        digest: str,
        label_delay: timedelta | None = None,
        data: ReadingsWatch | None = None,
    ) -> None:
        self._seconds = window.total_seconds()
        self._digest = digest
        self._late = None
        if label_delay is not None:
            self._late = LateLabels(label_window(window), label_delay, digest)
        self._counters = CounterStore()
        self._windows = WindowStore()
        self._windows.watch(KEY, self._seconds)
        self._data = data
        self._faults: dict[float, Finding] = {}
        self._seen: dict[str, _Seen] = {}
        self._by_start: dict[float, RecordedWindow] = {}
        self._others: set[str] = set()
        self._gaps: list[float] = []
        self._left_out = 0
        self._first: float | None = None
        self._last = 0.0

    def add(self, process: str, reading: Sampled) -> None:
        """Count one reading; ValueError where it is older than one before it.

        SpecError where the process is younger than later: then it is two.
        """
        at, start = reading.at, reading.sample.process_start
        if at < self._last:
            raise ValueError(f"a reading at {at} after one at {self._last}")
        if self._first is None:
            self._first = at
        if at // self._seconds != self._last // self._seconds:
            self._take(at)
            self._close_data()
        if self._late is not None:
            self._late.look(at, self._rows)
        self._last = at
        before = self._seen.get(process)
        if before is not None:
            _refuse_two_in_one(process, before.start, start)
        if before is None:
            targets = (Target(name, name, "", "") for name in (*self._seen, process))
            self._counters.set_targets(KEY, targets, at)
        grown = self._counters.record(KEY, process, reading.sample, at)
        self._seen[process] = _Seen(at, start)
        since = start if before is None else before.at
        if before is not None and len(self._gaps) < _GAPS_KEPT:
            self._gaps.append(at - before.at)
        if since is None or at - since <= LONGEST_GAP * self._seconds:
            since = None
        elif since < at - at % self._seconds:
            self._left_out += any(name in WINDOWED_METRICS for name, _ in grown)
        self._windows.add(KEY, grown, at, since)
        if self._late is not None:
            self._late.add(grown, at)
        if self._data is not None:
            self._data.add(process, grown, at, self._usual_gap())

    @property
    def has_counted(self) -> bool:
        """Whether there was any reading."""
        return self._first is not None

    def windows(self, until: float | None = None) -> tuple[RecordedWindow, ...]:
        """Return the windows from the first reading on that are over at `until`, Unix seconds.

        Without it: at the last reading and the usual time to the next. SpecError if none is over.
        """
        if self._first is None:
            raise SpecError("nothing to replay: there is no reading of a model's counters")
        end = until if until is not None else self._last + self._usual_gap()
        self._take(end)
        first, last = (int(moment // self._seconds) for moment in (self._first, end))
        if last - first > MOST_WINDOWS:
            raise SpecError(f"{last - first} windows from first to last reading are too many")
        if last == first:
            raise SpecError(
                f"no window of {timedelta(seconds=self._seconds)} is over: the recording goes from "
                f"{shown(self._first)} to {shown(end)}"
            )
        return tuple(self._window(place * self._seconds) for place in range(first, last))

    def labels(self, until: float | None = None) -> tuple[RecordedLabels, ...] | None:
        """Return the late labels as they were known when judged; None where none are late."""
        if self._late is None:
            return None
        end = until if until is not None else self._last + self._usual_gap()
        self._late.look(end, self._rows)
        return tuple(self._late.judged)

    def data(self) -> dict[datetime, Finding]:
        """Return what is found of broken data, by the start of the window; to be called last."""
        self._close_data()
        return {time_of(start): finding for start, finding in self._faults.items()}

    def notes(self) -> list[str]:
        """Say what the windows do not include, and why."""
        notes = []
        if self._others:
            names = ", ".join(name[:19] or "(none)" for name in sorted(self._others)[:5])
            notes.append(f"counts of {len(self._others)} other baselines are left out: {names}")
        ended = sum(self._last - seen.at > 3 * self._usual_gap() for seen in self._seen.values())
        if ended:
            notes.append(
                f"{ended} of {len(self._seen)} processes ended within the recording; what each "
                "counted after its last reading is not in it"
            )
        missed = self._counters.losses(KEY).missed
        if missed:
            notes.append(f"{missed} readings are not believed: counters fell without a restart")
        if self._left_out:
            notes.append(
                f"{self._left_out} readings came more than a tenth of a window after the one "
                "before; what they counted over the start of a window is left out"
            )
        return notes

    def _usual_gap(self) -> float:
        return median_low(self._gaps) if self._gaps else 0.0

    def _take(self, now: float) -> None:
        """Keep the windows that are over by now; the store forgets old ones."""
        for window in self._windows.windows(KEY):
            if window.end > now:
                continue
            if window.baseline != self._digest:
                self._others.add(window.baseline)
                continue
            self._by_start[window.start] = RecordedWindow(
                shown(window.start), time_of(window.start), time_of(window.end), window.counts
            )

    def _close_data(self) -> None:
        """Keep what the window of the last reading showed."""
        finding = self._data.close() if self._data is not None and self._last else None
        if finding is not None:
            self._faults[self._last - self._last % self._seconds] = finding

    def _window(self, start: float) -> RecordedWindow:
        end = start + self._seconds
        nothing = RecordedWindow(shown(start), time_of(start), time_of(end), None)
        return self._by_start.get(start, nothing)

    def _rows(self, start: float, seconds: float) -> float | None:
        """Return the rows that were predicted in a window that is over."""
        window = self._by_start.get(start) if seconds == self._seconds else None
        return predicted_rows(window.counts) if window is not None and window.counts else None


def _refuse_two_in_one(process: str, before: float | None, start: float | None) -> None:
    if before is None or start is None or start >= before - SAME_START_SECONDS:
        return
    raise SpecError(
        f"{process}: began at {shown(before)} and then earlier, at {shown(start)}; "
        "are two pods one here?"
    )
