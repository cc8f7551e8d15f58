"""What two versions showed on the same rows: what traffic does to both cancels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from trimtab.api.deployment import Gate, Origin, PairedCount
from trimtab.decide.rollout.counting import counts_since
from trimtab.decide.rollout.evidence import of_labelled
from trimtab.decide.rollout.measures import REQUESTS, pair_measure
from trimtab.decide.rollout.snapshot import Pair, ProcessView
from trimtab.stats.counts import sum_of
from trimtab.stats.paired import (
    GRID,
    Answers,
    Cell,
    CellCounts,
    Labelling,
    Pairs,
    evened,
    labelling_of,
    mean_of,
    paired_evidence,
    smallest_detectable_difference,
)

Cells = Mapping[Cell, CellCounts]

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
    alike: float = 1.0
    """How many requests count as one, where those of one client or moment are alike."""
    awaited: float = 1.0
    """How many times more labels there would be, were none still to come; see `GateMemory`."""

    @property
    def counts_as_they_came(self) -> bool:
        """Whether requests are evidence as they are, neither hidden nor evened out."""
        return not (self.labelling.is_hidden or self.labelling.differs)

    @property
    def counts(self) -> dict[float, float]:
        """Requests by difference that are evidence, as independent ones."""
        if self.labelling.is_hidden:
            return {}
        by_difference = self.pairs.requests
        if self.labelling.differs:
            by_difference = evened(self.pairs.cells)
        return {d: count / self.alike for d, count in by_difference.items()}

    @cached_property
    def evidence(self) -> float:
        """Evidence against the version, whatever the rows without labels would say."""
        return min(paired_evidence(counts, self.margin) for counts in self._judged)

    @property
    def _judged(self) -> list[dict[float, float]]:
        """All that the version must be worse by: with labels that are still to come, too."""
        if self.awaited <= 1 or self.labelling.is_hidden:
            return [self.counts]
        more = self.pairs.with_awaited(self.awaited)
        return [self.counts, {d: count / self.alike for d, count in more.items()}]

    def smallest(self, threshold: float) -> float | None:
        """Return the smallest difference that would have had evidence `threshold` by now."""
        found = [
            smallest_detectable_difference(counts, self.margin, threshold)
            for counts in self._judged
        ]
        return of_labelled(found, self.awaited)

    @property
    def blind(self) -> str:
        """What gets too few labels to judge by, in words; empty if nothing does."""
        if self.labelling.is_hidden and self.labelling.differs:
            return "some answers, of too many classes to be evened out"
        if self.labelling.missing:
            return ", ".join(
                f"rows answered {served[:60]} that the version before answers {other[:60]}"
                for served, other in self.labelling.missing[:3]
            )
        if self.labelling.differs and not any(self.counts.values()):
            named = " or ".join(name[:60] for name in self.labelling.scarce[:3])
            return f"rows answered {named}" if named else "some answers"
        return ""

    @property
    def shown(self) -> tuple[float, float]:
        """Mean difference and labelled requests, evened out where labels depend on the answer."""
        if not self.labelling.differs:
            return self.pairs.mean, self.pairs.total
        return mean_of(self.counts), sum(self.counts.values()) * self.alike

    @property
    def why_not(self) -> str:
        """Why no pod compares; empty if one does or may."""
        return "" if self.states & AT_WORK else ", ".join(sorted(self.states)[:5])

    def told(self) -> PairedCount:
        """Return the figures for the status."""
        return PairedCount(
            requests=self.pairs.total,
            difference=round(self.shown[0], 6),
            counts={f"{d:g}": round(count, 3) for d, count in sorted(self.counts.items())},
            evidence=round(self.evidence, 2),
            alike=round(self.alike, 3),
            evened=self.labelling.differs,
        )


def look_at_pairs(
    gate: Gate,
    pair: Pair | None,
    revision: str,
    processes: Sequence[ProcessView],
    origins: Sequence[Origin],
    began: datetime,
    spread: float,
    before: Cells | None,
) -> PairedLook | None:
    """Return what pairs show since the origins; None for a gate that has none.

    Labels arrive on whichever process received them; `revision`: of the pods that compare. spread:
    how many times more wrong rows of stable's pods vary than independent ones. before: cells at the
    begin; None: this is the begin.
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
    now = cells_in(processes, pair)
    begin = now if before is None else before
    cells = {cell: one.since(begin.get(cell, CellCounts())) for cell, one in now.items()}
    pairs = Pairs(requests, cells)
    rows = _rows_per_request(processes)
    labelling = labelling_of(pairs, [answers_in(processes, digest) for digest in pair], rows)
    own = Counter(p.compares for p in processes if p.revision == revision and p.pod_ready)
    states = frozenset(own) or frozenset({""})
    return PairedLook(pairs, labelling, gate.margin, states, max(1.0, spread / rows))


def cells_in(processes: Iterable[ProcessView], pair: Pair) -> Cells:
    """Return the rows of all processes since each of them began: what is labelled of what."""
    found: dict[Cell, CellCounts] = {}
    for process in processes:
        for cell, counts in process.cells.get(pair, {}).items():
            found[cell] = found.get(cell, CellCounts()) + counts
    return found


def answers_in(processes: Iterable[ProcessView], digest: str) -> Answers:
    """Return what a version answered, and how much of it is labelled, by class."""
    found: dict[str, tuple[float, float]] = {}
    for process in processes:
        for name, (rows, labels) in process.answers.get(digest, {}).items():
            known = found.get(name, (0.0, 0.0))
            found[name] = (known[0] + rows, known[1] + labels)
    return found


def _rows_per_request(processes: Iterable[ProcessView]) -> float:
    rows = requests = 0.0
    for process in processes:
        rows += sum(n for one in process.answers.values() for n, _ in one.values())
        requests += process.counts.get(REQUESTS, 0.0)
    return max(1.0, rows / requests) if requests > 0 else 1.0
