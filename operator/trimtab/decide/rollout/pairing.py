"""What two versions showed on the same rows: what traffic does to both cancels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from trimtab.api.deployment import Gate, Origin, PairedCount
from trimtab.decide.rollout.counting import counts_since
from trimtab.decide.rollout.measures import pair_measure
from trimtab.decide.rollout.snapshot import Pair, ProcessView
from trimtab.stats.counts import sum_of
from trimtab.stats.paired import (
    GRID,
    Cell,
    CellCounts,
    Labelling,
    Pairs,
    labelling_of,
    paired_evidence,
    reweighted_evidence,
    smallest_detectable_difference,
)

AT_WORK = frozenset({"", "waiting", "loading", "comparing", "paused"})
"""States of a comparison that goes on, or that nobody told yet."""


@dataclass(frozen=True)
class PairedLook:
    """What the pairs of one gate show."""

    pairs: Pairs
    labelling: Labelling
    margin: float
    states: frozenset[str]
    """In which the comparison of the pods is."""
    spread: float = 1.0
    """How many times more wrong rows of stable's pods vary than independent ones."""

    @property
    def alike(self) -> float:
        """How many requests count as one, where those of one client or moment are alike.

        That rows of one request are alike is in the spread, and not in requests.
        """
        return max(1.0, self.spread / self.pairs.rows_per_request)

    @cached_property
    def evidence(self) -> float:
        """Evidence against the version; 1 where rows that would tell have no labels."""
        if self.labelling.missing:
            return 1.0
        if self.labelling.differs:
            return reweighted_evidence(self.pairs, self.margin, self.alike)
        return paired_evidence(self.pairs.divided(self.alike), self.margin)

    def smallest(self, threshold: float) -> float | None:
        """Return the smallest difference that would have had evidence `threshold` by now."""
        counts = self.pairs.divided(self.alike)
        return smallest_detectable_difference(counts, self.margin, threshold)

    @property
    def missing(self) -> str:
        """What gets no labels, in words; empty if nothing does that would tell."""
        return ", ".join(
            f"rows answered {served[:60]} that the version before answers {other[:60]}"
            for served, other in self.labelling.missing[:3]
        )

    @property
    def why_not(self) -> str:
        """Why no pod compares; empty if one does or may."""
        return "" if self.states & AT_WORK else ", ".join(sorted(self.states)[:5])

    def told(self) -> PairedCount:
        """Return the figures for the status."""
        return PairedCount(
            requests=self.pairs.total,
            difference=round(self.pairs.mean, 6),
            counts={f"{d:g}": count for d, count in sorted(self.pairs.requests.items())},
            evidence=round(self.evidence, 2),
            alike=round(self.alike, 3),
            reweighted=self.labelling.differs,
        )


def look_at_pairs(
    gate: Gate,
    pair: Pair | None,
    revision: str,
    processes: Sequence[ProcessView],
    origins: Sequence[Origin],
    began: datetime,
    spread: float,
) -> PairedLook | None:
    """Return what pairs show since the origins; None for a gate that has none.

    Labels arrive on whichever process received them; `revision`: of the pods that compare.
    """
    if pair is None or gate.bad != "outcomes" or gate.against != "stable":
        return None
    requests = {}
    for d in GRID:
        name = pair_measure(*pair, d)
        found = counts_since(processes, origins, name, name, None, began)
        total = sum_of(found.values()).total
        if total > 0:
            requests[d] = total
    pairs = Pairs(requests, _cells(processes, pair))
    own = Counter(p.compares for p in processes if p.revision == revision and p.pod_ready)
    states = frozenset(own) or frozenset({""})
    return PairedLook(pairs, labelling_of(pairs), gate.margin, states, spread)


def _cells(processes: Iterable[ProcessView], pair: Pair) -> dict[Cell, CellCounts]:
    """Return the rows of all processes since each of them began: what is labelled of what."""
    found: dict[Cell, CellCounts] = {}
    for process in processes:
        for cell, counts in process.cells.get(pair, {}).items():
            found[cell] = found.get(cell, CellCounts()) + counts
    return found
