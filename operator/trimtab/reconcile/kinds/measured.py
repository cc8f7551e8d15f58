"""Measures of processes, read once from each of their samples.

A pass comes more often than a sample, and a page has thousands of series.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from trimtab.contract.metrics import Series
from trimtab.decide.rollout.measures import answers_of, cells_of, comparing_of, measures_of
from trimtab.decide.rollout.snapshot import Pair
from trimtab.stats.paired import Answers, Cell, CellCounts


@dataclass(frozen=True)
class Reading:
    """What decisions need of one sample of a process; see `ProcessView`."""

    counts: Mapping[str, float]
    cells: Mapping[Pair, Mapping[Cell, CellCounts]] = field(default_factory=dict)
    answers: Mapping[str, Answers] = field(default_factory=dict)
    tokens: int = 1
    compares: str = ""


class Measured:
    """Readings by the series that they were read from; safe to lose.

    Telemetry never changes series in place, so that the very same ones have the same measures.
    """

    def __init__(self) -> None:
        self._asked: tuple[object, ...] = ()
        self._digests: tuple[str, ...] = ()
        self._pairs: tuple[Pair, ...] = ()
        self._is_paired = False
        self._before: dict[int, tuple[Series, Reading]] = {}
        self._now: dict[int, tuple[Series, Reading]] = {}

    def begin(
        self, digests: Iterable[str], pairs: Iterable[Pair] = (), *, is_paired: bool = False
    ) -> None:
        """Begin a look, which counts outcomes of these; what the last one did not ask for goes.

        is_paired: whether tokens and comparisons are looked at, too.
        """
        self._digests, self._pairs, self._is_paired = tuple(digests), tuple(pairs), is_paired
        asked = (self._digests, self._pairs, is_paired)
        self._before = self._now if asked == self._asked else {}
        self._asked, self._now = asked, {}

    def of(self, series: Series) -> Reading:
        """Return what was read of one process; see `measures_of`."""
        known = self._before.get(id(series))
        if known is None or known[0] is not series:
            known = series, self._read(series)
        self._now[id(series)] = known
        return known[1]

    def _read(self, series: Series) -> Reading:
        counts = measures_of(series, self._digests, self._pairs)
        if not self._is_paired:
            return Reading(counts)
        cells = {pair: cells_of(series, *pair) for pair in self._pairs}
        return Reading(counts, cells, answers_of(series, self._digests), *comparing_of(series))
