"""Recorded scrapes from text: OpenMetrics or Prometheus text in which each line has its time.

Read are expositions one after another, and what `promtool tsdb dump` and `dump-openmetrics` write.
Lines come in any order; counters that no window is made of are passed over. Times are seconds, or
milliseconds where they would lie beyond the year 5000.

Source: OpenMetrics 1.0; Prometheus exposition formats, text 0.0.4.
"""

from __future__ import annotations

import gzip
import math
import re
import sys
import zlib
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TextIO

import numpy as np

from trimtab.contract.metrics import Labels
from trimtab.errors import SpecError, plain
from trimtab.replay.counting import Counting
from trimtab.replay.matching import Matchers
from trimtab.replay.processes import WANTED, Processes
from trimtab.telemetry.exposition import MalformedExpositionError, read_labels
from trimtab.telemetry.prometheus_answer import RawSeries, source_of

STDIN = "-"
_FIRST_MILLISECONDS = 1e11
_LARGEST_TIME = 1e10
_CHUNK_SECONDS = 3600.0
_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")


class _Points:
    """The samples of one series; in the order of the file, later in order of time."""

    def __init__(self, labels: Mapping[str, str]) -> None:
        self.labels = labels
        self.at = array("d")
        self.values = array("d")

    def sort(self) -> None:
        """Bring into order of time; raises SpecError where two values have one time."""
        at, values = np.asarray(self.at), np.asarray(self.values)
        order = np.argsort(at, kind="stable")
        at, values = at[order], values[order]
        repeats = at[1:] == at[:-1]
        # A scrape that stands twice, as where files overlap, is one.
        differ = repeats & (values[1:] != values[:-1])
        if differ.any():
            name = self.labels["__name__"]
            raise SpecError(
                f"{name} has two values at {at[1:][differ][0]:.3f}; are two pods in one file?"
            )
        is_first = np.concatenate([[True], ~repeats])
        self.at = array("d", at[is_first].tolist())
        self.values = array("d", values[is_first].tolist())

    def between(self, start: float, end: float) -> RawSeries:
        """The samples in [start, end)."""
        first, last = bisect_left(self.at, start), bisect_left(self.at, end)
        values = list(zip(self.at[first:last], self.values[first:last], strict=True))
        return RawSeries.model_construct(metric=dict(self.labels), values=values)


def read_scrapes(files: Iterable[Path], matchers: Matchers, counting: Counting) -> list[str]:
    """Count what the files recorded; returns notes. SpecError names file and line.

    Processes are told apart by the labels that a scrape configuration adds; where there are none,
    each file is one process.
    """
    series: list[_Points] = []
    not_numbers = 0
    for file in files:
        of_file, skipped = _read(file)
        not_numbers += skipped
        series += [points for points in of_file if matchers.match(points.labels)]
    processes = Processes(counting)
    _count(_joined(series), processes)
    notes = processes.notes()
    if not_numbers:
        notes.append(f"{not_numbers} values are no numbers, as where a pod ended, and left out")
    return notes


def _count(series: list[_Points], processes: Processes) -> None:
    """Hand the samples over in order of time, an hour of all series at once."""
    hours: set[int] = set()
    for points in series:
        hours.update(np.unique(np.asarray(points.at) // _CHUNK_SECONDS).astype(int).tolist())
    for hour in sorted(hours):
        start, end = hour * _CHUNK_SECONDS, (hour + 1) * _CHUNK_SECONDS
        parts = (points.between(start, end) for points in series)
        processes.add([part for part in parts if part.values])


def _joined(parts: list[_Points]) -> list[_Points]:
    """One series over several files is one."""
    by_labels: dict[frozenset[tuple[str, str]], _Points] = {}
    for points in parts:
        first = by_labels.setdefault(frozenset(points.labels.items()), points)
        if first is not points:
            first.at.extend(points.at)
            first.values.extend(points.values)
    for points in by_labels.values():
        points.sort()
    return list(by_labels.values())


# --- text ---------------------------------------------------------------------------------------


def _read(file: Path) -> tuple[list[_Points], int]:
    """Return the series of one file that are wanted, and how many values were no numbers."""
    try:
        with _opened(file) as text:
            return _parsed(file, text)
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise SpecError(f"{file}: cannot be read: {plain(error)}") from error


def _opened(file: Path) -> TextIO:
    if str(file) == STDIN:
        return sys.stdin
    if file.suffix == ".gz":
        return gzip.open(file, "rt", encoding="utf-8")
    return file.open(encoding="utf-8")


def _parsed(file: Path, lines: Iterable[str]) -> tuple[list[_Points], int]:
    # The text before value and time repeats with every scrape and is parsed once.
    by_text: dict[str, _Points | None] = {}
    by_labels: dict[tuple[str, Labels], _Points] = {}
    not_numbers = 0
    for number, raw in enumerate(lines, 1):
        line = raw.strip()
        if not line or line[0] == "#":
            continue
        line = line.partition(" # ")[0].rstrip() if " # " in line else line
        rest, _, time = line.rpartition(" ")
        head, _, value = rest.rstrip().rpartition(" ")
        if head not in by_text:
            by_text[head] = _series_of(file, number, line, head.rstrip(), by_labels)
        points = by_text[head]
        if points is None:
            continue
        at, amount = _number(file, number, line, time), _number(file, number, line, value)
        if math.isnan(amount):
            not_numbers += 1
            continue
        points.at.append(_seconds(file, number, at))
        points.values.append(amount)
    series = [points for points in by_labels.values() if points.at]
    for points in series:
        if not source_of(RawSeries(metric=dict(points.labels))):
            points.labels = {**points.labels, "file": str(file)}
    return series, not_numbers


def _series_of(
    file: Path, number: int, line: str, head: str, by_labels: dict[tuple[str, Labels], _Points]
) -> _Points | None:
    """Return where the samples of a series go; None for one that is not wanted."""
    match = _NAME.match(head)
    try:
        labels, end = read_labels(head, match.end() if match else 0, number)
    except MalformedExpositionError as error:
        raise _not_a_sample(file, number, line) from error
    named = dict(labels)
    name = match[0] if match else named.get("__name__", "")
    if end != len(head) or not name:
        raise _not_a_sample(file, number, line)
    if name not in WANTED:
        return None
    named["__name__"] = name
    return by_labels.setdefault((name, frozenset(named.items())), _Points(named))


def _number(file: Path, number: int, line: str, text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise _not_a_sample(file, number, line) from error


def _seconds(file: Path, number: int, at: float) -> float:
    seconds = at / 1000 if abs(at) >= _FIRST_MILLISECONDS else at
    if not 0 < seconds < _LARGEST_TIME:
        raise SpecError(f"{file}: line {number}: {at:g} is no time in seconds or milliseconds")
    return seconds


def _not_a_sample(file: Path, number: int, line: str) -> SpecError:
    return SpecError(
        f"{file}: line {number} is not a series, its value and its time: {line[:60]!r}"
    )
