"""What a replay is made of, whatever it was read from: a reference and windows of counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from trimtab.contract.artifact import Baseline

SeriesKey = tuple[str, frozenset[tuple[str, str]]]
Series = Mapping[SeriesKey, float]


@dataclass(frozen=True)
class RecordedWindow:
    """Counts of [start, end). `name` is how it is shown; `counts` is None where nothing happened.

    counts: (metric, labels without identity labels) -> increment.
    """

    name: str
    start: datetime
    end: datetime
    counts: Series | None


@dataclass(frozen=True)
class Recording:
    """`score`: accuracy of the reference; None where it has no labels. `notes`: said before."""

    baseline: Baseline
    score: float | None
    windows: tuple[RecordedWindow, ...]
    notes: tuple[str, ...] = ()
