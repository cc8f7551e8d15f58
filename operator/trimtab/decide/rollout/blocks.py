"""Counts of two versions put together so that they compare: by moments, and by blocks of rounds.

The sums of two versions compare only where they are of the same moments, and errors that come in
clusters on one pod are fewer than they look. Both are kept as few numbers, whatever the size of
the Deployment.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from trimtab.stats.counts import NOTHING, BadTotal
from trimtab.stats.spread import Cells

LENGTHS = (1, 6, 12, 60)
"""Of blocks, in rounds."""
MOST_PODS = 64
"""Told apart; more are put together."""
MOST_CELLS = 4096
"""Of one length and side; what comes after them is in the sums alone."""
STRATUM_REQUESTS = 50.0
"""Of stable at least, in what is taken for one moment."""
Counts = Mapping[str, BadTotal]
"""By process."""


@dataclass(frozen=True)
class Strata:
    """Sums over moments of (candidate, stable): what `stats.spread.standardised` needs.

    requests, bad: the candidate's. weighted: its requests times stable's share of that moment.
    squares: its requests squared over stable's. open: a moment that is still too small.
    """

    requests: float = 0.0
    bad: float = 0.0
    weighted: float = 0.0
    squares: float = 0.0
    open: tuple[BadTotal, BadTotal] = (NOTHING, NOTHING)

    def add(self, candidate: BadTotal, stable: BadTotal) -> Strata:
        """Return the sums with what was counted between two rounds."""
        ours, theirs = self.open[0] + candidate, self.open[1] + stable
        if theirs.total < STRATUM_REQUESTS or ours.total <= 0:
            return replace(self, open=(ours, theirs))
        return self._closed(ours, theirs)

    def _closed(self, ours: BadTotal, theirs: BadTotal) -> Strata:
        return Strata(
            requests=self.requests + ours.total,
            bad=self.bad + ours.bad,
            weighted=self.weighted + ours.total * theirs.share,
            squares=self.squares + ours.total**2 / theirs.total,
        )

    def at(self, share: float) -> Strata:
        """Return the same requests, with this share of the candidate's bad."""
        ours, theirs = self.open
        opened = BadTotal(share * ours.total, ours.total), theirs
        return replace(self, bad=share * self.requests, open=opened)

    def compared(self) -> tuple[BadTotal, BadTotal]:
        """Return the candidate's counts, and stable's as if they had come at the same moments."""
        ours, theirs = self.open
        whole = self._closed(ours, theirs) if theirs.total > 0 else self
        if whole.squares <= 0:
            return ours, theirs
        total = whole.requests**2 / whole.squares
        share = min(1.0, whole.weighted / whole.requests)
        return BadTotal(whole.bad, whole.requests), BadTotal(share * total, total)


@dataclass(frozen=True)
class Blocks:
    """Blocks of one length: the one under way by process, and what closed ones counted."""

    began: datetime | None = None
    open: Counts = field(default_factory=dict)
    closed: Mapping[tuple[float, float], int] = field(default_factory=dict)
    """(bad, total) of a process in a block to how often."""

    def add(self, grown: Counts, now: datetime, lasts: timedelta) -> tuple[Blocks, Counts | None]:
        """Return the blocks with what was counted, and the block that was over by now, if any.

        One that began ahead is over: the clock was set back, and it would take in all until then.
        """
        if self.began is not None and timedelta(0) <= now - self.began < lasts:
            return replace(self, open=_merged(self.open, grown)), None
        closed = dict(self.closed)
        for count in self.open.values():
            cell = (count.bad, count.total)
            if cell in closed or len(closed) < MOST_CELLS:
                closed[cell] = closed.get(cell, 0) + 1
        ended = self.open if self.began is not None else None
        return Blocks(now, dict(grown), closed), ended

    def at(self, share: float) -> Blocks:
        """Return the same requests, with this share of each block's bad."""
        closed: dict[tuple[float, float], int] = {}
        for (_, total), times in self.closed.items():
            cell = (share * total, total)
            closed[cell] = closed.get(cell, 0) + times
        opened = {p: BadTotal(share * one.total, one.total) for p, one in self.open.items()}
        return Blocks(self.began, opened, closed)

    def cells(self) -> Cells:
        """Return all cells, those of the block under way too."""
        cells = dict(self.closed)
        for count in self.open.values():
            cell = (count.bad, count.total)
            cells[cell] = cells.get(cell, 0) + 1
        return Cells.of(cells)


def _merged(left: Counts, right: Counts) -> dict[str, BadTotal]:
    found = dict(left)
    for process, count in right.items():
        found[process] = found.get(process, NOTHING) + count
    return found


def grown_since(last: Counts, counts: Counts) -> dict[str, BadTotal]:
    """Return what known processes counted between two looks; new ones count from now on."""
    return {
        process: growth(last[process], count)
        for process, count in counts.items()
        if process in last
    }


def growth(before: BadTotal, now: BadTotal) -> BadTotal:
    """Return what was counted between two looks."""
    total = max(0.0, now.total - before.total)
    return BadTotal(min(total, max(0.0, now.bad - before.bad)), total)


def grouped(counts: Mapping[str, BadTotal]) -> dict[str, BadTotal]:
    """Return the counts by process; of many, those of neighbours put together."""
    if len(counts) <= MOST_PODS:
        return dict(counts)
    groups: dict[str, BadTotal] = {}
    for number, process in enumerate(sorted(counts)):
        name = f"group {number % MOST_PODS}"
        groups[name] = groups.get(name, NOTHING) + counts[process]
    return groups
