"""Gates: bad among total for candidate and stable, taken over the same time.

A gate fails on evidence and on nothing else. Where there is no evidence to be had, it says which
of six reasons it is; what follows is the gate's own setting (`onNoData`). No data is not bad data.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from trimtab.api.conditions import Reason
from trimtab.api.deployment import Count, Gate, GateStatus, Origin, Tried
from trimtab.decide.rollout.evidence import GateMemory, evidence_of, largest
from trimtab.decide.rollout.measures import REQUESTS, TIMED, bad_total, gate_measures, slow_bucket
from trimtab.decide.rollout.snapshot import ProcessView
from trimtab.stats.counts import BadTotal, sum_of
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


@dataclass(frozen=True)
class Side:
    """One version under judgement: which processes are its own, and which digest."""

    revision: str
    digest: str


def side_of(tried: Tried) -> Side:
    """Return the side that a version is on."""
    return Side(tried.revision, tried.digest)


@dataclass(frozen=True)
class Sight:
    """Whether the pods of a revision can be seen, and how old the newest sample is."""

    problem: Reason | None
    detail: str
    age: timedelta | None


def origins_of(processes: Iterable[ProcessView]) -> list[Origin]:
    """Return the counter values of every process now, to count from here."""
    return [
        Origin(process=p.process, values=dict(p.counts))
        for p in sorted(processes, key=lambda p: p.process)
        if p.counts
    ]


def count_since(
    processes: Sequence[ProcessView],
    origins: Sequence[Origin],
    bad: str,
    total: str,
    revision: str | None,
    began: datetime,
) -> BadTotal:
    """Return bad among total since the origins, summed over the processes of a revision.

    A process without an origin counts from zero if it was born after `began`; an older one, which
    was not seen when the origins were taken, counts from its first scrape, since what it did before
    is not evidence. `revision` None sums over all processes (labels arrive on whichever replica
    received them).
    """
    return sum_of(counts_since(processes, origins, bad, total, revision, began).values())


def counts_since(
    processes: Sequence[ProcessView],
    origins: Sequence[Origin],
    bad: str,
    total: str,
    revision: str | None,
    began: datetime,
) -> dict[str, BadTotal]:
    """Return the same by process."""
    at_origin: Mapping[str, Mapping[str, float]] = {o.process: o.values for o in origins}
    found = {}
    for process in processes:
        if revision is not None and process.revision != revision:
            continue
        origin = at_origin.get(process.process)
        if origin is None:
            is_older = process.born is not None and process.born < began
            origin = process.first if is_older else {}
        if total == TIMED:
            # The first requests of a process are slow for reasons of their own.
            cold = process.counts if process.warm is None else process.warm
            origin = {
                name: max(origin.get(name, 0.0), cold.get(name, 0.0)) for name in (bad, total)
            }
        found[process.process] = bad_total(
            max(0.0, process.counts.get(bad, 0.0) - origin.get(bad, 0.0)),
            max(0.0, process.counts.get(total, 0.0) - origin.get(total, 0.0)),
        )
    return found


def gate_count(
    gate: Gate,
    side: Side,
    processes: Sequence[ProcessView],
    origins: Sequence[Origin],
    began: datetime,
) -> BadTotal:
    """Return the counts of one side of a gate since the origins; see `count_since`."""
    return sum_of(gate_counts(gate, side, processes, origins, began).values())


def gate_counts(
    gate: Gate,
    side: Side,
    processes: Sequence[ProcessView],
    origins: Sequence[Origin],
    began: datetime,
) -> dict[str, BadTotal]:
    """Return the same by process."""
    bad, total = gate_measures(gate, side.digest)
    revision = None if gate.bad == "outcomes" else side.revision
    return counts_since(processes, origins, bad, total, revision, began)


def request_count(
    revision: str,
    processes: Sequence[ProcessView],
    origins: Sequence[Origin],
    began: datetime,
) -> float:
    """Return the answered requests of a revision since the origins."""
    return count_since(processes, origins, REQUESTS, REQUESTS, revision, began).total


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
    evidence = _evidence(gate, seen, spreads, stable is not None)
    smallest = _smallest_fault(gate, seen, spreads, look.threshold) if stable is not None else None
    status = GateStatus(
        name=gate.name,
        verdict="Fail" if evidence >= look.threshold else "Pass",
        candidate=Count(bad=candidate.bad, total=candidate.total),
        stable=Count(bad=stable.bad, total=stable.total) if stable is not None else None,
        evidence=round(evidence, 2),
        threshold=round(look.threshold, 1),
        spread=round(largest(spreads.values()), 3),
        compared=_compared(seen) if stable is not None else None,
        smallest_fault="" if smallest is None else f"{smallest * 100:.1f}%",
        smallest_fault_share=smallest,
        last_sample_age=_age(look.candidate_sight.age),
    )
    if status.verdict == "Fail":
        message = (
            f"{_figures(gate, candidate, stable)}; evidence {evidence:.0f} >= {look.threshold:.0f}"
        )
        return status.model_copy(update={"reason": Reason.GATE_FAILED, "message": message})
    problem, detail = _no_data(gate, look, candidate, stable)
    if problem is not None:
        hint = _HINTS.get(problem, "")
        message = f"{hint}{': ' + detail if detail else ''}"
        return status.model_copy(
            update={"verdict": "NoData", "reason": problem, "message": message[:1024]}
        )
    return status.model_copy(
        update={"reason": Reason.STABLE, "message": _figures(gate, candidate, stable)}
    )


def _evidence(
    gate: Gate, seen: GateMemory, spreads: Mapping[int, Spread], has_stable: bool
) -> float:
    return evidence_of(seen, spreads, gate.margin if has_stable else None, gate.limit)


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
    gate: Gate, seen: GateMemory, spreads: Mapping[int, Spread], threshold: float
) -> float | None:
    candidate, stable = seen.strata.compared()
    if candidate.total <= 0 or stable.total <= 0:
        return None
    return smallest_detectable_share(
        candidate.total, stable, gate.margin, threshold, largest(spreads.values())
    )


def _figures(gate: Gate, candidate: BadTotal, stable: BadTotal | None) -> str:
    what: str = gate.bad
    if gate.slower_than is not None:
        what = f"slower than {slow_bucket(gate.slower_than.total_seconds()):g}s"
    text = f"{what} {_share(candidate)} of the candidate's"
    if stable is not None:
        text += f", {_share(stable)} of stable's, allowed +{gate.margin * 100:g}%"
    if gate.limit is not None:
        text += f", limit {gate.limit * 100:g}%"
    return text


def _share(count: BadTotal) -> str:
    return f"{count.bad:.0f}/{count.total:.0f} ({count.share * 100:.1f}%)"


def _age(age: timedelta | None) -> str:
    return "" if age is None else f"{age.total_seconds():.0f}s"
