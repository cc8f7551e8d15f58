"""Gates: bad among total for candidate and stable, taken over the same time.

A gate fails on evidence and on nothing else. Where there is no evidence to be had, it says which
of six reasons it is; what follows is the gate's own setting (`onNoData`). No data is not bad data.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from trimtab.api.conditions import Reason
from trimtab.api.deployment import Count, Gate, GateStatus, Origin
from trimtab.decide.rollout.counting import Side, count_since, gate_count, left_out_of
from trimtab.decide.rollout.evidence import GateMemory, evidence_of, of_labelled, smallest_in_blocks
from trimtab.decide.rollout.habit import largest
from trimtab.decide.rollout.measures import REQUESTS, slow_bucket, written
from trimtab.decide.rollout.pairing import PairedLook, look_at_pairs
from trimtab.decide.rollout.snapshot import Pair, ProcessView
from trimtab.stats.counts import NOTHING, BadTotal
from trimtab.stats.paired import Cell, CellCounts
from trimtab.stats.sequential import (
    gate_evidence,
    limit_evidence,
    smallest_detectable_share,
    smallest_share_above,
)
from trimtab.stats.spread import Spread

BLIND_REASONS = frozenset(
    {Reason.BACKEND_DOWN, Reason.NO_SERIES, Reason.STALE, Reason.NOT_A_NUMBER}
)
"""Reasons that mean the operator cannot see, as opposed to nothing to see yet."""

_HINTS = {
    Reason.BACKEND_DOWN: "the metrics cannot be read",
    Reason.NO_SERIES: "the pods answer but export no trimtab_requests_total",
    Reason.STALE: "no new sample has come",
    Reason.NOT_A_NUMBER: "a counter is NaN, infinite, too large or fell without a restart",
    Reason.WAITING: "not scraped yet",
    Reason.NO_TRAFFIC: "nothing to judge since the step began",
}


MOST_UNSEEN = 0.1
"""Of the candidate's requests: where more are no evidence, sums over the step must not be bad."""


TOLD_ASIDE = 0.1
"""Of the candidate's requests: where more tell nothing of its speed, it is said."""
TOLD_AWAITED = 0.1
"""Of the candidate's labels: where more are still to come, it is said."""


def first_unable(seen: Sequence[GateStatus], gates: Sequence[Gate]) -> GateStatus | None:
    """Return the first gate that has not judged, although nothing may go on without it."""
    needed = {gate.name for gate in gates if gate.on_no_data != "ignore"}
    return next((one for one in seen if one.name in needed and one.is_unable), None)


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
    # A Prometheus whose clock is ahead of ours stamps samples of a time to come.
    ages = [max(timedelta(), now - p.sampled_at) for p in own if p.sampled_at is not None]
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
    left_out: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """By process, what its counts left out when the step began."""
    turned: Mapping[str, GateMemory] = field(default_factory=dict)
    """By gate, what it saw with the candidate ahead of stable; see `StepMemory`."""


@dataclass(frozen=True)
class _Whole:
    """All that was counted in a step, with what is no evidence: its moment is not known.

    judged: requests (labels) of the candidate that are evidence. awaited: see `GateMemory`.
    """

    judged: float
    candidate: BadTotal
    stable: BadTotal | None
    awaited: float

    @property
    def unseen(self) -> float:
        return max(0.0, self.candidate.total - self.judged)

    @property
    def is_partly_seen(self) -> bool:
        """Whether more is no evidence than single scrapes that are lost or late leave out."""
        return self.unseen > MOST_UNSEEN * self.candidate.total

    def among_all(self, smallest: float | None) -> float | None:
        """Return the fault among all that the smallest of the judged ones stands for.

        What was not seen in time may have been bad altogether.
        """
        if smallest is None or not self.is_partly_seen:
            return smallest
        return (smallest * self.judged + self.unseen) / self.candidate.total

    @property
    def awaiting(self) -> BadTotal:
        """The candidate's counts with the labels that are awaited, right until they come."""
        return BadTotal(self.candidate.bad, self.candidate.total * self.awaited)

    def is_worse(self, gate: Gate, threshold: float, spread: float) -> bool:
        """Whether sums over the step are against the candidate, and what is judged is not all.

        They are no reason to roll back, since both sides may have been bad at other times.
        """
        if not self.is_partly_seen:
            return False
        evidence = 0.0
        if self.stable is not None:
            evidence = gate_evidence(self.awaiting, self.stable, gate.margin, spread)
        if gate.limit is not None:
            evidence = max(evidence, limit_evidence(self.awaiting, gate.limit, spread))
        return evidence >= threshold


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
    has_stable = stable is not None
    seen = look.seen.get(gate.name, GateMemory())
    spreads = look.spreads.get(gate.name, {})
    spread = largest(spreads.values())
    paired = look_at_pairs(
        gate,
        look.pair,
        look.candidate.revision,
        look.processes,
        look.origins,
        look.began,
        spread,
        look.cells,
    )
    if paired is not None:
        paired = replace(paired, awaited=seen.awaited)
    turned = look.turned.get(gate.name)
    evidence = min(
        _evidence(gate, one, spreads, paired, has_stable=has_stable)
        for one in (seen, turned)
        if one is not None
    )
    left_out = [
        left_out_of(gate, side, look.processes, look.left_out) if side is not None else NOTHING
        for side in (look.candidate, look.stable)
    ]
    whole = _Whole(
        judged=seen.strata.compared()[0].total,
        candidate=candidate + left_out[0],
        stable=stable + left_out[1] if stable is not None else None,
        awaited=seen.awaited,
    )
    smallest = _smallest_of_all(gate, seen, spreads, paired, look.threshold, has_stable=has_stable)
    alike = smallest
    if smallest is None and spreads:
        alike = _smallest_of_all(gate, seen, {}, paired, look.threshold, has_stable=has_stable)
    among_all = whole.among_all(smallest)
    status = GateStatus(
        name=gate.name,
        verdict="Fail" if evidence >= look.threshold else "Pass",
        candidate=Count(bad=candidate.bad, total=candidate.total),
        stable=Count(bad=stable.bad, total=stable.total) if stable is not None else None,
        evidence=round(evidence, 2),
        threshold=round(look.threshold, 1),
        spread=round(spread, 3),
        compared=_compared(seen) if stable is not None else None,
        paired=paired.told() if paired is not None else None,
        smallest_fault="" if among_all is None else f"{among_all * 100:.1f}%",
        smallest_fault_share=among_all,
        last_sample_age=_age(look.candidate_sight.age),
    )
    aside = _set_aside(gate, look, candidate)
    figures = _figures(gate, candidate, stable, paired, seen.awaited)[:900] + aside
    if status.verdict == "Fail":
        message = f"{figures}; evidence {written(evidence)} >= {written(look.threshold)}"
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
    problem, detail = _no_data(gate, look, candidate, stable, aside)
    if problem is not None:
        hint = _HINTS.get(problem, "")
        message = f"{hint}{': ' + detail if detail else ''}"
        return status.model_copy(
            update={"verdict": "NoData", "reason": problem, "message": message[:1024]}
        )
    if whole.is_worse(gate, look.threshold, spread):
        reason = Reason.PARTLY_SEEN
        figures = (
            f"{written(whole.unseen)} of {written(whole.candidate.total)} {_unit(gate)} of the "
            "candidate came while metrics were not seen in time, and are no evidence; of all, "
            f"{_share(whole.candidate)} were bad; {figures}"
        )
    elif smallest is None and alike is not None:
        reason = Reason.PODS_DIFFER
        figures = (
            f"pods of stable differ by so much (spread {status.spread:g}) that not even a version "
            f"that fails each request would be found yet; {figures}"
        )
    elif evidence >= math.sqrt(look.threshold):
        # Of versions as bad as is allowed one in so many shows that much; all others go on.
        reason = Reason.WORSE_SO_FAR
        so_far = f"{written(evidence)} of {written(look.threshold)}"
        figures = f"{figures}; evidence {so_far}, it may be chance"
    else:
        reason = Reason.STABLE
    return status.model_copy(update={"reason": reason, "message": figures[:1024]})


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
    gate: Gate, look: Look, candidate: BadTotal, stable: BadTotal | None, aside: str
) -> tuple[Reason | None, str]:
    for sight in (look.candidate_sight, look.stable_sight if stable is not None else None):
        if sight is not None and sight.problem is not None:
            return sight.problem, sight.detail
    if candidate.total <= 0:
        return Reason.NO_TRAFFIC, f"{_unit(gate)} of the candidate: 0{aside}"
    if stable is not None and stable.total <= 0:
        return Reason.NO_TRAFFIC, f"{_unit(gate)} of stable: 0"
    return None, ""


def _set_aside(gate: Gate, look: Look, candidate: BadTotal) -> str:
    """Say how many requests of the candidate are no evidence of its speed, and why."""
    if gate.bad != "slow":
        return ""
    every = count_since(
        look.processes, look.origins, REQUESTS, REQUESTS, look.candidate.revision, look.began
    )
    aside = every.total - candidate.total
    if aside < TOLD_ASIDE * every.total or aside < 1:
        return ""
    return (
        f"; {aside:.0f} more are set aside: the first ones of each pod (rollout.warmUp), and those "
        "that were asked of two versions (spec.compare)"
    )


def _unit(gate: Gate) -> str:
    return "labels" if gate.bad == "outcomes" else "requests"


def _compared(seen: GateMemory) -> Count:
    theirs = seen.strata.compared()[1]
    return Count(bad=round(theirs.bad, 3), total=round(theirs.total, 3))


def _smallest_of_all(
    gate: Gate,
    seen: GateMemory,
    spreads: Mapping[int, Spread],
    paired: PairedLook | None,
    threshold: float,
    *,
    has_stable: bool,
) -> float | None:
    """Return the smallest fault that stable beside it, or the limit, would have shown."""
    found = []
    if has_stable:
        found.append(_smallest_fault(gate, seen, spreads, paired, threshold))
    if gate.limit is not None and paired is None:
        requests = seen.compared()[0].total
        spread = largest(spreads.values())
        share = smallest_share_above(requests, gate.limit, threshold, spread)
        found.append(of_labelled([share], seen.awaited))
    return min((one for one in found if one is not None), default=None)


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
        smallest = _smallest_in_sums(seen, gate.margin, threshold, spread)
        if smallest is None and spread > 1:
            smallest = smallest_in_blocks(seen, spreads, gate.margin, threshold)
        return smallest
    found = []
    if paired.labelling.is_even:
        found.append(_smallest_in_sums(seen, gate.margin, 2 * threshold, spread))
    by_pairs = paired.smallest(2 * threshold)
    found.append(None if by_pairs is None else min(1.0, stable.share + by_pairs))
    return min((one for one in found if one is not None), default=None)


def _smallest_in_sums(
    seen: GateMemory, margin: float, threshold: float, spread: float
) -> float | None:
    """Return the smallest fault among what was counted that sums would have shown."""
    candidate, stables = seen.compared()
    found = [
        smallest_detectable_share(candidate.total, stable, margin, threshold, spread)
        for stable in stables
    ]
    return of_labelled(found, seen.awaited)


def _figures(
    gate: Gate,
    candidate: BadTotal,
    stable: BadTotal | None,
    paired: PairedLook | None,
    awaited: float,
) -> str:
    what: str = gate.bad
    if gate.slower_than is not None:
        what = f"slower than {slow_bucket(gate.slower_than.total_seconds()):g}s"
    text = f"{what} {_share(candidate)} of the candidate's"
    if stable is not None:
        text += f", {_share(stable)} of stable's, allowed +{gate.margin * 100:g}%"
    if gate.limit is not None:
        text += f", limit {gate.limit * 100:g}%"
    if awaited >= 1 + TOLD_AWAITED:
        text += (
            f"; {written((awaited - 1) * candidate.total)} labels of the candidate's answers are "
            "still to come, as stable has them, and count as right until then"
        )
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
            f"{written(paired.pairs.total)} labelled requests compared on the same rows are not "
            "judged until it shows whether labels depend on the answer"
        )
    mean, requests = paired.shown
    how = ""
    if paired.labelling.differs:
        how = f", evened out by answer from {written(paired.pairs.total)}"
    among = f"{written(requests)} labelled requests{how}"
    return f"on the same rows {mean * 100:+.1f}% wrong in {among}"


def _share(count: BadTotal) -> str:
    return f"{written(count.bad)}/{written(count.total)} ({count.share * 100:.1f}%)"


def _age(age: timedelta | None) -> str:
    return "" if age is None else f"{age.total_seconds():.0f}s"
