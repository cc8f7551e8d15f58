"""Gates: bad among total for candidate and stable, taken over the same time.

A gate fails on evidence and on nothing else. Where there is no evidence to be had, it says which
of six reasons it is; what follows is the gate's own setting (`onNoData`). No data is not bad data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from trimtab.api.conditions import Reason
from trimtab.api.deployment import Count, Gate, GateStatus, Origin
from trimtab.decide.rollout.counting import Side, gate_count
from trimtab.decide.rollout.evidence import GateMemory, evidence_of, largest
from trimtab.decide.rollout.measures import REQUESTS, slow_bucket
from trimtab.decide.rollout.pairing import PairedLook, look_at_pairs
from trimtab.decide.rollout.snapshot import Pair, ProcessView
from trimtab.stats.counts import BadTotal
from trimtab.stats.paired import Cell, CellCounts
from trimtab.stats.sequential import smallest_detectable_share
from trimtab.stats.spread import Spread

BLIND_REASONS = frozenset(
    {Reason.BACKEND_DOWN, Reason.NO_SERIES, Reason.STALE, Reason.NOT_A_NUMBER}
)
"""Reasons that mean the operator cannot see, as opposed to nothing to see yet."""

_HINTS = {
    Reason.BACKEND_DOWN: "the metrics cannot be read",
    Reason.NO_SERIES: "the pods answer but export no trimtab_requests_total",
    Reason.STALE: "no new sample has come",
    Reason.NOT_A_NUMBER: "a counter is NaN, infinite or fell without a restart",
    Reason.WAITING: "not scraped yet",
    Reason.NO_TRAFFIC: "no request since the step began",
}


def first_blind(seen: Sequence[GateStatus], gates: Sequence[Gate]) -> GateStatus | None:
    """Return the first gate that cannot see, although nothing may go on without it."""
    needed = {gate.name for gate in gates if gate.on_no_data != "ignore"}
    return next(
        (
            one
            for one in seen
            if one.verdict == "NoData" and one.reason in BLIND_REASONS and one.name in needed
        ),
        None,
    )


@dataclass(frozen=True)
class Sight:
    """Whether the pods of a revision can be seen, and how old the newest sample is."""

    problem: Reason | None
    detail: str
    age: timedelta | None


def sight_of(revision: str, processes: Sequence[ProcessView], now: datetime) -> Sight:
    """Return whether a revision's Ready pods can be seen: by the worst of them."""
    own = [p for p in processes if p.revision == revision and p.pod_ready]
    if not own:
        return Sight(Reason.WAITING, "no Ready pod has been scraped yet", None)
    ages = [now - p.sampled_at for p in own if p.sampled_at is not None]
    age = max(ages) if len(ages) == len(own) else None
    for process in own:
        if process.problem is not None:
            return Sight(process.problem, process.detail, age)
        if REQUESTS not in process.counts:
            return Sight(Reason.NO_SERIES, process.detail, age)
    return Sight(None, "", age)


@dataclass(frozen=True)
class Look:
    """What all gates of one look share."""

    candidate: Side
    stable: Side | None
    processes: Sequence[ProcessView]
    origins: Sequence[Origin]
    began: datetime
    candidate_sight: Sight
    stable_sight: Sight | None
    threshold: float
    seen: Mapping[str, GateMemory]
    """By gate, what it saw in this step."""
    spreads: Mapping[str, Mapping[int, Spread]]
    """By gate, how much stable's pods differ, by block length."""
    pair: Pair | None = None
    """The two versions, if the candidate's pods ask both."""
    cells: Mapping[Cell, CellCounts] | None = None
    """What both had answered when the step began."""


def judge(gate: Gate, look: Look) -> GateStatus:
    """Return the verdict of one gate: Fail, Pass, NoData or Skipped, with its figures."""
    if look.stable is None and gate.limit is None:
        return GateStatus(
            name=gate.name,
            verdict="Skipped",
            reason=Reason.NO_STABLE,
            message="no stable version to compare with",
        )
    candidate = gate_count(gate, look.candidate, look.processes, look.origins, look.began)
    stable = (
        gate_count(gate, look.stable, look.processes, look.origins, look.began)
        if look.stable is not None and gate.against == "stable"
        else None
    )
    seen = look.seen.get(gate.name, GateMemory())
    spreads = look.spreads.get(gate.name, {})
    paired = look_at_pairs(
        gate,
        look.pair,
        look.candidate.revision,
        look.processes,
        look.origins,
        look.began,
        largest(spreads.values()),
        look.cells,
    )
    evidence = _evidence(gate, seen, spreads, paired, has_stable=stable is not None)
    smallest = None
    if stable is not None:
        smallest = _smallest_fault(gate, seen, spreads, paired, look.threshold)
    status = GateStatus(
        name=gate.name,
        verdict="Fail" if evidence >= look.threshold else "Pass",
        candidate=Count(bad=candidate.bad, total=candidate.total),
        stable=Count(bad=stable.bad, total=stable.total) if stable is not None else None,
        evidence=round(evidence, 2),
        threshold=round(look.threshold, 1),
        spread=round(largest(spreads.values()), 3),
        compared=_compared(seen) if stable is not None else None,
        paired=paired.told() if paired is not None else None,
        smallest_fault="" if smallest is None else f"{smallest * 100:.1f}%",
        smallest_fault_share=smallest,
        last_sample_age=_age(look.candidate_sight.age),
    )
    figures = _figures(gate, candidate, stable, paired)[:900]
    if status.verdict == "Fail":
        message = f"{figures}; evidence {evidence:.0f} >= {look.threshold:.0f}"
        return status.model_copy(update={"reason": Reason.GATE_FAILED, "message": message})
    if paired is not None and paired.blind:
        message = (
            f"too few labels for {paired.blind}; send labels for them, too, or set "
            "spec.outcomes.dependsOnAnswer: true"
        )
        return status.model_copy(
            update={
                "verdict": "NoData",
                "reason": Reason.INSUFFICIENT_DATA,
                "message": message[:1024],
            }
        )
    problem, detail = _no_data(gate, look, candidate, stable)
    if problem is not None:
        hint = _HINTS.get(problem, "")
        message = f"{hint}{': ' + detail if detail else ''}"
        return status.model_copy(
            update={"verdict": "NoData", "reason": problem, "message": message[:1024]}
        )
    return status.model_copy(update={"reason": Reason.STABLE, "message": figures})


def _evidence(
    gate: Gate,
    seen: GateMemory,
    spreads: Mapping[int, Spread],
    paired: PairedLook | None,
    *,
    has_stable: bool,
) -> float:
    """Return the evidence; with pairs the mean of both kinds, which is one at the same rate.

    Where labels may depend on the answer, versions with other answers are labelled on other rows:
    then only pairs tell.
    """
    margin = gate.margin if has_stable else None
    if paired is None:
        return evidence_of(seen, spreads, margin, gate.limit)
    if not paired.labelling.is_even:
        margin = None
    return (evidence_of(seen, spreads, margin, gate.limit) + paired.evidence) / 2


def _no_data(
    gate: Gate, look: Look, candidate: BadTotal, stable: BadTotal | None
) -> tuple[Reason | None, str]:
    for sight in (look.candidate_sight, look.stable_sight if stable is not None else None):
        if sight is not None and sight.problem is not None:
            return sight.problem, sight.detail
    if candidate.total <= 0:
        missing = "labels" if gate.bad == "outcomes" else "requests"
        return Reason.NO_TRAFFIC, f"{missing} of the candidate: 0"
    if stable is not None and stable.total <= 0:
        missing = "labels" if gate.bad == "outcomes" else "requests"
        return Reason.NO_TRAFFIC, f"{missing} of stable: 0"
    return None, ""


def _compared(seen: GateMemory) -> Count:
    theirs = seen.strata.compared()[1]
    return Count(bad=round(theirs.bad, 3), total=round(theirs.total, 3))


def _smallest_fault(
    gate: Gate,
    seen: GateMemory,
    spreads: Mapping[int, Spread],
    paired: PairedLook | None,
    threshold: float,
) -> float | None:
    candidate, stable = seen.strata.compared()
    if candidate.total <= 0 or stable.total <= 0:
        return None
    spread = largest(spreads.values())
    if paired is None:
        return smallest_detectable_share(candidate.total, stable, gate.margin, threshold, spread)
    found = []
    if paired.labelling.is_even:
        share = smallest_detectable_share(
            candidate.total, stable, gate.margin, 2 * threshold, spread
        )
        found.append(share)
    by_pairs = paired.smallest(2 * threshold)
    found.append(None if by_pairs is None else min(1.0, stable.share + by_pairs))
    return min((one for one in found if one is not None), default=None)


def _figures(
    gate: Gate, candidate: BadTotal, stable: BadTotal | None, paired: PairedLook | None
) -> str:
    what: str = gate.bad
    if gate.slower_than is not None:
        what = f"slower than {slow_bucket(gate.slower_than.total_seconds()):g}s"
    text = f"{what} {_share(candidate)} of the candidate's"
    if stable is not None:
        text += f", {_share(stable)} of stable's, allowed +{gate.margin * 100:g}%"
    if gate.limit is not None:
        text += f", limit {gate.limit * 100:g}%"
    if paired is not None:
        text += f"; {_on_the_same_rows(paired)}"
    return text


def _on_the_same_rows(paired: PairedLook) -> str:
    if paired.pairs.total <= 0:
        if paired.why_not:
            return f"not compared on the same rows: {paired.why_not}"
        doing = ", ".join(sorted(paired.states - {""}))
        return f"no labelled request was compared on the same rows yet ({doing or 'not seen yet'})"
    if paired.labelling.is_hidden:
        return (
            f"{paired.pairs.total:.0f} labelled requests compared on the same rows are not judged "
            "until it shows whether labels depend on the answer"
        )
    mean, requests = paired.shown
    how = ""
    if paired.labelling.differs:
        how = f", evened out by answer from {paired.pairs.total:.0f}"
    return f"on the same rows {mean * 100:+.1f}% wrong in {requests:.0f} labelled requests{how}"


def _share(count: BadTotal) -> str:
    return f"{count.bad:.0f}/{count.total:.0f} ({count.share * 100:.1f}%)"


def _age(age: timedelta | None) -> str:
    return "" if age is None else f"{age.total_seconds():.0f}s"
